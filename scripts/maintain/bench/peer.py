"""The peer of what installs: uv with the same pins, and how what is measured is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from maintain.bootstrap import uv_settings
from maintain.lib.errors import ToolError
from maintain.lib.paths import BUILD, ROOT


def uv_venv(venv: Path, pins: Path, *options: str) -> Path:
    """A virtual environment at ``venv`` with what the requirements file ``pins`` lists, made or brought up to date."""
    uv = shutil.which("uv")
    if not uv:
        raise ToolError("missing-program", "uv is what we compare with", fix="install uv, then run scripts/bench again")
    if not venv.exists():
        call([uv, "venv", "-q", "--no-project", "--python", sys.executable, str(venv)])
    call([uv, "pip", "install", "-q", "--python", str(venv), "--no-deps", "--require-hashes", "-r", str(pins),
          *options])  # fmt: skip
    return venv


def ours(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run our command ``module`` in a process of its own, quietly, with ``env`` added; its standard output."""
    return call([sys.executable, "-m", module, *arguments], env)


def call(command: list[str], env: Mapping[str, str] | None = None) -> str:
    """Run ``command`` with ``env`` added; its standard output. Raises ``command-failed``."""
    mine = {name: value for name, value in uv_settings(dict(os.environ)).items() if name != "PYTHONDONTWRITEBYTECODE"}
    mine |= {"PYTHONPATH": str(ROOT / "scripts"), **(env or {})}
    done = subprocess.run(command, env=mine, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolError(
            "command-failed", f"a measured command failed: {' '.join(command[:4])} ...", why=done.stderr.strip()[-800:]
        )
    return done.stdout


def scratch() -> Path:
    """A folder of the clone for what is measured: on its disk, as what users make is on theirs."""
    folder = BUILD / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
