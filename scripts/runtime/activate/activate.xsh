# Activate this environment in xonsh, without conda or pixi:   source PREFIX/activate.xsh
# Undo it: deactivate. The file is the same in every prefix.
import os as _prefect_env_os


def _prefect_env_activate(file):
    def scripts(folder):
        base = os.path.join($CONDA_PREFIX, "etc", "conda", folder)
        names = sorted(os.listdir(base)) if os.path.isdir(base) else []
        return [os.path.join(base, name) for name in names if name.endswith(".xsh")]

    def deactivate(args=None):
        if args == ["nondestructive"]:  # what a venv's activate calls first
            return
        for script in reversed(scripts("deactivate.d")):
            source @(script)
        for name, value in old.items():
            if value is None:
                __xonsh__.env.pop(name, None)
            else:
                __xonsh__.env[name] = value
        for name in ("deactivate", "prefect_env_deactivate"):
            aliases.pop(name, None)

    os = _prefect_env_os
    if "prefect_env_deactivate" in aliases:
        prefect_env_deactivate
    prefix = os.path.dirname(os.path.abspath(file))
    old = {name: __xonsh__.env.get(name) for name in ("PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")}
    old["PATH"] = list(old["PATH"])
    $CONDA_PREFIX = prefix
    $CONDA_DEFAULT_ENV = os.path.basename(prefix)
    windows = ["", "Library/mingw-w64/bin", "Library/usr/bin", "Library/bin", "Scripts", "bin"]
    $PATH = [os.path.join(prefix, part) for part in (windows if os.name == "nt" else ["bin"])] + old["PATH"]
    aliases["deactivate"] = aliases["prefect_env_deactivate"] = deactivate
    for script in scripts("activate.d"):
        source @(script)


_prefect_env_activate(__file__)
del _prefect_env_activate, _prefect_env_os
