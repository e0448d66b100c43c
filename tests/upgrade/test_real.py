"""Real databases of the real Prefects: up, down, back, and nothing lost on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from maintain.lib import server as servers
from upgrade.content import digest, missing, multiply
from upgrade.real import Prefixes, cli, command, environ

pytestmark = pytest.mark.slow

Seeded = Callable[[str, Path], Path]
ROWS = 100_000
READER = Path(__file__).with_name("reader.py")


def read(prefix: Path, home: Path) -> str:
    """What the prefix's own Prefect finds in the database (reader.py)."""
    done = servers.run(prefix, "python", READER, env=servers.environment(prefix, home))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kill_the_migration(prefix: Path, home: Path, *arguments: str | Path) -> None:
    """Run a command and kill it, and Prefect with it, while Prefect migrates."""
    process = subprocess.Popen(
        command(prefix, *arguments),
        env=environ(prefix, home),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    assert any("migrating a copy" in line for line in process.stderr)
    time.sleep(random.Random(5).uniform(0.5, 4))  # noqa: S311
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.stderr.close()
    process.wait()


@pytest.mark.timeout(900)  # a safeguard: it takes a minute, but may wait for the prefixes of all three lines
def test_up_from_2_8_6_by_2_20_to_3_and_back(prefix: Prefixes, seeded: Seeded, tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = seeded("2.8.6", home)
    multiply(database, ROWS)
    with closing(sqlite3.connect(database)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert db.execute("SELECT count(*) FROM flow_run").fetchone()[0] == ROWS
        for table in ("flow", "task_run", "block_document", "deployment", "flow_run_notification_policy"):
            assert table in names
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    first = digest(database)
    link = tmp_path / "current"
    link.symlink_to(prefix("2.8.6"))
    move = ("upgrade", "run", "--to", prefix("3"), "--link", link, "--yes", "--untried")
    kill_the_migration(prefix("2.8.6"), home, *move)
    assert digest(database) == first
    assert link.resolve() == prefix("2.8.6").resolve()
    backups = []
    for old, new in (("2.8.6", "2.20"), ("2.20", "3")):
        done = cli(prefix(old), home, "upgrade", "run", "--to", prefix(new), "--link", link, "--yes", "--json")
        entry = json.loads(done.stdout)
        assert entry["status"] == "done"
        assert link.resolve() == prefix(new).resolve()
        backups.append(Path(entry["backup"]))
        lost = missing(backups[-1] / "prefect.db", database)
        expected = {
            "2.20": {},
            # What Prefect 3 drops is told; a limit moves to concurrency_limit_v2.
            "3": {"flow_run_notification_policy": 1, "concurrency_limit": 1},
        }[new]
        assert {table: rows for table, rows in lost.items() if table != "alembic_version"} == expected
        for table in expected:
            assert f" of {table} are in the backup only" in done.stderr
    assert "1 policies will be in the backup only" in done.stderr
    assert read(prefix("3"), home) == f"{ROWS} nightly planted-secret"

    second = digest(backups[1] / "prefect.db")
    cli(prefix("3"), home, "upgrade", "rollback", "--yes")
    assert digest(database) == second
    assert link.resolve() == prefix("2.20").resolve()
    cli(prefix("2.20"), home, "upgrade", "rollback", "--yes")
    assert digest(database) == first
    assert link.resolve() == prefix("2.8.6").resolve()
    assert missing(backups[0] / "prefect.db", database) == {}
    assert read(prefix("2.8.6"), home) == f"{ROWS} nightly planted-secret"
    cli(prefix("2.8.6"), home, "upgrade", "rollback", "--yes", code=2)


def test_a_database_of_before_2_0a10(prefix: Prefixes, seeded: Seeded, tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = seeded("2.8.6", home)
    with closing(sqlite3.connect(database)) as db:  # which is how 2.0a9 left it: tables, and no revision
        db.execute("DROP TABLE alembic_version")
        db.commit()
    before = digest(database)
    refused = cli(prefix("2.8.6"), home, "db", "upgrade", "--yes", code=1)
    assert "DATA WILL BE LOST" in refused.stderr
    assert digest(database) == before
    entry = json.loads(cli(prefix("2.8.6"), home, "db", "upgrade", "--yes", "--start-empty", "--json").stdout)
    assert digest(Path(entry["backup"]) / "prefect.db") == before
    assert json.loads(cli(prefix("2.8.6"), home, "db", "status", "--json").stdout)["revision"] == "cf1159bd0d3c"
    cli(prefix("2.8.6"), home, "upgrade", "rollback", "--yes")
    assert digest(database) == before


def test_a_newer_database_is_explained_and_downgraded(prefix: Prefixes, seeded: Seeded, tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = seeded("3", home)
    status = cli(prefix("2.20"), home, "db", "status", "--json", code=1)
    problem = json.loads(status.stdout)["problem"]
    assert problem["what"] == "the database is newer than Prefect 2.20.27"
    assert "Prefect 3.9.1" in problem["why"]
    assert "prefect-env db downgrade --revision 20fbd53b3cef" in problem["fix"]
    refused = cli(prefix("3"), home, "upgrade", "run", "--to", prefix("2.20"), "--yes", code=1)
    assert "prefect server database downgrade -y -r 20fbd53b3cef" in refused.stderr

    before = digest(database)
    cli(prefix("3"), home, "db", "downgrade", "--to", "2.20.27", "--yes")
    assert json.loads(cli(prefix("2.20"), home, "db", "status", "--json").stdout)["revision"] == "20fbd53b3cef"
    assert read(prefix("2.20"), home) == "1 nightly planted-secret"
    cli(prefix("3"), home, "upgrade", "rollback", "--yes")
    assert digest(database) == before


def test_a_server_that_has_the_database_open(prefix: Prefixes, seeded: Seeded, tmp_path: Path) -> None:
    home = tmp_path / "home"
    database = seeded("2.20", home)
    with servers.running(prefix("2.20"), home) as server:
        done = cli(prefix("2.20"), home, "upgrade", "run", "--to", prefix("3"), "--yes", code=6)
        assert "in use" in done.stderr
        assert "a Prefect server (process" in done.stderr
        elsewhere = tmp_path / "elsewhere"
        seeded("2.20", elsewhere)
        api = {"PREFECT_API_URL": server.api}
        plan = cli(prefix("2.20"), elsewhere, "upgrade", "plan", "--to", prefix("3"), code=1, env=api)
        assert f"a Prefect server answers on {server.api}" in plan.stdout
        cli(prefix("2.20"), elsewhere, "upgrade", "plan", "--to", prefix("3"), "--ignore-server", env=api)
        made = cli(prefix("2.20"), home, "db", "backup")  # which a running server does not mind
        assert server.count("flow_runs") == 1
        assert server.stop()
    backup = Path(made.stdout.strip())
    assert missing(backup / "prefect.db", database) == {}
    before = digest(database)
    cli(prefix("3"), home, "db", "upgrade", "--yes")
    assert digest(database) != before
    cli(prefix("3"), home, "upgrade", "rollback", "--yes")
    assert digest(database) == before
