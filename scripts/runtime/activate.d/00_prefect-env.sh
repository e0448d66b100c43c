# shellcheck shell=sh
# shellcheck disable=SC1090,SC1091,SC3067 # sources the state; every sh that conda supports has -O
# Sets proxy, certificate and Prefect variables from the settings files (see prefect-env show).
# For dash, bash, zsh; safe under set -eu; silent; the other shells' scripts do the same.
# Assumes   CONDA_PREFIX is the environment that is being activated.
# Reads     the state file that `prefect_env.state` wrote; starts Python only if there is none or it is stale.
# Effects   exports variables; what they were is kept in __PREFECT_ENV_*. Status 0 always.
# Reverting deactivate.d/00_prefect-env.sh
__pe_home=${CONDA_PREFIX-}/etc/conda
# A pixi workspace made from the clone runs the scripts where they are.
[ -r "$__pe_home/deactivate.d/00_prefect-env.sh" ] || __pe_home=${PIXI_PROJECT_ROOT-}/scripts/runtime
# Already active (again, stacked, a child shell): start from what the user had.
if [ -n "${__PREFECT_ENV-}" ] && [ -r "$__pe_home/deactivate.d/00_prefect-env.sh" ]; then
  . "$__pe_home/deactivate.d/00_prefect-env.sh"
fi
__pe_state=${PREFECT_ENV_CACHE:-${XDG_CACHE_HOME:-${HOME-}/.cache}/prefect-env}/prefixes${CONDA_PREFIX-}/state.sh
__pe_fresh=
if [ -O "$__pe_state" ]; then
  . "$__pe_state"
fi
__pe_python=${CONDA_PREFIX-}/bin/python
[ -x "$__pe_python" ] || __pe_python=${CONDA_PREFIX-}/python.exe
if [ -z "$__pe_fresh" ] && [ -x "$__pe_python" ]; then
  __pe_state=$("$__pe_python" -I -c 'import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()' \
    sh "$__pe_home") || __pe_state=
  if [ -r "$__pe_state" ]; then
    . "$__pe_state"
  fi
fi
unset __pe_home __pe_state __pe_fresh __pe_python
