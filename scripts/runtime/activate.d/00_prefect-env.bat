@rem Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
@rem Values only pass through "for" variables and delayed expansion, which cmd never parses again; ERRORLEVEL is 0 at the end.
@if defined __PREFECT_ENV call "%~dp0..\deactivate.d\00_prefect-env.bat"
@setlocal EnableExtensions DisableDelayedExpansion
@set "__pe_state="
@set "__pe_cache=%LOCALAPPDATA%\prefect-env"
@if defined PREFECT_ENV_CACHE set "__pe_cache=%PREFECT_ENV_CACHE%"
@set "__pe_stamps=%__pe_cache%\prefixes\%CONDA_PREFIX::=%\"
@call :fresh "%__pe_stamps%state.oem"
@if not defined __pe_state if exist "%CONDA_PREFIX%\python.exe" for /F "usebackq delims=" %%P in (`""%CONDA_PREFIX%\python.exe" -I -c "import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()" oem "%~dp0..""`) do @set "__pe_state=%%P"
@endlocal & set "__pe_state=%__pe_state%"
@if defined __pe_state for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @(
  if "%%A"=="set" set "%%B=%%C"
  if "%%A"=="unset" set "%%B="
  if "%%A"=="warn" echo prefect-env: %%C>&2
)
@set "__pe_state="
@exit /b 0

:fresh
@rem Sets __pe_state to the file in the argument if all its conditions hold.
@if not exist "%~1" exit /b 0
@set "__pe_state=%~1"
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%~1") do @(
  set "__pe_value=%%C"
  if "%%A"=="user" call :user %%B
  if "%%A"=="file" call :file %%B
  if "%%A"=="none" call :none
)
@exit /b 0

:user
@setlocal EnableDelayedExpansion
@set "__pe_now="
@if defined %1 set "__pe_now=+!%1!"
@if "!__pe_now!"=="!__pe_value!" (endlocal) else (endlocal & set "__pe_state=")
@exit /b 0

:file
@setlocal EnableDelayedExpansion
@set "__pe_now="
@set "__pe_was="
@for %%F in ("!__pe_stamps!%1") do @set "__pe_was=%%~tF %%~zF"
@for %%F in ("!__pe_value!") do @set "__pe_now=%%~tF %%~zF"
@if exist "!__pe_value!\" for %%F in ("!__pe_stamps!%1") do @set "__pe_was=%%~tF"
@if exist "!__pe_value!\" for %%F in ("!__pe_value!") do @set "__pe_now=%%~tF"
@if not exist "!__pe_value!" set "__pe_now=gone"
@if "!__pe_now!"=="!__pe_was!" (endlocal) else (endlocal & set "__pe_state=")
@exit /b 0

:none
@setlocal EnableDelayedExpansion
@if not exist "!__pe_value!" (endlocal) else (endlocal & set "__pe_state=")
@exit /b 0
