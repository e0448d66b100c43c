@rem Leave the environment that activate.bat made current. File systems of Windows list names in order; /O-N is the reverse.
@if not defined _PREFECT_ENV_ACTIVE exit /b 0
@if exist "%CONDA_PREFIX%\etc\conda\deactivate.d\*.bat" for /F "delims=" %%I in ('dir /B /O-N "%CONDA_PREFIX%\etc\conda\deactivate.d\*.bat"') do @call "%CONDA_PREFIX%\etc\conda\deactivate.d\%%I"
@set "PATH=%_PREFECT_ENV_OLD_PATH%"
@set "CONDA_PREFIX=%_PREFECT_ENV_OLD_PREFIX%"
@set "CONDA_DEFAULT_ENV=%_PREFECT_ENV_OLD_NAME%"
@set "_PREFECT_ENV_ACTIVE="
@set "_PREFECT_ENV_OLD_PATH="
@set "_PREFECT_ENV_OLD_PREFIX="
@set "_PREFECT_ENV_OLD_NAME="
