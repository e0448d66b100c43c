"""Real databases, made once by the real Prefects and kept: flow runs with tasks, a block, a deployment."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from maintain.lib import server as servers
from maintain.lib.files import exclusive
from maintain.lib.paths import BUILD, RECIPES
from support.prefixes import line_prefix

SEED = Path(__file__).with_name("seed.py")


def seeded(line: str, home: Path) -> Path:
    """Put a database that the line's Prefect filled (seed.py) as ``prefect.db`` into ``home``; its path."""
    key = hashlib.sha256(SEED.read_bytes() + (RECIPES / "lines" / f"{line}.txt").read_bytes()).hexdigest()[:16]
    kept = BUILD / "test-databases" / f"{line}-{key}.db"
    with exclusive(kept.with_suffix(".lock"), what=str(kept), wait=240):
        if not kept.exists():
            _fill(line_prefix(line), kept)
    home.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(kept, home / "prefect.db"))


def _fill(prefix: Path, kept: Path) -> None:
    home = kept.with_suffix(".home")
    shutil.rmtree(home, ignore_errors=True)
    patient = {
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200"
    }  # the default of 20 s is short on a busy machine
    done = servers.run(prefix, "python", SEED, env={**servers.environment(prefix, home), **patient})
    assert done.returncode == 0, done.stderr
    # Not a rename: the temporary server of Prefect 3 may take a while to end.
    partial = kept.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(home / "prefect.db", timeout=60)) as db, closing(sqlite3.connect(partial)) as copy:
        db.backup(copy)
    partial.rename(kept)
    shutil.rmtree(home, ignore_errors=True)
