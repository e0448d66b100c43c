@rem Puts back what activate.d/00_prefect-env.bat changed; what the user changed meanwhile is left alone.
@rem One line a variable: cmd has no safe way to copy a variable whose name is in another. What was there has no
@rem quote in it (prefect_env.state leaves such a variable alone), so nothing can leave the quotes it is set in.
@if not defined __PREFECT_ENV exit /b 0
@call :undo HTTP_PROXY
@if defined __PREFECT_ENV_OLD_HTTP_PROXY set "HTTP_PROXY=%__PREFECT_ENV_OLD_HTTP_PROXY:~1%"
@set "__PREFECT_ENV_OLD_HTTP_PROXY="
@call :undo HTTPS_PROXY
@if defined __PREFECT_ENV_OLD_HTTPS_PROXY set "HTTPS_PROXY=%__PREFECT_ENV_OLD_HTTPS_PROXY:~1%"
@set "__PREFECT_ENV_OLD_HTTPS_PROXY="
@call :undo ALL_PROXY
@if defined __PREFECT_ENV_OLD_ALL_PROXY set "ALL_PROXY=%__PREFECT_ENV_OLD_ALL_PROXY:~1%"
@set "__PREFECT_ENV_OLD_ALL_PROXY="
@call :undo NO_PROXY
@if defined __PREFECT_ENV_OLD_NO_PROXY set "NO_PROXY=%__PREFECT_ENV_OLD_NO_PROXY:~1%"
@set "__PREFECT_ENV_OLD_NO_PROXY="
@call :undo WS_PROXY
@if defined __PREFECT_ENV_OLD_WS_PROXY set "WS_PROXY=%__PREFECT_ENV_OLD_WS_PROXY:~1%"
@set "__PREFECT_ENV_OLD_WS_PROXY="
@call :undo WSS_PROXY
@if defined __PREFECT_ENV_OLD_WSS_PROXY set "WSS_PROXY=%__PREFECT_ENV_OLD_WSS_PROXY:~1%"
@set "__PREFECT_ENV_OLD_WSS_PROXY="
@call :undo SSL_CERT_FILE
@if defined __PREFECT_ENV_OLD_SSL_CERT_FILE set "SSL_CERT_FILE=%__PREFECT_ENV_OLD_SSL_CERT_FILE:~1%"
@set "__PREFECT_ENV_OLD_SSL_CERT_FILE="
@call :undo PREFECT_API_SSL_CERT_FILE
@if defined __PREFECT_ENV_OLD_PREFECT_API_SSL_CERT_FILE set "PREFECT_API_SSL_CERT_FILE=%__PREFECT_ENV_OLD_PREFECT_API_SSL_CERT_FILE:~1%"
@set "__PREFECT_ENV_OLD_PREFECT_API_SSL_CERT_FILE="
@call :undo REQUESTS_CA_BUNDLE
@if defined __PREFECT_ENV_OLD_REQUESTS_CA_BUNDLE set "REQUESTS_CA_BUNDLE=%__PREFECT_ENV_OLD_REQUESTS_CA_BUNDLE:~1%"
@set "__PREFECT_ENV_OLD_REQUESTS_CA_BUNDLE="
@call :undo CURL_CA_BUNDLE
@if defined __PREFECT_ENV_OLD_CURL_CA_BUNDLE set "CURL_CA_BUNDLE=%__PREFECT_ENV_OLD_CURL_CA_BUNDLE:~1%"
@set "__PREFECT_ENV_OLD_CURL_CA_BUNDLE="
@call :undo PIP_CERT
@if defined __PREFECT_ENV_OLD_PIP_CERT set "PIP_CERT=%__PREFECT_ENV_OLD_PIP_CERT:~1%"
@set "__PREFECT_ENV_OLD_PIP_CERT="
@call :undo GIT_SSL_CAINFO
@if defined __PREFECT_ENV_OLD_GIT_SSL_CAINFO set "GIT_SSL_CAINFO=%__PREFECT_ENV_OLD_GIT_SSL_CAINFO:~1%"
@set "__PREFECT_ENV_OLD_GIT_SSL_CAINFO="
@call :undo NODE_EXTRA_CA_CERTS
@if defined __PREFECT_ENV_OLD_NODE_EXTRA_CA_CERTS set "NODE_EXTRA_CA_CERTS=%__PREFECT_ENV_OLD_NODE_EXTRA_CA_CERTS:~1%"
@set "__PREFECT_ENV_OLD_NODE_EXTRA_CA_CERTS="
@call :undo AWS_CA_BUNDLE
@if defined __PREFECT_ENV_OLD_AWS_CA_BUNDLE set "AWS_CA_BUNDLE=%__PREFECT_ENV_OLD_AWS_CA_BUNDLE:~1%"
@set "__PREFECT_ENV_OLD_AWS_CA_BUNDLE="
@call :undo GRPC_DEFAULT_SSL_ROOTS_FILE_PATH
@if defined __PREFECT_ENV_OLD_GRPC_DEFAULT_SSL_ROOTS_FILE_PATH set "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=%__PREFECT_ENV_OLD_GRPC_DEFAULT_SSL_ROOTS_FILE_PATH:~1%"
@set "__PREFECT_ENV_OLD_GRPC_DEFAULT_SSL_ROOTS_FILE_PATH="
@call :undo PREFECT_API_URL
@if defined __PREFECT_ENV_OLD_PREFECT_API_URL set "PREFECT_API_URL=%__PREFECT_ENV_OLD_PREFECT_API_URL:~1%"
@set "__PREFECT_ENV_OLD_PREFECT_API_URL="
@call :undo PREFECT_API_TLS_INSECURE_SKIP_VERIFY
@if defined __PREFECT_ENV_OLD_PREFECT_API_TLS_INSECURE_SKIP_VERIFY set "PREFECT_API_TLS_INSECURE_SKIP_VERIFY=%__PREFECT_ENV_OLD_PREFECT_API_TLS_INSECURE_SKIP_VERIFY:~1%"
@set "__PREFECT_ENV_OLD_PREFECT_API_TLS_INSECURE_SKIP_VERIFY="
@call :undo PREFECT_SERVER_ANALYTICS_ENABLED
@if defined __PREFECT_ENV_OLD_PREFECT_SERVER_ANALYTICS_ENABLED set "PREFECT_SERVER_ANALYTICS_ENABLED=%__PREFECT_ENV_OLD_PREFECT_SERVER_ANALYTICS_ENABLED:~1%"
@set "__PREFECT_ENV_OLD_PREFECT_SERVER_ANALYTICS_ENABLED="
@call :undo DO_NOT_TRACK
@if defined __PREFECT_ENV_OLD_DO_NOT_TRACK set "DO_NOT_TRACK=%__PREFECT_ENV_OLD_DO_NOT_TRACK:~1%"
@set "__PREFECT_ENV_OLD_DO_NOT_TRACK="
@set "__PREFECT_ENV="
@exit /b 0

:undo
@rem Unsets the variable if it is as we left it; if not, forgets what it was.
@if not defined __PREFECT_ENV_SET_%1 exit /b 0
@setlocal EnableDelayedExpansion
@set "__pe_now=-"
@if defined %1 set "__pe_now=+!%1!"
@if "!__pe_now!"=="!__PREFECT_ENV_SET_%1!" (endlocal & set "%1=") else (endlocal & set "__PREFECT_ENV_OLD_%1=")
@set "__PREFECT_ENV_SET_%1="
@rem Under cmd /V:ON it is put back here: the lines above would expand what it holds.
@if "!!"=="" if defined __PREFECT_ENV_OLD_%1 set "%1=!__PREFECT_ENV_OLD_%1:~1!"
@if "!!"=="" set "__PREFECT_ENV_OLD_%1="
@exit /b 0
