"""Each boundary between versions: found, told, and handled, on prefixes of a few lines."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from maintain.revisions import wheels_of_lines
from prefect_env.console import CommandError
from prefect_env.db.base import State
from prefect_env.db.prefix import Prefix
from prefect_env.db.sqlite import Sqlite
from prefect_env.upgrade import plan as planning
from prefect_env.upgrade import run as engine
from prefect_env.upgrade.steps import Situation, applying, bad_versions
from prefect_env.versions import Version
from support.commands import run
from upgrade import fakes
from upgrade.content import digest, missing

HEADS = {"2.8.6": "cf1159bd0d3c", "2.20.26": "20fbd53b3cef", "3.9.1": "27d8f4e1a6c9"}


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("prefixes")
    found = {version: fakes.make(folder / version, version, head) for version, head in HEADS.items()}
    return {**found, "1.4.1": fakes.make(folder / "1.4.1", "1.4.1")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_from_1_nothing_is_converted(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    kept = fakes.database(home / "prefect.db", HEADS["2.20.26"])
    before = digest(kept)
    link = tmp_path / "current"
    link.symlink_to(prefixes["1.4.1"])
    arguments = ("--to", prefixes["3.9.1"], "--link", link)
    plan = fakes.cli(prefixes["3.9.1"], home, "upgrade", "plan", *arguments)
    assert "Prefect 1 to 2: a new environment beside the old one, nothing is converted" in plan.stdout
    assert f"The old environment stays as it is: {prefixes['1.4.1']}" in plan.stdout
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments, "--yes")
    assert link.readlink() == prefixes["3.9.1"]
    assert digest(kept) == before
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes")
    assert link.readlink() == prefixes["1.4.1"]
    assert digest(kept) == before


@pytest.mark.parametrize("name", ["prefect.db", "orion.db"])
def test_a_database_of_2_0a9_is_set_aside_only_when_told(prefixes: dict[str, Path], home: Path, name: str) -> None:
    old = fakes.database(home / name, None)
    before = digest(old)
    url = ("--url", f"sqlite+aiosqlite:///{old}")
    prefix = prefixes["2.8.6"]
    status = fakes.cli(prefix, home, "db", "status", *url, code=1)
    assert "made by 2.0a9 or earlier" in status.stdout
    refused = fakes.cli(prefix, home, "db", "upgrade", *url, "--yes", code=1)
    assert "DATA WILL BE LOST" in refused.stderr
    assert "--start-empty" in refused.stderr
    assert digest(old) == before

    done = fakes.cli(prefix, home, "db", "upgrade", *url, "--yes", "--start-empty", "--json")
    entry = json.loads(done.stdout)
    assert "500 rows are not carried over" in done.stderr
    assert digest(Path(entry["backup"]) / "prefect.db") == before
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEADS["2.8.6"],)]
        assert db.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)
    fakes.cli(prefix, home, "upgrade", "rollback", "--yes")
    assert digest(old) == before


def test_orion_db_becomes_prefect_db_and_stays(prefixes: dict[str, Path], home: Path) -> None:
    orion = fakes.database(home / "orion.db", HEADS["2.8.6"])
    before = digest(orion)
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"])
    plan = fakes.cli(prefixes["3.9.1"], home, "upgrade", "plan", *arguments)
    assert f"The migrated copy of {orion} becomes {home / 'prefect.db'}" in plan.stdout
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments, "--yes")
    assert digest(orion) == before
    assert set(missing(orion, home / "prefect.db")) == {"alembic_version"}
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes")
    assert not (home / "prefect.db").exists()
    assert digest(orion) == before
    assert Sqlite(orion).state().revision == HEADS["2.8.6"]


def test_two_databases_with_data_are_not_mixed(
    prefixes: dict[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "9")
    one = fakes.database(home / "one.db", HEADS["2.8.6"])
    two = fakes.database(home / "prefect.db", HEADS["3.9.1"])
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{one}")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{two}")
    old, new = Prefix.at(prefixes["2.8.6"]), Prefix.at(prefixes["3.9.1"])
    situation = Situation(old, new, Sqlite(one), Sqlite(two), Sqlite(one).state())
    found = next(step for step in applying(situation) if step.title == "orion.db to prefect.db")
    error = found.refusal(situation)
    assert error
    assert "both have data" in str(error)


def test_blocks_of_before_2_0b6_are_told_by_the_database(prefixes: dict[str, Path], home: Path) -> None:
    fakes.database(home / "prefect.db", "db6bde582447")  # 2.0b5's
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["2.20.26"])
    plan = fakes.cli(prefixes["2.20.26"], home, "upgrade", "plan", *arguments)
    for words in ("2.0b6 changed the API of blocks", "Restart all agents", "Kubernetes"):
        assert words in plan.stdout
    fakes.cli(prefixes["2.20.26"], home, "upgrade", "run", *arguments, "--yes")
    later = fakes.cli(prefixes["2.20.26"], home, "upgrade", "plan", *arguments)
    assert "2.0b6" not in later.stdout


def test_2_to_3_tells_of_agents_and_notifications(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.20.26"])
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE flow_run_notification_policy (id INTEGER)")
        db.execute("INSERT INTO flow_run_notification_policy VALUES (1), (2)")
        db.commit()
    arguments = ("--from", prefixes["2.20.26"], "--to", prefixes["3.9.1"])
    plan = fakes.cli(prefixes["3.9.1"], home, "upgrade", "plan", *arguments)
    for words in ("One way", "start workers", "2 policies will be in the backup only"):
        assert words in plan.stdout
    assert "2.0b6" not in plan.stdout


BAD = [
    ("2.7.5", (3, 45), False, "8054"),
    ("2.7.11", (3, 45), False, "8417"),
    ("2.13.4", (3, 45), False, "10887"),
    ("2.14.4", (3, 32, 3), False, "11104"),
    ("2.14.4", (3, 33), False, None),
    ("3.0.3", (3, 31, 1), False, "15903"),
    ("3.1.1", (3, 31, 1), False, None),
    ("2.20.26", (3, 49, 1), True, "17186"),
    ("3.2.5", (3, 49, 1), True, "17186"),
    ("3.2.6", (3, 49, 1), True, None),
    ("2.20.26", (3, 49, 1), False, None),
]


@pytest.mark.parametrize(("version", "sqlite", "strict", "issue"), BAD)
def test_releases_that_fail_are_refused(
    version: str,
    sqlite: tuple[int, ...],
    strict: bool,
    issue: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = Prefix.at(fakes.make(tmp_path / "old", "2.0.0", "88c2112b668f"))
    new = Prefix.at(fakes.make(tmp_path / "new", version, HEADS["3.9.1"]))
    monkeypatch.setattr(Prefix, "sqlite", lambda self: (sqlite, strict))
    database = Sqlite(tmp_path / "prefect.db")
    situation = Situation(old, new, database, database, State("88c2112b668f", frozenset()))
    errors = [error for step in applying(situation) if (error := step.refusal(situation))]
    assert [str(error.fields["why"]).rpartition("/")[2] for error in errors] == ([issue] if issue else [])
    assert not errors or str(errors[0].fields["fix"]).startswith("use ")
    assert bad_versions.find(Situation(old, new, None, None, State(None, frozenset()))) is None


def test_the_loaded_sqlite_is_asked(prefixes: dict[str, Path]) -> None:
    version, strict = Prefix.at(prefixes["3.9.1"]).sqlite()
    assert version == sqlite3.sqlite_version_info
    assert strict is False


def test_nothing_to_do_is_said(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["3.9.1"])
    before = digest(path)
    plan = fakes.cli(prefixes["3.9.1"], home, "db", "upgrade", "--dry-run")
    assert "nothing: the database and the link are as they should be" in plan.stdout
    assert digest(path) == before
    assert not (home / "prefect-env").exists()


def test_a_dry_run_changes_nothing(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    arguments = ("upgrade", "run", "--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--dry-run")
    plan = json.loads(fakes.cli(prefixes["3.9.1"], home, *arguments, "--json").stdout)
    assert plan["new_revision"] == HEADS["3.9.1"]
    assert len(plan["actions"]) == 6
    assert not plan["problems"]
    assert digest(path) == before
    assert [item.name for item in home.iterdir() if not item.name.startswith("prefect.db")] == []


def test_a_link_that_is_none_is_not_replaced(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "current"
    folder.mkdir()
    arguments = ("upgrade", "run", "--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--link", folder, "--yes")
    done = fakes.cli(prefixes["3.9.1"], home, *arguments, code=2)
    assert "is no link" in done.stderr
    assert folder.is_dir()


def test_a_migration_that_fails_changes_nothing(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    broken = fakes.make(tmp_path / "broken", "3.9.1", HEADS["3.9.1"], extra="SELECT * FROM no_such_table")
    done = fakes.cli(broken, home, "db", "upgrade", "--yes", code=1)
    assert "Prefect 3.9.1 could not upgrade the database" in done.stderr
    assert "no such table: no_such_table" in done.stderr
    assert digest(path) == before
    assert not list(home.glob(".prefect.db*"))


def test_rows_that_a_migration_loses_stop_it(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    lossy = fakes.make(tmp_path / "lossy", "3.9.1", HEADS["3.9.1"], extra="DELETE FROM flow_run WHERE id <= 7")
    done = fakes.cli(lossy, home, "db", "upgrade", "--yes", code=1)
    assert "7 of 500 rows of the table flow_run are gone" in done.stderr
    assert digest(path) == before


def test_too_little_room_is_said_before(prefixes: dict[str, Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "9")
    fakes.database(home / "prefect.db", HEADS["2.8.6"])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 14}))
    plan = planning.make(Prefix.at(prefixes["2.8.6"]), Prefix.at(prefixes["3.9.1"]))
    assert [problem.fields["error"] for problem in plan.problems] == ["disk-full"]
    assert plan.problems[0].exit_code == 5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A home on a file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_on_the_way(prefixes: dict[str, Path], small_disk: Path, tmp_path: Path) -> None:
    path = fakes.database(small_disk / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    greedy = "CREATE TABLE big AS SELECT zeroblob(20000000) AS content"
    growing = fakes.make(tmp_path / "growing", "3.9.1", HEADS["3.9.1"], extra=greedy)
    done = fakes.cli(growing, small_disk, "db", "upgrade", "--yes", code=5)
    assert "could not upgrade the database [disk-full]" in done.stderr
    assert digest(path) == before
    assert not list(small_disk.glob(".prefect.db*"))
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - (32 << 10)))
    done = fakes.cli(growing, small_disk, "db", "upgrade", "--yes", code=5)
    assert "are needed" in done.stderr
    assert digest(path) == before


def test_a_disk_that_may_only_be_read(prefixes: dict[str, Path], small_disk: Path) -> None:
    fakes.database(small_disk / "prefect.db", HEADS["2.8.6"])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    prefix = prefixes["3.9.1"]
    assert json.loads(fakes.cli(prefix, small_disk, "db", "status", "--json").stdout)["revision"] == HEADS["2.8.6"]
    for arguments in (("db", "backup"), ("db", "upgrade", "--yes")):
        assert "[not-writable]" in fakes.cli(prefix, small_disk, *arguments, code=5).stderr


def test_a_rollback_needs_the_old_environment(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    fakes.database(home / "prefect.db", HEADS["2.8.6"])
    old = fakes.make(tmp_path / "old", "2.8.6", HEADS["2.8.6"])
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", "--from", old, "--to", prefixes["3.9.1"], "--yes")
    old.rename(tmp_path / "away")
    done = fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes", code=2)
    assert "the environment to go back to is gone" in done.stderr


def test_a_rollback_verifies_the_backup(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--yes", "--json")
    entry = json.loads(fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments).stdout)
    after = digest(path)
    with (Path(entry["backup"]) / "prefect.db").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"changed")
    done = fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes", code=4)
    assert "the backup is not what was written" in done.stderr
    assert digest(path) == after


def test_backups_in_a_relative_folder_are_found_from_elsewhere(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--backups", "kept", "--yes")
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments)
    assert len(list(home.glob("kept/*/manifest.json"))) == 1
    words: list[str | Path] = [
        prefixes["3.9.1"] / "bin" / "python",
        "-m",
        "prefect_env",
        "upgrade",
        "rollback",
        "--yes",
    ]
    run(words, env=fakes.environment(prefixes["3.9.1"], home), cwd=home.parent)
    assert digest(path) == before


def test_runs_of_after_the_upgrade_are_kept_by_a_rollback(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    before = digest(path)
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--yes")
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments)
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO flow_run (name) VALUES ('after the upgrade')")
        db.commit()
    entry = json.loads(fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes", "--json").stdout)
    assert digest(path) == before
    with closing(sqlite3.connect(Path(entry["after"]) / "prefect.db")) as db:
        assert db.execute("SELECT count(*) FROM flow_run WHERE name = 'after the upgrade'").fetchone() == (1,)


def test_work_after_an_interrupted_rollback_is_not_overwritten(prefixes: dict[str, Path], home: Path) -> None:
    path = fakes.database(home / "prefect.db", HEADS["2.8.6"])
    arguments = ("--from", prefixes["2.8.6"], "--to", prefixes["3.9.1"], "--yes")
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "run", *arguments)
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes")
    journal = home / "prefect-env" / "upgrades.json"
    journal.write_text(journal.read_text().replace("rolled-back", "rolling-back"))  # killed before its last write
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO flow_run (name) VALUES ('of the old Prefect')")
        db.commit()
    fakes.cli(prefixes["3.9.1"], home, "upgrade", "rollback", "--yes")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM flow_run WHERE name = 'of the old Prefect'").fetchone() == (1,)


def test_no_prefect_there(prefixes: dict[str, Path], home: Path, tmp_path: Path) -> None:
    done = fakes.cli(prefixes["3.9.1"], home, "upgrade", "plan", "--to", tmp_path, code=2)
    assert "no Prefect is installed there" in done.stderr
    with pytest.raises(CommandError):
        Prefix.at(tmp_path)


TAKEN = re.compile(
    r"op\.(?:drop|rename)_table\(\s*\"(\w+)\"|DELETE\s+FROM\s+(\w+)|DROP TABLE (?:IF EXISTS )?(\w+)"
    r"|TRUNCATE (?:TABLE )?(\w+)|ALTER TABLE (\w+)\s+RENAME TO"
)


def test_the_tables_that_may_shrink_are_those_that_prefects_migrations_shrink() -> None:
    _, wheel = max(wheels_of_lines(), key=lambda pair: Version(pair[0]))
    taken = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not re.search(r"migrations/versions/\w+/\d[^/]*\.py$", name):
                continue
            text = archive.read(name).decode()
            for node in ast.parse(text).body:
                if isinstance(node, ast.FunctionDef) and node.name == "upgrade":
                    found = TAKEN.finditer(ast.get_source_segment(text, node) or "")
                    taken |= {table for match in found for table in match.groups() if table}
    assert taken == set(engine.SHRINKING)
