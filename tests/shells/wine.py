"""cmd.exe as wine has it: one process for many cases, since it takes a second to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maintain.lib.paths import RUNTIME, cache_dir
from shells.wine_python import CODE_PAGE, windows

ENVIRONMENT = {
    "WINEPREFIX": str(cache_dir() / "wine"),
    "WINEDEBUG": "-all",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
}
"""wine's own prefix is made once and kept in the cache."""


def prepare(jobs: Iterable[tuple[str, Mapping[str, str]]]) -> list[dict[str, Any]]:
    """Write a state for each format and environment, as after a first activation; what wine_python says of each."""
    done = subprocess.run(
        [sys.executable, "-m", "shells.wine_python"],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(RUNTIME), str(Path(__file__).parents[1])])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(file: Path, lines: Iterable[str]) -> None:
    """Write a batch file."""
    file.write_bytes("".join(f"{line}\r\n" for line in lines).encode(CODE_PAGE))


def run(file: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a batch file in its folder; what was said on both streams."""
    done = subprocess.run(
        ["wine", "cmd", "/c", windows(str(file))],
        env={**ENVIRONMENT, **(env or {})},
        cwd=file.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return done.stdout.decode(CODE_PAGE)


def dump(file: Path) -> dict[str, str]:
    """The environment that ``set`` wrote to a file, names in upper case."""
    pairs = (line.partition("=")[::2] for line in file.read_bytes().decode(CODE_PAGE).split("\r\n") if line)
    return {name.upper(): value for name, value in pairs}
