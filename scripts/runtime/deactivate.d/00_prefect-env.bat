@rem Puts back what activate.d/00_prefect-env.bat changed; what the user changed meanwhile is left alone.
@if not defined __PREFECT_ENV exit /b 0
@for %%N in (
  HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY WS_PROXY WSS_PROXY
  SSL_CERT_FILE PREFECT_API_SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO
  NODE_EXTRA_CA_CERTS AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH
  PREFECT_API_URL PREFECT_API_TLS_INSECURE_SKIP_VERIFY PREFECT_SERVER_ANALYTICS_ENABLED DO_NOT_TRACK
) do @if defined __PREFECT_ENV_SET_%%N call :restore %%N
@set "__PREFECT_ENV="
@exit /b 0

:restore
@setlocal EnableExtensions EnableDelayedExpansion
@set "__pe_now=-"
@if defined %1 set "__pe_now=+!%1!"
@if not "!__pe_now!"=="!__PREFECT_ENV_SET_%1!" endlocal & goto :forget
@if not defined __PREFECT_ENV_OLD_%1 endlocal & set "%1=" & goto :forget
@for /F "delims=" %%V in ("!__PREFECT_ENV_OLD_%1:~1!") do @endlocal & set "%1=%%V"

:forget
@set "__PREFECT_ENV_SET_%1="
@set "__PREFECT_ENV_OLD_%1="
@exit /b 0
