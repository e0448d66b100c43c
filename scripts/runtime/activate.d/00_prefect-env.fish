# Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
set -l home "$CONDA_PREFIX/etc/conda"
test -r "$home/deactivate.d/00_prefect-env.fish"; or set home "$PIXI_PROJECT_ROOT/scripts/runtime"
if set -q __PREFECT_ENV; and test -r "$home/deactivate.d/00_prefect-env.fish"
    source "$home/deactivate.d/00_prefect-env.fish"
end
set -l cache "$HOME/.cache/prefect-env"
test -n "$XDG_CACHE_HOME"; and set cache "$XDG_CACHE_HOME/prefect-env"
test -n "$PREFECT_ENV_CACHE"; and set cache "$PREFECT_ENV_CACHE"
set -l state "$cache/prefixes$CONDA_PREFIX/state.data"
set -l python "$CONDA_PREFIX/bin/python"
for attempt in state python
    if test $attempt = python
        test -x "$python"; or break
        set state ("$python" -I -c 'import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()' \
            data "$home" | string collect)
    end
    test -O "$state"; or continue
    set -l stamps (string replace -r '[^/]*$' '' -- "$state")
    set -l fresh yes
    while read -d ' ' -l kind name value
        switch $kind
            case user
                set -l now ''
                set -q $name; and set now "+$$name"
                test "$now" = "$value"; or set fresh no
            case file
                test -e "$value"; and not test "$value" -nt "$stamps$name"; and not test "$value" -ot "$stamps$name"
                or set fresh no
            case none
                test -e "$value"; and set fresh no
            case set
                set -gx $name "$value"
            case unset
                set -eg $name
            case warn
                echo "prefect-env: $value" >&2
        end
        test $fresh = yes; or break
    end <"$state"
    test $fresh = yes; and break
end
true
