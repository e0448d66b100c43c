# Sets proxy, certificate and Prefect variables from the settings files; activate.d/00_prefect-env.sh has the contract.
# rattler runs this after the .sh script and conda runs the .sh script only; twice is as good as once.


def __prefect_env_activate():
    import os
    import subprocess
    import sys

    env = __xonsh__.env
    prefix = env.get("CONDA_PREFIX", "")
    home = os.path.join(prefix, "etc", "conda")
    undo = os.path.join(home, "deactivate.d", "00_prefect-env.xsh")
    if not os.path.isfile(undo):
        home = os.path.join(env.get("PIXI_PROJECT_ROOT", ""), "scripts", "runtime")
        undo = os.path.join(home, "deactivate.d", "00_prefect-env.xsh")
    if "__PREFECT_ENV" in env:
        source @(undo)

    values = env.detype()
    if os.name == "nt":
        cache = os.path.join(values.get("LOCALAPPDATA", ""), "prefect-env")
        python, below = os.path.join(prefix, "python.exe"), "/" + prefix.replace(":", "")
    else:
        cache = os.path.join(values.get("XDG_CACHE_HOME") or values.get("HOME", "") + "/.cache", "prefect-env")
        python, below = os.path.join(prefix, "bin", "python"), prefix
    cache = values.get("PREFECT_ENV_CACHE") or cache

    def date(path):
        return os.stat(path).st_mtime_ns if os.path.exists(path) else None

    def holds(kind, name, value, stamps):
        if kind == "user":
            return value == ("+" + values[name] if name in values else "")
        if kind == "file":
            return date(value) is not None and date(value) == date(os.path.join(stamps, name))
        return not os.path.exists(value)

    def load(path):
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            for line in stream:
                kind, name, value = line.rstrip("\n").split(" ", 2)
                if kind == "set":
                    if name.endswith("PATH"):
                        env.register(name, type="str")  # else xonsh takes it for a list of folders and expands it
                    env[name] = value
                elif kind == "unset":
                    del env[name]
                elif kind == "warn":
                    print(f"prefect-env: {value}", file=sys.stderr)
                elif not holds(kind, name, value, os.path.dirname(path)):
                    return False
        return True

    state = f"{cache}/prefixes{below}/state.data"
    if not (os.path.isfile(state) and load(state)) and os.path.isfile(python):
        code = "import sys; sys.path.append(sys.argv.pop(2)); from prefect_env.state import main; main()"
        run = subprocess.run([python, "-I", "-c", code, "data", home], env=values, stdout=subprocess.PIPE)
        if run.returncode == 0:
            load(os.fsdecode(run.stdout).rstrip("\r\n"))


__prefect_env_activate()
del __prefect_env_activate
