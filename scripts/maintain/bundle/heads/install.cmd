@echo off
rem Installs the environment @name@ from this very file: FILE --help
rem PowerShell and a tar with everything follow, so do not edit it. Needs Windows 10 1803 or newer (it has tar.exe).
setlocal
set "PREFECT_ENV_FILE=%~f0"
set PREFECT_ENV_ARGUMENTS=%*
powershell -NoProfile -ExecutionPolicy Bypass -Command "$s = [IO.File]::OpenRead($env:PREFECT_ENV_FILE); $b = New-Object byte[] 32768; [void]$s.Read($b, 0, 32768); $s.Close(); $t = [Text.Encoding]::UTF8.GetString($b); Invoke-Expression $t.Substring($t.IndexOf('#' + 'BEGIN'))"
exit /b %ERRORLEVEL%
#BEGIN
$ErrorActionPreference = 'Stop'
$name = '@name@'; $environment = '@environment@'; $head = 32768
$needed = @need_kib@; $size = @payload_size@; $sha256 = '@payload_sha256@'
$engineSkip = @engine_skip@; $engineSize = @engine_size@; $listSkip = @list_skip@; $listSize = @list_size@
$file = $env:PREFECT_ENV_FILE
$given = @([regex]::Matches("$env:PREFECT_ENV_ARGUMENTS", '"([^"]*)"|(\S+)') | ForEach-Object { $_.Groups[1].Value + $_.Groups[2].Value })

function Stop-With($code, $id, $what, $where, $why, $fix) {
    if ($given -contains '--json') {
        @{ error = $id; exit_code = $code; what = $what; where = $where; why = $why; fix = $fix } | ConvertTo-Json
    } else {
        [Console]::Error.WriteLine("error: $what [$id]")
        if ($where) { [Console]::Error.WriteLine("  where: $where") }
        if ($why) { [Console]::Error.WriteLine("  why: $why") }
        if ($fix) { [Console]::Error.WriteLine("  fix: $fix") }
    }
    exit $code
}

function Open-At($at) {
    $stream = [IO.File]::OpenRead($file)
    [void]$stream.Seek($at, 'Begin')
    return $stream
}

function Read-Member($skip, $count) {
    $stream = Open-At ($head + $skip)
    $buffer = New-Object byte[] $count
    $done = 0
    while ($done -lt $count) {
        $now = $stream.Read($buffer, $done, $count - $done)
        if ($now -eq 0) { break }
        $done += $now
    }
    $stream.Close()
    return , $buffer
}

function Test-File {
    $stream = Open-At $head
    $found = [BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($stream)).Replace('-', '').ToLower()
    $stream.Close()
    if ($found -ne $sha256) {
        Stop-With 4 'hash-mismatch' 'the bundle is damaged or was changed; nothing of it was used' $file "sha256 is $found, expected $sha256 ($size bytes)" 'copy it again and compare it with its .sha256 file; if it stays so, ask who made it'
    }
}

function Test-Place($prefix) {
    if ($env:PROCESSOR_ARCHITECTURE -ne 'AMD64') {
        Stop-With 5 'unsupported-host' 'this file is for win-64' $env:COMPUTERNAME "this host is $env:PROCESSOR_ARCHITECTURE" 'take the file for this platform'
    }
    if (-not (Test-Path "$env:SystemRoot\System32\tar.exe")) {
        Stop-With 5 'missing-program' 'there is no tar.exe' $env:COMPUTERNAME 'Windows 10 1803 and newer have it' 'install on a newer Windows'
    }
    if ($prefix -match '["%!&^<>|;=]' -or $prefix.Length -gt 110) {
        Stop-With 2 'bad-usage' 'the path of the prefix cannot be used' $prefix 'none of " % ! & ^ < > | ; = may be in it, and it may have 110 characters, for files in it may have 260' 'choose another --prefix'
    }
    $holds = if (Test-Path $prefix) { Get-ChildItem -Force $prefix | Select-Object -First 1 }
    if ($holds -and -not (Test-Path "$prefix\conda-meta\prefect-env")) {
        Stop-With 6 'not-ours' 'the prefix holds something that this installer did not make' $prefix 'it is not empty' 'choose another --prefix, or move that folder away'
    }
    $free = [int64](([IO.DriveInfo][IO.Path]::GetPathRoot($prefix)).AvailableFreeSpace / 1024)
    if ($free -lt $needed) {
        Stop-With 5 'disk-full' 'there is not enough room' $prefix "$needed KiB are needed, $free KiB are free" 'free some space, or choose another --prefix'
    }
}

$prefix = ''; $versions = ''; $mode = 'install'; $pass = @()
for ($i = 0; $i -lt $given.Count; $i++) {
    $option = $given[$i]
    if ($option -in '--prefix', '--versions', '--site', '--ca', '--proxy', '--key', '--base') {
        $i++
        if ($i -ge $given.Count) { Stop-With 2 'bad-usage' "$option needs a value" '' '' 'see --help' }
        if ($option -eq '--prefix') { $prefix = $given[$i] }
        elseif ($option -eq '--versions') { $versions = $given[$i] }
        else { $pass += $option, $given[$i] }
    }
    elseif ($option -in '--dry-run', '--list', '--help') { $mode = $option.Substring(2) }
    elseif ($option -in '--uninstall', '--rollback', '--verify-only') { $mode = $option.Substring(2); $pass += $option }
    elseif ($option -in '--airgap', '--no-compile', '--no-doctor', '--json') { $pass += $option }
    elseif ($option -ne '--batch') { Stop-With 2 'bad-usage' "there is no option $option" $file '' 'see --help' }
}
if ($mode -eq 'help') {
    "Install $name. Options: --prefix DIR, --versions DIR, --rollback, --uninstall, --airgap, --site FILE, --ca FILE,"
    '--proxy URL, --no-compile, --no-doctor, --key FILE, --base FILE, --batch, --dry-run, --verify-only, --list, --json.'
    'They are those of the installer for Linux; see OFFLINE.md of prefect-env.'
    exit 0
}
if ($versions) {
    $versions = [IO.Path]::GetFullPath($versions)
    $pass += '--versions', $versions
    if (-not $prefix) { $prefix = Join-Path $versions $name }
}
if (-not $prefix) { $prefix = "$env:LOCALAPPDATA\prefect-env\$environment" }
$prefix = [IO.Path]::GetFullPath($prefix).TrimEnd('\')
if ($mode -in 'install', 'dry-run') { Test-Place $prefix }
Test-File
if ($mode -eq 'list') { [Text.Encoding]::UTF8.GetString((Read-Member $listSkip $listSize)); exit 0 }
if ($mode -eq 'dry-run') { "$name can be installed at $prefix"; exit 0 }
$parent = Split-Path $prefix
while (-not (Test-Path $parent)) { $parent = Split-Path $parent }
$boot = Join-Path $parent ".prefect-env.boot.$PID"
try {
    [void](New-Item -ItemType Directory $boot)
    [IO.File]::WriteAllBytes("$boot\engine.tar.gz", (Read-Member $engineSkip $engineSize))
    & "$env:SystemRoot\System32\tar.exe" -xzf "$boot\engine.tar.gz" -C $boot
    if ($LASTEXITCODE) { Stop-With 5 'not-writable' 'the engine cannot be unpacked' $boot '' 'choose another --prefix' }
    & "$boot\python.exe" -I -S "$boot\engine" --bundle $file @pass --prefix $prefix
    $code = $LASTEXITCODE
} finally {
    Remove-Item -Recurse -Force $boot -ErrorAction SilentlyContinue
}
exit $code
