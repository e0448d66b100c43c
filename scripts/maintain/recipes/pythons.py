"""Run a line's release on other Pythons than the stand-in's: what ``ran`` of ``recipe/lines.toml`` is filled from.

conda's packages are those of one channel; here the wheels of the Python index are taken, with the same bounds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from maintain.bootstrap import uv_settings
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES
from maintain.lib.server import environment, program
from maintain.recipes.lines import Line

CHECKS = ("check_cli.py", "check_server.py")
"""Those of ``recipe/prefect/tests`` that are about Prefect, not about the prefix."""


@dataclass(frozen=True)
class Run:
    """What became of a line on a Python."""

    line: str
    python: str
    failed: str
    """The step that failed, empty if none did."""
    log: str


def try_line(line: Line, python: str) -> Run:
    """Install ``line`` with its bounds into a virtual environment of ``python``; pip check, command groups, a server.

    ``python`` is a path or a version that uv finds; nothing is downloaded but wheels. Raises ``missing-program``.
    """
    uv = shutil.which("uv")
    if not uv:
        raise ToolError("missing-program", "uv is not on PATH", fix="install uv, then run it again")
    with tempfile.TemporaryDirectory(prefix="prefect-env-python-") as name:
        home = Path(name, "venv")
        inside = str(program(home, "python"))
        index = uv_settings({**os.environ, "UV_PYTHON_DOWNLOADS": "never"})
        own = environment(home, Path(name, "home"))
        wanted = [f"prefect=={line.prefect}", *map(str, line.bounds), "pip"]
        steps = [
            ("uv venv", [uv, "venv", "--quiet", "--no-project", "--no-config", "--python", python, str(home)], index),
            ("uv pip install", [uv, "pip", "install", "--quiet", "--no-config", "--python", inside, *wanted], index),
            ("pip check", [inside, "-m", "pip", "check"], own),
            *((check, [inside, str(RECIPES / "prefect" / "tests" / check)], own) for check in CHECKS),
        ]
        for step, command, env in steps:
            done = subprocess.run(command, env=env, cwd=name, capture_output=True, text=True, check=False)
            if done.returncode:
                return Run(line.name, python, step, f"{done.stdout}\n{done.stderr}".strip())
    return Run(line.name, python, "", "")
