# Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
# In csh `if ( $?X ) command $X` fails for an unset X, hence the long ifs.
set __pe_home = "$CONDA_PREFIX/etc/conda"
if ( ! -r "$__pe_home/deactivate.d/00_prefect-env.csh" && $?PIXI_PROJECT_ROOT ) then
  set __pe_home = "$PIXI_PROJECT_ROOT/scripts/runtime"
endif
if ( $?__PREFECT_ENV ) then
  source "$__pe_home/deactivate.d/00_prefect-env.csh"
endif
set __pe_cache = ''
if ( $?HOME ) then
  set __pe_cache = "$HOME/.cache/prefect-env"
endif
if ( $?XDG_CACHE_HOME ) then
  if ( "$XDG_CACHE_HOME" != '' ) set __pe_cache = "$XDG_CACHE_HOME/prefect-env"
endif
if ( $?PREFECT_ENV_CACHE ) then
  if ( "$PREFECT_ENV_CACHE" != '' ) set __pe_cache = "$PREFECT_ENV_CACHE"
endif
set __pe_fresh = 0
foreach __pe_try ( state python )
  if ( ! $__pe_fresh && $__pe_try == python && -x "$CONDA_PREFIX/bin/python" ) then
    # its answer is not read: in backquotes csh would take a path apart
    "$CONDA_PREFIX/bin/python" -I -c 'import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()' \
      csh "$__pe_home" > /dev/null
  endif
  foreach __pe_base ( "$__pe_cache" "/tmp/prefect-env-$euid" )
    if ( ! $__pe_fresh && -o "$__pe_base" && -o "$__pe_base/prefixes$CONDA_PREFIX/state.csh" ) then
      source "$__pe_base/prefixes$CONDA_PREFIX/state.csh"
    endif
  end
end
unset __pe_home __pe_cache __pe_base __pe_try __pe_fresh __pe_now
