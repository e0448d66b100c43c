@rem Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
@rem Values pass only through "for" variables and delayed expansion, which cmd never parses again. ERRORLEVEL ends as 0.
@if defined __PREFECT_ENV call "%~dp0..\deactivate.d\00_prefect-env.bat"
@set "__pe_form=oem"
@rem Under cmd /V:ON what a "for" variable holds is expanded once more: its state has no value with an exclamation mark.
@if "!!"=="" set "__pe_form=delayed"
@setlocal EnableExtensions DisableDelayedExpansion
@if not defined CONDA_PREFIX goto :nothing
@set "__pe_cache=%LOCALAPPDATA%\prefect-env"
@if defined PREFECT_ENV_CACHE set "__pe_cache=%PREFECT_ENV_CACHE%"
@set "__pe_stamps=%__pe_cache%\prefixes\%CONDA_PREFIX::=%\"
@set "__pe_state=%__pe_stamps%state.%__pe_form%"
@if "%__pe_form%"=="delayed" if not "%__pe_state:!=%"=="%__pe_state%" goto :refused
@if not exist "%__pe_state%" goto :stale
@set "__pe_fresh=1"
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="user" set "__pe_user_%%H=%%I"
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="user" call :user %%H
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="file" call :file %%H "%%~tI %%~zI"
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="none" if exist "%%I" set "__pe_fresh="
@if defined __pe_fresh goto :apply

:stale
@if not exist "%CONDA_PREFIX%\python.exe" goto :nothing
@"%CONDA_PREFIX%\python.exe" -I -c "import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()" %__pe_form% "%~dp0.." >nul
@if not errorlevel 1 if exist "%__pe_state%" goto :apply

:nothing
@endlocal & set "__pe_form="
@exit /b 0

:refused
@echo prefect-env: settings are not applied: cmd /V:ON cannot read a path with an exclamation mark>&2
@goto :nothing

:apply
@endlocal & set "__pe_state=%__pe_state%" & set "__pe_form="
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="set" set "%%H=%%I"
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="unset" set "%%H="
@for /F "usebackq tokens=1,2,* delims= " %%G in ("%__pe_state%") do @if "%%G"=="warn" >&2 echo prefect-env: %%I
@set "__pe_state="
@exit /b 0

:user
@setlocal EnableDelayedExpansion
@set "__pe_now="
@if defined %1 set "__pe_now=+!%1!"
@if "!__pe_now!"=="!__pe_user_%1!" (endlocal) else (endlocal & set "__pe_fresh=")
@exit /b 0

:file
@set "__pe_was="
@for %%F in ("%__pe_stamps%%1") do @set "__pe_was=%%~tF %%~zF"
@if not "%~2"=="%__pe_was%" set "__pe_fresh="
@if "%~2"==" " set "__pe_fresh="
@exit /b 0
