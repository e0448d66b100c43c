@rem Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
@rem Values pass only through "for" variables and delayed expansion, which cmd never parses again. ERRORLEVEL ends as 0.
@if defined __PREFECT_ENV call "%~dp0..\deactivate.d\00_prefect-env.bat"
@setlocal EnableExtensions DisableDelayedExpansion
@set "__pe_cache=%LOCALAPPDATA%\prefect-env"
@if defined PREFECT_ENV_CACHE set "__pe_cache=%PREFECT_ENV_CACHE%"
@set "__pe_stamps=%__pe_cache%\prefixes\%CONDA_PREFIX::=%\"
@set "__pe_state=%__pe_stamps%state.oem"
@if not exist "%__pe_state%" goto :stale
@set "__pe_fresh=1"
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @set "__pe_%%A_%%B=%%C"
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="user" call :user %%B
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="file" call :file %%B
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="none" call :none %%B
@if defined __pe_fresh goto :apply

:stale
@if not exist "%CONDA_PREFIX%\python.exe" goto :nothing
@"%CONDA_PREFIX%\python.exe" -I -c "import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()" oem "%~dp0.." >nul
@if not errorlevel 1 if exist "%__pe_state%" goto :apply

:nothing
@endlocal
@exit /b 0

:apply
@endlocal & set "__pe_state=%__pe_state%"
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="set" set "%%B=%%C"
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="unset" set "%%B="
@for /F "usebackq tokens=1,2,* delims= " %%A in ("%__pe_state%") do @if "%%A"=="warn" >&2 echo prefect-env: %%C
@set "__pe_state="
@exit /b 0

:user
@setlocal EnableDelayedExpansion
@set "__pe_now="
@if defined %1 set "__pe_now=+!%1!"
@if "!__pe_now!"=="!__pe_user_%1!" (endlocal) else (endlocal & set "__pe_fresh=")
@exit /b 0

:file
@setlocal EnableDelayedExpansion
@set "__pe_path=!__pe_file_%1!"
@set "__pe_now="
@set "__pe_was="
@for %%F in ("%__pe_stamps%%1") do @set "__pe_was=%%~tF %%~zF"
@for %%F in ("%__pe_path%") do @set "__pe_now=%%~tF %%~zF"
@if not exist "%__pe_path%" set "__pe_now=gone"
@if "!__pe_now!"=="!__pe_was!" (endlocal) else (endlocal & set "__pe_fresh=")
@exit /b 0

:none
@setlocal EnableDelayedExpansion
@if not exist "!__pe_none_%1!" (endlocal) else (endlocal & set "__pe_fresh=")
@exit /b 0
