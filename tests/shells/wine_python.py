"""Prepare the states that cmd.exe reads, as Python on Windows would: told that this is Windows, paths translated.

Standard input has one job a line, as JSON: the format, and an environment of cmd.exe with paths on wine's drive Z. For
each a line is written: the state's path, whether an activation finds it fresh, and the variables that it sets. A
program of its own, since it changes what the package takes the platform for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prefect_env import effective, state

CODE_PAGE = "cp1252"
"""What wine's cmd.exe reads and writes without a locale."""


def posix(value: str) -> str:
    """``Z:\\a\\b`` as ``/a/b``; anything else as it is."""
    return value[2:].replace("\\", "/") if value.startswith("Z:\\") else value


def windows(value: str) -> str:
    """``/a/b``, maybe behind a plus sign, as ``Z:\\a\\b``; anything else as it is."""
    plus = "+" if value.startswith("+") else ""
    rest = value[len(plus) :]
    return f"{plus}Z:{rest}".replace("/", "\\") if rest.startswith("/") else value


def prepare(form: str, environ: dict[str, str]) -> dict[str, Any]:
    """Write the state for one environment."""
    env = {name.upper(): posix(value) for name, value in environ.items()}
    env["XDG_CONFIG_HOME"] = env["APPDATA"]
    prefix = env["CONDA_PREFIX"]
    home = Path(f"{env['PREFECT_ENV_CACHE']}/prefixes/Z{prefix}")
    home.mkdir(parents=True, exist_ok=True)
    parts = state.records(prefix, state.user_environ(env), home, form)
    conditions, actions = ([(kind, name, windows(value)) for kind, name, value in part] for part in parts)
    path = home / f"state.{form}"
    path.write_bytes(state.FORMATS[form](conditions, actions).encode(CODE_PAGE))
    return {
        "state": windows(str(path)),
        "fresh": conditions != [state.NEVER],
        "set": {name: value for kind, name, value in actions if kind == "set"},
    }


if __name__ == "__main__":
    effective.WINDOWS = True
    state.console_encoding = lambda: CODE_PAGE
    effective.MANAGED = tuple(name for name in effective.MANAGED if not name.islower())
    effective.READ = ("PREFECT_ENV_PROJECT", "PIXI_PROJECT_ROOT", effective.OPENSSL_MARKER, "APPDATA")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(prepare(*json.loads(line))) + "\n")
