# Puts back what activate.d/00_prefect-env.ps1 changed; what the user changed meanwhile is left alone.
if ($env:__PREFECT_ENV) {
  & {
    foreach ($name in $args) {
      $left = [Environment]::GetEnvironmentVariable("__PREFECT_ENV_SET_$name")
      $old = [Environment]::GetEnvironmentVariable("__PREFECT_ENV_OLD_$name")
      $now = [Environment]::GetEnvironmentVariable($name)
      $now = if ($null -eq $now) { '-' } else { '+' + $now }
      if ($left -and $now -ceq $left) {
        # PowerShell takes an empty value for "remove", as Windows does
        $back = if ($old) { $old.Substring(1) } else { $null }
        [Environment]::SetEnvironmentVariable($name, $back)
      }
      [Environment]::SetEnvironmentVariable("__PREFECT_ENV_SET_$name", $null)
      [Environment]::SetEnvironmentVariable("__PREFECT_ENV_OLD_$name", $null)
    }
  } 'HTTP_PROXY' 'http_proxy' 'HTTPS_PROXY' 'https_proxy' 'ALL_PROXY' 'all_proxy' 'NO_PROXY' 'no_proxy' `
    'WS_PROXY' 'ws_proxy' 'WSS_PROXY' 'wss_proxy' 'SSL_CERT_FILE' 'PREFECT_API_SSL_CERT_FILE' 'REQUESTS_CA_BUNDLE' `
    'CURL_CA_BUNDLE' 'PIP_CERT' 'GIT_SSL_CAINFO' 'NODE_EXTRA_CA_CERTS' 'AWS_CA_BUNDLE' `
    'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH' 'PREFECT_API_URL' 'PREFECT_API_TLS_INSECURE_SKIP_VERIFY' `
    'PREFECT_SERVER_ANALYTICS_ENABLED' 'DO_NOT_TRACK'
  [Environment]::SetEnvironmentVariable('__PREFECT_ENV', $null)
}
