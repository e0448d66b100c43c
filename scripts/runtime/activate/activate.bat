@rem Activate this environment in cmd.exe, without conda or pixi:   PREFIX\activate.bat
@rem Undo it: deactivate. The file is the same in every prefix.
@if defined _PREFECT_ENV_ACTIVE call "%CONDA_PREFIX%\deactivate.bat"
@set "_PREFECT_ENV_ACTIVE=1"
@set "_PREFECT_ENV_OLD_PATH=%PATH%"
@set "_PREFECT_ENV_OLD_PREFIX=%CONDA_PREFIX%"
@set "_PREFECT_ENV_OLD_NAME=%CONDA_DEFAULT_ENV%"
@set "CONDA_PREFIX=%~dp0"
@set "CONDA_PREFIX=%CONDA_PREFIX:~0,-1%"
@for %%I in ("%CONDA_PREFIX%") do @set "CONDA_DEFAULT_ENV=%%~nxI"
@set "PATH=%CONDA_PREFIX%;%CONDA_PREFIX%\Library\mingw-w64\bin;%CONDA_PREFIX%\Library\usr\bin;%CONDA_PREFIX%\Library\bin;%CONDA_PREFIX%\Scripts;%CONDA_PREFIX%\bin;%PATH%"
@if exist "%CONDA_PREFIX%\etc\conda\activate.d\*.bat" for %%I in ("%CONDA_PREFIX%\etc\conda\activate.d\*.bat") do @call "%%I"
