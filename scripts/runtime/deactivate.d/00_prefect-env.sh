# shellcheck shell=sh
# Puts back what activate.d/00_prefect-env.sh changed; what the user changed meanwhile is left alone.
# Needs nothing but the __PREFECT_ENV_* variables, so that it is right in any order and after a removal.
if [ -n "${__PREFECT_ENV-}" ]; then
  for __pe_name in HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy \
    WS_PROXY ws_proxy WSS_PROXY wss_proxy SSL_CERT_FILE PREFECT_API_SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE \
    PIP_CERT GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH PREFECT_API_URL \
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY PREFECT_SERVER_ANALYTICS_ENABLED DO_NOT_TRACK; do
    # the names are the fixed ones above, so eval sees no data
    eval "__pe_set=\${__PREFECT_ENV_SET_$__pe_name-} __pe_old=\${__PREFECT_ENV_OLD_$__pe_name-} \
      __pe_now=\${$__pe_name++\$$__pe_name}"
    if [ -n "$__pe_set" ] && [ "$__pe_set" = "${__pe_now:--}" ]; then
      if [ -n "$__pe_old" ]; then
        export "$__pe_name=${__pe_old#+}"
      else
        unset "$__pe_name"
      fi
    fi
    unset "__PREFECT_ENV_SET_$__pe_name" "__PREFECT_ENV_OLD_$__pe_name"
  done
  unset __PREFECT_ENV __pe_name __pe_set __pe_old __pe_now
fi
