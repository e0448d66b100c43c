"""Real databases made by the real Prefects, once; prefixes come from support.prefixes."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from maintain.lib import server as servers
from maintain.lib.files import exclusive
from maintain.lib.paths import BUILD, RECIPES
from support.prefixes import line_prefix

SEED = Path(__file__).with_name("seed.py")


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
def seeded(prefix: Callable[[str], Path]) -> Callable[[str, Path], Path]:
    """Put a database that the line's Prefect filled (seed.py) as ``prefect.db`` into a folder."""

    def copy(line: str, home: Path) -> Path:
        key = hashlib.sha256(SEED.read_bytes() + (RECIPES / "lines" / f"{line}.txt").read_bytes()).hexdigest()[:16]
        kept = BUILD / "test-databases" / f"{line}-{key}.db"
        with exclusive(kept.with_suffix(".lock"), what=str(kept), wait=240):
            if not kept.exists():
                _fill(prefix(line), kept)
        home.mkdir(parents=True, exist_ok=True)
        return shutil.copyfile(kept, home / "prefect.db")

    return copy


def _fill(prefix: Path, kept: Path) -> None:
    home = kept.with_suffix(".home")
    shutil.rmtree(home, ignore_errors=True)
    done = servers.run(prefix, "python", SEED, env=servers.environment(prefix, home))
    assert done.returncode == 0, done.stderr
    # Not a rename: the temporary server of Prefect 3 may take a while to end.
    partial = kept.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(home / "prefect.db", timeout=60)) as db, closing(sqlite3.connect(partial)) as copy:
        db.backup(copy)
    partial.rename(kept)
    shutil.rmtree(home, ignore_errors=True)
