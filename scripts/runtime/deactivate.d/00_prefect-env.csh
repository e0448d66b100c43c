# Puts back what activate.d/00_prefect-env.csh changed; what the user changed meanwhile is left alone.
# The names given to eval are the fixed ones below; values are only ever expanded by the command eval makes.
if ( $?__PREFECT_ENV ) then
  foreach __pe_name ( HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy \
      WS_PROXY ws_proxy WSS_PROXY wss_proxy SSL_CERT_FILE PREFECT_API_SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE \
      PIP_CERT GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH PREFECT_API_URL \
      PREFECT_API_TLS_INSECURE_SKIP_VERIFY PREFECT_SERVER_ANALYTICS_ENABLED DO_NOT_TRACK )
    eval 'set __pe_is = ( $?__PREFECT_ENV_SET_'$__pe_name' $?__PREFECT_ENV_OLD_'$__pe_name' $?'$__pe_name' )'
    if ( ! $__pe_is[1] ) continue
    eval 'set __pe_set = $__PREFECT_ENV_SET_'$__pe_name':q'
    set __pe_now = -
    if ( $__pe_is[3] ) then
      eval 'set __pe_now = +$'$__pe_name':q'
    endif
    if ( x$__pe_now:q == x$__pe_set:q ) then
      unsetenv $__pe_name
      if ( $__pe_is[2] ) then
        eval 'set __pe_old = $__PREFECT_ENV_OLD_'$__pe_name':q'
        setenv $__pe_name $__pe_old:s/+//:q
      endif
    endif
    unsetenv __PREFECT_ENV_SET_$__pe_name
    unsetenv __PREFECT_ENV_OLD_$__pe_name
  end
  unsetenv __PREFECT_ENV
  unset __pe_name __pe_is __pe_set __pe_now __pe_old
endif
