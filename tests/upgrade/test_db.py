# ruff: noqa: S608 - the statements are ours
"""``prefect-env db``: backups, restores, open and damaged databases, on prefixes of a few lines."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from prefect_env.db.postgres import Postgres
from upgrade import fakes
from upgrade.content import digest

HEAD = "20fbd53b3cef"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.make(tmp_path_factory.mktemp("prefixes") / "2.20.26", "2.20.26", HEAD)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    fakes.database(tmp_path / "home" / "prefect.db", HEAD)
    return tmp_path / "home"


@contextmanager
def holding(path: Path, statement: str = "SELECT 1") -> Iterator[int]:
    """Another process that has ``path`` open in WAL mode, idle after ``statement``; its process id."""
    code = (
        f"import sqlite3, sys; db = sqlite3.connect({str(path)!r}); db.execute({statement!r});"
        "db.execute('SELECT count(*) FROM flow_run').fetchall(); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        yield process.pid
    finally:
        process.communicate()


def test_a_backup_is_private_checked_and_complete(prefix: Path, home: Path) -> None:
    path = home / "prefect.db"
    with holding(path, "INSERT INTO flow_run (name) VALUES ('not committed')"):
        made = json.loads(fakes.cli(prefix, home, "db", "backup", "--json").stdout)
    folder = Path(made["folder"])
    assert digest(folder / "prefect.db") == digest(path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["revision"] == HEAD
    assert manifest["prefect"] == "2.20.26"
    assert manifest["counts"]["flow_run"] == 500
    shown = json.loads(fakes.cli(prefix, home, "db", "status", "--json").stdout)
    assert [item["folder"] for item in shown["backups"]] == [str(folder)]


def test_restore_puts_back_and_keeps_what_it_replaces(prefix: Path, home: Path) -> None:
    path = home / "prefect.db"
    path.chmod(0o640)
    before = digest(path)
    folder = fakes.cli(prefix, home, "db", "backup").stdout.strip()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM flow_run")
        db.commit()
    empty = digest(path)
    fakes.cli(prefix, home, "db", "restore", folder, "--dry-run", "--yes")
    assert digest(path) == empty
    done = json.loads(fakes.cli(prefix, home, "db", "restore", folder, "--yes", "--json").stdout)
    assert digest(path) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert digest(Path(done["before"]) / "prefect.db") == empty


def test_restore_keeps_the_owner(prefix: Path, home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    path = home / "prefect.db"
    folder = fakes.cli(prefix, home, "db", "backup").stdout.strip()
    os.chown(path, 65534, 65534)
    fakes.cli(prefix, home, "db", "restore", folder, "--yes")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_changed_backup_is_refused(prefix: Path, home: Path) -> None:
    before = digest(home / "prefect.db")
    folder = Path(fakes.cli(prefix, home, "db", "backup").stdout.strip())
    with (folder / "prefect.db").open("ab") as stream:
        stream.write(b"x")
    done = fakes.cli(prefix, home, "db", "restore", folder, "--yes", code=4)
    assert "hash-mismatch" in done.stderr
    (folder / "manifest.json").write_text("{}")
    assert "that is no backup" in fakes.cli(prefix, home, "db", "restore", folder, "--yes", code=2).stderr
    assert digest(home / "prefect.db") == before


@pytest.mark.parametrize("command", ["restore", "downgrade", "upgrade"])
def test_an_open_database_is_left_alone(prefix: Path, home: Path, command: str, tmp_path: Path) -> None:
    path = home / "prefect.db"
    folder = fakes.cli(prefix, home, "db", "backup").stdout.strip()
    newer = fakes.make(tmp_path / "newer", "3.9.1", "27d8f4e1a6c9")
    before = digest(path)
    arguments = {
        "restore": ("db", "restore", folder),
        "downgrade": ("db", "downgrade", "--to", "2.8.6"),
        "upgrade": ("upgrade", "run", "--to", newer),
    }[command]
    with holding(path) as process:
        done = fakes.cli(prefix, home, *arguments, "--yes", code=6)
        assert f"process {process}" in done.stderr
        shown = fakes.cli(prefix, home, "db", "status")
        assert f"process {process}" in shown.stdout
    assert digest(path) == before


def test_an_idle_connection_is_found_without_proc(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_env.console import CommandError
    from prefect_env.db.sqlite import Sqlite

    monkeypatch.setattr(Sqlite, "users", lambda self: [])
    database = Sqlite(home / "prefect.db")
    with holding(home / "prefect.db"), pytest.raises(CommandError) as caught, database.session(exclusive=True):
        pass
    assert caught.value.fields["error"] == "busy"
    with database.session(exclusive=True) as session:
        assert session.counts()["flow_run"] == 500


def test_the_lock_keeps_others_out(home: Path) -> None:
    from prefect_env.db.sqlite import Sqlite

    with Sqlite(home / "prefect.db").session(exclusive=True):
        code = (
            f"import sqlite3; sqlite3.connect({str(home / 'prefect.db')!r}, timeout=0).execute('DELETE FROM flow_run')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "database is locked" in done.stderr


def test_a_damaged_database_is_said_and_restored(prefix: Path, home: Path, tmp_path: Path) -> None:
    path = home / "prefect.db"
    before = digest(path)
    folder = fakes.cli(prefix, home, "db", "backup").stdout.strip()
    with path.open("r+b") as stream:
        stream.seek(0, os.SEEK_END)
        size = stream.tell()
        for place in range(4096, size, 512):
            stream.seek(place)
            stream.write(os.urandom(256))
    newer = fakes.make(tmp_path / "newer", "3.9.1", "27d8f4e1a6c9")
    for arguments in (("db", "backup"), ("upgrade", "run", "--to", newer, "--yes")):
        done = fakes.cli(prefix, home, *arguments, code=1)
        assert "the database is damaged" in done.stderr
        assert "prefect-env db restore" in done.stderr
    fakes.cli(prefix, home, "db", "restore", folder, "--yes")
    assert digest(path) == before
    assert len(list(home.glob("prefect.db.damaged-*"))) == 1
    (home / "prefect.db").write_bytes(b"this is no database, whatever its name says" * 100)
    assert "damaged" in fakes.cli(prefix, home, "db", "status", code=1).stderr


def test_a_killed_backup_is_none(prefix: Path, home: Path) -> None:
    folder = Path(fakes.cli(prefix, home, "db", "backup").stdout.strip())
    half = folder.with_name(f".{folder.name}.partial")
    shutil.copytree(folder, half)
    (half / "manifest.json").unlink()
    shown = json.loads(fakes.cli(prefix, home, "db", "status", "--json").stdout)
    assert [item["folder"] for item in shown["backups"]] == [str(folder)]
    fakes.cli(prefix, home, "db", "backup")
    assert not half.exists()


def test_downgrade_and_back(prefix: Path, home: Path) -> None:
    path = home / "prefect.db"
    wrong = fakes.cli(prefix, home, "db", "downgrade", "--to", "3.9.1", "--yes", code=2)
    assert "not a revision below" in wrong.stderr
    fakes.cli(prefix, home, "db", "downgrade", code=2)
    with closing(sqlite3.connect(path)) as db:  # as if upgrades of the false Prefect had made it
        for revision in fakes.below(HEAD, "cf1159bd0d3c"):
            db.execute(f"ALTER TABLE flow_run ADD COLUMN c_{revision} TEXT DEFAULT 'x'")
        db.commit()
    before = digest(path)
    fakes.cli(prefix, home, "db", "downgrade", "--to", "2.8.6", "--yes")
    shown = json.loads(fakes.cli(prefix, home, "db", "status", "--json").stdout)
    assert shown["revision"] == "cf1159bd0d3c"
    assert shown["written_by"] == "Prefect 2.8.6"
    fakes.cli(prefix, home, "upgrade", "rollback", "--yes")
    assert digest(path) == before


def test_no_database_yet(prefix: Path, tmp_path: Path) -> None:
    assert "empty" in fakes.cli(prefix, tmp_path, "db", "status").stdout
    fakes.cli(prefix, tmp_path, "db", "backup", code=2)
    fakes.cli(prefix, tmp_path, "db", "upgrade", "--yes")
    assert not (tmp_path / "prefect.db").exists()


def test_a_password_is_never_shown(prefix: Path, tmp_path: Path) -> None:
    url = "postgresql+asyncpg://user:hush%2Fhush@127.0.0.1:9/prefect"
    path = tmp_path / "programs"
    path.mkdir()
    for name in ("psql", "pg_dump"):
        program = path / name
        program.write_text('#!/bin/sh\necho "could not connect: $PGUSER:$PGPASSWORD@$PGHOST:$PGPORT $*" >&2; exit 2\n')
        program.chmod(0o755)
    done = fakes.cli(
        prefix, tmp_path, "db", "status", "--url", url, code=3, env={"PATH": f"{path}:{os.environ['PATH']}"}
    )
    assert "could not connect" in done.stderr
    assert "hush" not in done.stdout + done.stderr
    none = fakes.cli(prefix, tmp_path, "db", "status", "--url", url, code=5, env={"PATH": str(prefix)})
    assert "psql is not installed" in none.stderr
    assert Postgres(url).where == "postgresql+asyncpg://***@127.0.0.1:9/prefect"
