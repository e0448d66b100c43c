# Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
# The twin of 00_prefect-env.bat, step by step. In a block of its own, so that no variable is left behind.
& {
  if ($env:__PREFECT_ENV) { . (Join-Path $args[0] '../deactivate.d/00_prefect-env.ps1') }
  $windows = [IO.Path]::DirectorySeparatorChar -eq '\'
  $cache = if ($windows) { "$env:LOCALAPPDATA/prefect-env" }
    elseif ($env:XDG_CACHE_HOME) { "$env:XDG_CACHE_HOME/prefect-env" }
    else { "$env:HOME/.cache/prefect-env" }
  if ($env:PREFECT_ENV_CACHE) { $cache = $env:PREFECT_ENV_CACHE }
  $below = if ($windows) { '/' + $env:CONDA_PREFIX.Replace(':', '') } else { $env:CONDA_PREFIX }
  $python = if ($windows) { "$env:CONDA_PREFIX/python.exe" } else { "$env:CONDA_PREFIX/bin/python" }
  $stamps = "$cache/prefixes$below/"
  $state = $stamps + 'state.data'

  $fresh = [IO.File]::Exists($state)
  if ($fresh) {
    foreach ($line in [IO.File]::ReadAllLines($state)) {
      $kind, $name, $value = $line.Split([char[]]' ', 3)
      if ($kind -ceq 'user') {
        $now = [Environment]::GetEnvironmentVariable($name)
        $now = if ($null -eq $now) { '' } else { '+' + $now }
        if ($now -cne $value) { $fresh = $false }
      }
      if ($kind -ceq 'file') {
        $now = if (Test-Path -LiteralPath $value) { [IO.File]::GetLastWriteTimeUtc($value) } else { $null }
        if ($now -ne [IO.File]::GetLastWriteTimeUtc($stamps + $name)) { $fresh = $false }
      }
      if ($kind -ceq 'none') {
        if (Test-Path -LiteralPath $value) { $fresh = $false }
      }
    }
  }
  if (-not $fresh) {
    $state = $null
    if ([IO.File]::Exists($python)) {
      $code = 'import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()'
      $state = & $python -I -c $code data (Split-Path -Parent $args[0])
    }
  }
  if ($state) {
    foreach ($line in [IO.File]::ReadAllLines($state)) {
      $kind, $name, $value = $line.Split([char[]]' ', 3)
      if ($kind -ceq 'set') { [Environment]::SetEnvironmentVariable($name, $value) }
      if ($kind -ceq 'unset') { [Environment]::SetEnvironmentVariable($name, $null) }
      if ($kind -ceq 'warn') { [Console]::Error.WriteLine("prefect-env: $value") }
    }
  }
} $PSScriptRoot
