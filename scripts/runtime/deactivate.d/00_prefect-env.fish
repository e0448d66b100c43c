# Puts back what activate.d/00_prefect-env.fish changed; what the user changed meanwhile is left alone.
if set -q __PREFECT_ENV
    for name in HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy \
            WS_PROXY ws_proxy WSS_PROXY wss_proxy SSL_CERT_FILE PREFECT_API_SSL_CERT_FILE REQUESTS_CA_BUNDLE \
            CURL_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH \
            PREFECT_API_URL PREFECT_API_TLS_INSECURE_SKIP_VERIFY PREFECT_SERVER_ANALYTICS_ENABLED DO_NOT_TRACK
        set -l left __PREFECT_ENV_SET_$name
        set -l old __PREFECT_ENV_OLD_$name
        set -l now -
        set -q $name; and set now "+$$name"
        if set -q $left; and test "$now" = "$$left"
            # erasing uncovers a universal variable of the user, which needs no second copy
            set -eg $name
            if set -q $old
                set -l value (string sub -s 2 -- "$$old" | string collect)
                set -q $name; and test "$$name" = "$value"; or set -gx $name "$value"
            end
        end
        set -eg $left
        set -eg $old
    end
    set -eg __PREFECT_ENV
end
true
