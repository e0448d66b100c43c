# Activate this environment in PowerShell 5.1 or later, without conda or pixi:   . PREFIX\activate.ps1
# Undo it: deactivate. The file is the same in every prefix.

if (Test-Path 'Function:\Exit-PrefectEnv') { Exit-PrefectEnv }

$Global:_PrefectEnvOld = @{}
foreach ($name in 'PATH', 'CONDA_PREFIX', 'CONDA_DEFAULT_ENV') {
    $Global:_PrefectEnvOld[$name] = [Environment]::GetEnvironmentVariable($name)
}

function Global:Exit-PrefectEnv {
    $folder = Join-Path $Env:CONDA_PREFIX 'etc/conda/deactivate.d'
    if (Test-Path -LiteralPath $folder) {
        Get-ChildItem -LiteralPath $folder -Filter '*.ps1' | Sort-Object Name -Descending |
            ForEach-Object { . $_.FullName }
    }
    foreach ($name in $Global:_PrefectEnvOld.Keys) {
        # An empty value removes the variable, here as in the process.
        [Environment]::SetEnvironmentVariable($name, $Global:_PrefectEnvOld[$name])
    }
    Remove-Variable -Scope Global -Name _PrefectEnvOld
    Remove-Item -LiteralPath 'Function:\Exit-PrefectEnv', 'Function:\deactivate'
}

function Global:deactivate([switch]$NonDestructive) {
    # A venv's Activate.ps1 calls "deactivate -nondestructive" on whatever has the name.
    if (-not $NonDestructive) { Exit-PrefectEnv }
}

$Env:CONDA_PREFIX = $PSScriptRoot
$Env:CONDA_DEFAULT_ENV = Split-Path -Leaf $PSScriptRoot
$folders = if ($Env:OS -eq 'Windows_NT') {
    '', 'Library\mingw-w64\bin', 'Library\usr\bin', 'Library\bin', 'Scripts', 'bin'
} else {
    , 'bin'
}
$folders = $folders | ForEach-Object { if ($_) { Join-Path $PSScriptRoot $_ } else { $PSScriptRoot } }
$Env:PATH = (@($folders) + $Env:PATH) -join [IO.Path]::PathSeparator
$folder = Join-Path $PSScriptRoot 'etc/conda/activate.d'
if (Test-Path -LiteralPath $folder) {
    Get-ChildItem -LiteralPath $folder -Filter '*.ps1' | Sort-Object Name | ForEach-Object { . $_.FullName }
}
