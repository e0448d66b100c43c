"""Run the clone's ``prefect-env`` under a real prefix's Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from maintain.lib import server as servers
from maintain.lib.paths import RUNTIME
from support.commands import Done, run

Prefixes = Callable[[str], Path]
"""The fixture ``prefix``: a line's prefix by the line's name."""

NOBODY = "9"
"""A port that no server listens on; somebody may have one on Prefect's default."""


def environ(prefix: Path, home: Path) -> dict[str, str]:
    """The variables of the command."""
    return {**servers.environment(prefix, home), "PYTHONPATH": str(RUNTIME), "PREFECT_SERVER_API_PORT": NOBODY}


def command(prefix: Path, *arguments: str | Path) -> list[str]:
    """The command's words."""
    return [str(word) for word in (servers.program(prefix, "python"), "-m", "prefect_env", *arguments)]


def cli(prefix: Path, home: Path, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
    """Run it to its end."""
    words = command(prefix, *arguments)
    return run(words, code=code, env={**environ(prefix, home), **(env or {})}, cwd=home, trouble=code != 0)
