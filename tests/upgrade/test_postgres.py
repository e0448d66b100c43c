"""A real PostgreSQL server on loopback: dump, upgrade in place, kill, rollback, content compared table by table."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from maintain.lib import server as servers
from prefect_env.db.postgres import Postgres
from upgrade.real import Prefixes, cli, command, environ

pytestmark = pytest.mark.slow

PASSWORD = "pa ss/w@rd"  # with what a URL must escape


@dataclass(frozen=True)
class Cluster:
    """A running server; ``psql`` runs a statement in one of its databases."""

    port: int

    def url(self, name: str) -> str:
        return f"postgresql+asyncpg://prefect:pa%20ss%2Fw%40rd@127.0.0.1:{self.port}/{name}"

    def psql(self, name: str, statement: str) -> str:
        return subprocess.run(
            [
                "psql",
                "-XAtqv",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "prefect",
                name,
                "-c",
                statement,
            ],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def content(self, name: str) -> dict[str, str]:
        """Each table's rows as a digest, and the schema under the empty name."""
        tables = self.psql(name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
        found = {
            table: self.psql(name, f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t").strip()  # noqa: S608
            for table in tables
        }
        dump = ["pg_dump", "-s", "--no-comments", "-h", "127.0.0.1", "-p", str(self.port), "-U", "prefect", name]
        schema = subprocess.run(
            dump, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=True
        ).stdout
        # The token of \restrict is another one in each dump.
        found[""] = "\n".join(line for line in schema.splitlines() if not line.startswith("\\"))
        return found


def wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    where = programs[-1].parent if programs else Path(shutil.which("pg_ctl") or "/none").parent
    if not (where / "initdb").exists() or not shutil.which("psql"):
        pytest.skip("PostgreSQL is not installed")
    user: list[str | Path] = []
    folder = Path(tempfile.mkdtemp(prefix="prefect-env-pg-"))
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("there is no user postgres to run PostgreSQL as")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = ["runuser", "-u", "postgres", "--"]
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    data, port = folder / "data", servers.free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=30"

    def run(*command: str | Path) -> None:
        with (folder.parent / f"{folder.name}.log").open("ab") as log:
            subprocess.run([*user, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", check=True)

    try:
        run(
            where / "initdb",
            "-D",
            data,
            "-U",
            "prefect",
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "--no-sync",
            "-E",
            "UTF8",
        )
        run(where / "pg_ctl", "-D", data, "-w", "-o", options, "start")
        try:
            yield Cluster(port)
        finally:
            run(where / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def template(cluster: Cluster, prefix: Prefixes, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that Prefect 2.20 made, with rows in it."""
    home = tmp_path_factory.mktemp("template")
    cluster.psql("postgres", "CREATE DATABASE made")
    url = {"PREFECT_API_DATABASE_CONNECTION_URL": cluster.url("made")}
    done = servers.run(
        prefix("2.20"), "prefect", "server", "database", "upgrade", "-y",
        env={**servers.environment(prefix("2.20"), home), **url},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cluster.psql(
        "made",
        "INSERT INTO flow (name) VALUES ('seeded');"
        " INSERT INTO flow_run (flow_id, name) SELECT flow.id, 'run-' || n FROM flow, generate_series(1, 5000) n;"
        " INSERT INTO variable (name, value) VALUES ('plain', 'a|b\\nc');"
        " INSERT INTO concurrency_limit (tag, concurrency_limit) VALUES ('database', 3);",
    )
    return "made"


@pytest.fixture
def name(cluster: Cluster, template: str, request: pytest.FixtureRequest) -> str:
    """A copy of the template for one test."""
    name = f"copy_{abs(hash(request.node.name))}"
    cluster.psql("postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
    return name


def test_up_and_back(cluster: Cluster, name: str, prefix: Prefixes, tmp_path: Path) -> None:
    before = cluster.content(name)
    both = {
        "PREFECT_API_DATABASE_CONNECTION_URL": cluster.url(name),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": cluster.url(name),
    }
    link = tmp_path / "current"
    link.symlink_to(prefix("2.20"))
    done = cli(
        prefix("2.20"),
        tmp_path,
        "upgrade",
        "run",
        "--to",
        prefix("3"),
        "--link",
        link,
        "--yes",
        "--untried",
        "--json",
        env=both,
    )
    entry = json.loads(done.stdout)
    assert PASSWORD not in done.stdout + done.stderr
    assert "pa%20ss" not in done.stdout + done.stderr + (tmp_path / "prefect-env" / "upgrades.json").read_text()
    assert entry["new_revision"] == cluster.psql(name, "SELECT version_num FROM alembic_version").strip()
    assert cluster.psql(name, "SELECT count(*) FROM flow_run") == "5000\n"
    assert cluster.psql(name, "SELECT count(*) FROM concurrency_limit_v2 WHERE name = 'tag:database'") == "1\n"
    assert link.readlink() == prefix("3")
    assert cluster.content(name) != before

    refused = json.loads(cli(prefix("2.20"), tmp_path, "db", "status", "--json", code=1, env=both).stdout)
    assert "prefect-env db downgrade --revision b23c83a12cb4" in refused["problem"]["fix"]

    cluster.psql(name, "INSERT INTO flow (name) VALUES ('after the upgrade')")
    cli(prefix("3"), tmp_path, "upgrade", "rollback", "--yes", env=both)
    assert cluster.content(name) == before
    assert link.readlink() == prefix("2.20")


def test_killed_in_the_middle(cluster: Cluster, name: str, prefix: Prefixes, tmp_path: Path) -> None:
    before = cluster.content(name)
    old = before["alembic_version"]
    both = {
        "PREFECT_API_DATABASE_CONNECTION_URL": cluster.url(name),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": cluster.url(name),
    }
    process = subprocess.Popen(
        command(prefix("2.20"), "upgrade", "run", "--to", prefix("3"), "--yes", "--untried"),
        env={**environ(prefix("2.20"), tmp_path), **both},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def moved() -> bool:
        time.sleep(0.5)  # an upgrade refuses a database that others use, and this connection is one of them
        digest = cluster.psql(name, "SELECT md5(string_agg(t::text, '|')) FROM alembic_version t").strip()
        return digest != old or process.poll() is not None

    wait(moved, "the migration never began")
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    wait(lambda: not Postgres(cluster.url(name)).users(), "the killed migration's connection never closed")
    assert cluster.content(name) != before

    again = cli(prefix("2.20"), tmp_path, "upgrade", "run", "--to", prefix("3"), "--yes", code=1, env=both)
    assert "prefect-env upgrade rollback" in again.stderr
    cli(prefix("2.20"), tmp_path, "upgrade", "rollback", "--yes", env=both)
    assert cluster.content(name) == before
    cli(prefix("2.20"), tmp_path, "upgrade", "rollback", "--yes", code=2, env=both)


def test_backup_restore_and_others_connections(cluster: Cluster, name: str, prefix: Prefixes, tmp_path: Path) -> None:
    before = cluster.content(name)
    url = ("--url", cluster.url(name))
    folder = cli(prefix("2.20"), tmp_path, "db", "backup", *url).stdout.strip()
    cluster.psql(name, "DELETE FROM flow_run; CREATE TABLE flow_copy (id uuid REFERENCES flow (id))")
    sleeper = subprocess.Popen(
        ["psql", "-Xqh", "127.0.0.1", "-p", str(cluster.port), "-U", "prefect", name, "-c", "SELECT pg_sleep(300)"],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait(lambda: bool(Postgres(cluster.url(name)).users()), "psql never connected")
        done = cli(prefix("2.20"), tmp_path, "db", "restore", folder, "--yes", *url, code=6)
        assert "psql from 127.0.0.1" in done.stderr
    finally:
        cluster.psql(
            "postgres",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
        )
        sleeper.wait()
    cli(prefix("2.20"), tmp_path, "db", "restore", folder, "--yes", *url)
    assert cluster.content(name) == before
