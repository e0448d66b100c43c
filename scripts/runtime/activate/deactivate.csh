# Leave the environment that activate.csh made current.
if ($?_PREFECT_ENV_ACTIVE) then
    set _prefect_env_nonomatch = $?nonomatch
    set nonomatch
    set _prefect_env_scripts = ()
    foreach _prefect_env_script (${CONDA_PREFIX:q}/etc/conda/deactivate.d/*.csh)
        set _prefect_env_scripts = ($_prefect_env_script:q $_prefect_env_scripts:q)
    end
    if (! $_prefect_env_nonomatch) unset nonomatch
    foreach _prefect_env_script ($_prefect_env_scripts:q)
        if (-f $_prefect_env_script:q) source $_prefect_env_script:q
    end
    setenv PATH $_PREFECT_ENV_OLD_PATH:q
    unsetenv CONDA_PREFIX CONDA_DEFAULT_ENV
    if ($?_PREFECT_ENV_OLD_PREFIX) then
        setenv CONDA_PREFIX $_PREFECT_ENV_OLD_PREFIX:q
    endif
    if ($?_PREFECT_ENV_OLD_NAME) then
        setenv CONDA_DEFAULT_ENV $_PREFECT_ENV_OLD_NAME:q
    endif
    unalias deactivate
    unset _PREFECT_ENV_ACTIVE _PREFECT_ENV_OLD_PATH _PREFECT_ENV_OLD_PREFIX _PREFECT_ENV_OLD_NAME
    unset _prefect_env_nonomatch _prefect_env_script _prefect_env_scripts
    rehash
endif
