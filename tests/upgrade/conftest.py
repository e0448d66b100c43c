"""Real databases made by the real Prefects come from support.databases, prefixes from support.prefixes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support import databases
from support.prefixes import line_prefix


@pytest.fixture(scope="session")
def prefix() -> Callable[[str], Path]:
    """The prefix of a line, by name; installed when it is first asked for."""
    found: dict[str, Path] = {}

    def get(line: str) -> Path:
        if line not in found:
            found[line] = line_prefix(line)
        return found[line]

    return get


@pytest.fixture(scope="session")
def seeded() -> Callable[[str, Path], Path]:
    """Put a database that the line's Prefect filled as ``prefect.db`` into a folder."""
    return databases.seeded
