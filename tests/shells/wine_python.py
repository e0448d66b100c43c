"""Prepare the states that cmd.exe reads, as Python on Windows would: told that this is Windows, paths translated.

Standard input has one environment of cmd.exe a line, as JSON, with paths on wine's drive Z. A program of its own,
since it changes what the package takes the platform for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prefect_env import effective, state


def posix(value: str) -> str:
    """``Z:\\a\\b`` as ``/a/b``; anything else as it is."""
    return value[2:].replace("\\", "/") if value.startswith("Z:\\") else value


def windows(value: str) -> str:
    """``/a/b``, maybe behind a plus sign, as ``Z:\\a\\b``; anything else as it is."""
    plus = "+" if value.startswith("+") else ""
    rest = value[len(plus) :]
    return f"{plus}Z:{rest}".replace("/", "\\") if rest.startswith("/") else value


def prepare(environ: dict[str, str]) -> None:
    """Write ``state.oem`` for one environment."""
    env = {name.upper(): posix(value) for name, value in environ.items()}
    env["XDG_CONFIG_HOME"] = env["APPDATA"]
    prefix = env["CONDA_PREFIX"]
    home = Path(f"{env['PREFECT_ENV_CACHE']}/prefixes/Z{prefix}")
    home.mkdir(parents=True, exist_ok=True)
    parts = state.records(prefix, state.user_environ(env), home)
    both = [[(kind, name, windows(value)) for kind, name, value in part] for part in parts]
    (home / "state.oem").write_text(state.data(*both), newline="")


if __name__ == "__main__":
    effective.WINDOWS = True
    effective.MANAGED = tuple(name for name in effective.MANAGED if not name.islower())
    effective.READ = ("PREFECT_ENV_PROJECT", "PIXI_PROJECT_ROOT", effective.OPENSSL_MARKER, "APPDATA")
    for line in sys.stdin:
        prepare(json.loads(line))
