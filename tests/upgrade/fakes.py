"""Prefixes with a Prefect of a few lines, for all that does not depend on the real one; made in milliseconds."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from maintain.lib.paths import RUNTIME
from prefect_env import revisions
from support import fake_server
from support.commands import Done, run

CLI = """
import os, sqlite3, sys, time
from contextlib import closing
from pathlib import Path

here = Path(__file__).parents[1]
chain = (here / "chain").read_text().split()

def app():
    group, database, verb = sys.argv[1:4]
    if database == "start":
        from prefect.cli import server
        server.main((here / "mode").read_text(), int(sys.argv[sys.argv.index("--port") + 1]))
    url = next(value for name, value in os.environ.items() if name.endswith("_DATABASE_CONNECTION_URL"))
    goal = sys.argv[sys.argv.index("-r") + 1] if verb == "downgrade" else chain[-1]
    with closing(sqlite3.connect(url.partition(":///")[2], isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL").fetchone()
        db.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        row = db.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None:
            db.execute("INSERT INTO alembic_version VALUES ('')")
        at = row[0] if row else ""
        places = [chain.index(name) if name else -1 for name in (at, goal)]
        way = 1 if verb == "upgrade" else -1
        for place in range(places[0] + way, places[1] + way, way):
            db.execute("BEGIN IMMEDIATE")
            extra = (here / "extra.sql").read_text().strip()
            if extra and place == len(chain) - 1:
                db.execute(extra)
            column = f"c_{chain[place] if way > 0 else chain[place + 1]}"
            if place < 0:
                db.execute("CREATE TABLE IF NOT EXISTS flow_run (id INTEGER PRIMARY KEY, name TEXT)")
            elif way > 0:
                db.execute("CREATE TABLE IF NOT EXISTS flow_run (id INTEGER PRIMARY KEY, name TEXT)")
                db.execute(f"ALTER TABLE flow_run ADD COLUMN {column} TEXT DEFAULT 'x'")
            else:
                db.execute(f"ALTER TABLE flow_run DROP COLUMN {column}")
            db.execute("UPDATE alembic_version SET version_num = ?", (chain[place],))
            db.execute("COMMIT")
            time.sleep(0.005)
"""


def make(folder: Path, version: str, head: str | None = None, *, extra: str = "", server: str = "sound") -> Path:
    """A prefix with a false Prefect ``version`` whose newest SQLite revision is ``head``.

    It knows the last five revisions down to there and 2.8.6's; its upgrade adds a column to ``flow_run`` for each
    revision, and runs the statement ``extra`` in the last one. Its server is a
    :mod:`support.fake_server` of the mode ``server``.
    """
    site = folder / f"lib/python3.{sys.version_info.minor}/site-packages"
    package = site / "prefect"
    (package / "cli").mkdir(parents=True)
    (folder / "bin").mkdir()
    base = Path(sys._base_executable)  # type: ignore[attr-defined]
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    (site / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{RUNTIME}\n")
    info = site / f"prefect-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: prefect\nVersion: {version}\n")
    (package / "__init__.py").touch()
    (package / "cli" / "__init__.py").write_text(CLI)
    (package / "extra.sql").write_text(extra)
    (package / "mode").write_text(server)
    shutil.copy(str(fake_server.__file__), package / "cli" / "server.py")
    if head is None:
        return folder
    order, _ = revisions.table("sqlite")
    chain = order[: order.index(head) + 1]
    (package / "chain").write_text("\n".join(chain))
    versions = package / "server" / "database" / "_migrations" / "versions" / "sqlite"
    versions.mkdir(parents=True)
    for number, revision in enumerate(chain):
        parent = f'"{chain[number - 1]}"' if number else "None"
        text = f'revision = "{revision}"\ndown_revision = {parent}\n'
        (versions / f"2022_01_{number:06}_{revision}.py").write_text(text)
    return folder


def database(path: Path, revision: str | None, *, rows: int = 500) -> Path:
    """A database as the false Prefect makes it, at ``revision`` (None: as 2.0a9 left it), in WAL mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL").fetchone()
        db.execute("CREATE TABLE flow (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("CREATE TABLE flow_run (id INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO flow_run (name) VALUES (?)", ((f"run-{number}",) for number in range(rows)))
        if revision:
            db.execute("CREATE TABLE alembic_version (version_num TEXT)")
            db.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        db.commit()
    return path


def environment(prefix: Path, home: Path) -> dict[str, str]:
    """The variables of a command in the false ``prefix``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
    return env | {"PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": "9", "PATH": f"{prefix / 'bin'}:{env['PATH']}"}


def cli(prefix: Path, home: Path, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
    """Run ``prefect-env`` in the false ``prefix``."""
    words: Sequence[str | Path] = [prefix / "bin" / "python", "-m", "prefect_env", *arguments]
    return run(words, code=code, env={**environment(prefix, home), **(env or {})}, cwd=home)


def below(head: str, last: str) -> tuple[str, ...]:
    """The SQLite revisions after ``last`` up to ``head``."""
    order, _ = revisions.table("sqlite")
    return order[order.index(last) + 1 : order.index(head) + 1]
