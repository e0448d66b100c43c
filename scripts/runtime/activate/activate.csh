# Activate this environment in csh or tcsh, without conda or pixi:   source PREFIX/activate.csh
# Undo it: deactivate. The file is the same in every prefix. csh does not tell a script its name: Linux does;
# elsewhere the last command is looked at; if that fails too, set PREFECT_ENV_PREFIX to the prefix first.
set _prefect_env_command = ($_)
if ($?_PREFECT_ENV_ACTIVE) then
    source "$CONDA_PREFIX/deactivate.csh"
endif

set _prefect_env_prefix = ''
if (-d /proc/$$/fd) then
    set _prefect_env_prefix = "`find /proc/$$/fd -lname '*/activate.csh' -printf '%l\n' |& tail -n 1`"
else if ($#_prefect_env_command > 1) then
    set _prefect_env_prefix = "$_prefect_env_command[2]"
    if ("$_prefect_env_prefix" !~ /*) set _prefect_env_prefix = "$cwd/$_prefect_env_prefix"
endif
set _prefect_env_prefix = $_prefect_env_prefix:h:q
if (! -f "$_prefect_env_prefix/conda-meta/history" && $?PREFECT_ENV_PREFIX) then
    set _prefect_env_prefix = $PREFECT_ENV_PREFIX:q
endif

if (-f "$_prefect_env_prefix/conda-meta/history") then
    set _PREFECT_ENV_ACTIVE
    set _PREFECT_ENV_OLD_PATH = $PATH:q
    if ($?CONDA_PREFIX) then
        set _PREFECT_ENV_OLD_PREFIX = $CONDA_PREFIX:q
    endif
    if ($?CONDA_DEFAULT_ENV) then
        set _PREFECT_ENV_OLD_NAME = $CONDA_DEFAULT_ENV:q
    endif
    setenv CONDA_PREFIX $_prefect_env_prefix:q
    setenv CONDA_DEFAULT_ENV $_prefect_env_prefix:t:q
    setenv PATH ${CONDA_PREFIX:q}/bin:${PATH:q}
    alias deactivate 'source $CONDA_PREFIX:q/deactivate.csh'
    set _prefect_env_nonomatch = $?nonomatch
    set nonomatch
    foreach _prefect_env_script (${CONDA_PREFIX:q}/etc/conda/activate.d/*.csh)
        if (-f $_prefect_env_script:q) source $_prefect_env_script:q
    end
    if (! $_prefect_env_nonomatch) unset nonomatch
    unset _prefect_env_nonomatch _prefect_env_script
    rehash
else
    echo 'prefect-env: csh cannot tell where the environment is; set PREFECT_ENV_PREFIX and try again'
endif
unset _prefect_env_command _prefect_env_prefix
