"""The doctor in real environments of each line: sound ones, real databases of other releases, a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from maintain.lib import server as servers
from maintain.manifest import load
from prefect_env.effective import CA_VARIABLES
from support.databases import seeded
from support.prefixes import line_prefix

LINES = {name: line for name, line in load().lines.items() if line.serves}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def prefixes() -> dict[str, Path]:
    return {line: line_prefix(line) for line in LINES}


def manage(prefix: Path, home: Path, *words: str) -> None:
    done = servers.run(prefix, "prefect", "server", "database", *words, env=servers.environment(prefix, home))
    assert done.returncode == 0, done.stderr


def doctor(prefix: Path, home: Path, *arguments: str, code: int = 0, **variables: str) -> dict[str, dict[str, Any]]:
    """The report of the prefix's own command by check."""
    env = {name: value for name, value in servers.environment(prefix, home).items() if name not in CA_VARIABLES}
    env.update(variables)
    done = servers.run(prefix, "prefect-env", "doctor", "--json", *arguments, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return {check["id"]: check for check in json.loads(done.stdout)}


def spoke(report: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: check["evidence"] for name, check in report.items() if check["status"] in ("warn", "fail")}


@pytest.mark.parametrize("line", LINES)
def test_nothing_is_reported_in_a_sound_environment(line: str, prefixes: dict[str, Path], tmp_path: Path) -> None:
    home = seeded(line, tmp_path / "home").parent
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    deep = ["--deep"] if line == "3" else []  # seconds for each line
    report = doctor(prefixes[line], home, "--offline", *deep)
    assert spoke(report) == {}
    assert re.search(rf"of Prefect .*{re.escape(LINES[line].prefect)}", report["database-revision"]["evidence"])
    assert report["lock"]["status"] == "ok"
    assert not deep or report["prefect-import"]["status"] == report["altered"]["status"] == "ok"
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_newer_database_is_explained_and_the_fix_works(prefixes: dict[str, Path], tmp_path: Path) -> None:
    home = seeded("3", tmp_path / "home").parent
    found = doctor(prefixes["2.20"], home, "--only", "database-revision", code=1)["database-revision"]
    assert f"of Prefect {LINES['3'].prefect}" in found["evidence"]
    revision = found["fix"].partition("--revision ")[2].partition(";")[0]
    manage(prefixes["3"], home, "downgrade", "-y", "-r", revision)
    doctor(prefixes["2.20"], home, "--only", "database-revision")


def test_an_older_database_is_said_before_it_is_migrated(prefixes: dict[str, Path], tmp_path: Path) -> None:
    home = seeded("2.8.6", tmp_path / "home").parent
    found = doctor(prefixes["3"], home, "--only", "database-revision")["database-revision"]
    assert found["status"] == "warn"
    assert "of Prefect 2.8.6" in found["evidence"]
    assert "prefect-env db upgrade" in found["fix"]
    env = servers.environment(prefixes["3"], home)
    done = servers.run(prefixes["3"], "prefect-env", "db", "upgrade", "--yes", "--ignore-server", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert doctor(prefixes["3"], home, "--only", "database-revision")["database-revision"]["status"] == "ok"


def test_orion_db_is_used_by_2_and_ignored_by_3(prefixes: dict[str, Path], tmp_path: Path) -> None:
    home = seeded("2.8.6", tmp_path / "home").parent
    (home / "prefect.db").rename(home / "orion.db")
    assert (
        "orion.db is in use"
        in doctor(prefixes["2.8.6"], home, "--only", "database-orion")["database-orion"]["evidence"]
    )
    doctor(prefixes["3"], home, "--only", "database-orion", code=1)
    env = servers.environment(prefixes["3"], home)
    command = [str(servers.program(prefixes["3"], "prefect-env")), "doctor", "--only", "database-orion", "--fix"]
    subprocess.run(command, env=env, input="y\n", text=True, check=True)
    doctor(prefixes["3"], home, "--only", "database-orion")


def test_a_database_from_before_alembic_is_recognised(prefixes: dict[str, Path], tmp_path: Path) -> None:
    home = seeded("2.8.6", tmp_path / "home").parent
    with sqlite3.connect(home / "prefect.db") as connection:
        connection.execute("DROP TABLE alembic_version")
    connection.close()
    found = doctor(prefixes["2.8.6"], home, "--only", "database-alpha", code=1)["database-alpha"]
    move = found["fix"].partition(" (")[0].split()
    assert move[0] == "mv"
    shutil.move(*move[1:])
    manage(prefixes["2.8.6"], home, "upgrade", "-y")
    doctor(prefixes["2.8.6"], home, "--only", "database-alpha", "--only", "database-revision")
    assert Path(move[2]).is_file()


def test_it_loads_less_than_half_of_what_prefect_version_loads(prefixes: dict[str, Path], tmp_path: Path) -> None:
    """Counted in modules, which no noise changes; the bench has the times."""
    env = servers.environment(prefixes["3"], tmp_path / "home")

    def loaded(code: str) -> list[str]:
        done = servers.run(prefixes["3"], "python", "-c", f"{code}\nimport sys; print(*sys.modules)", env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1].split()

    ours = loaded("from prefect_env.doctor.command import doctor; doctor(['--offline'], standalone_mode=False)")
    theirs = loaded("import prefect.cli.version, prefect.server.database")
    assert not {"prefect", "pydantic", "sqlalchemy", "httpx", "websockets"} & set(ours)
    assert 2 * len(ours) < len(theirs)


def test_it_works_where_prefect_does_not(prefixes: dict[str, Path], tmp_path: Path) -> None:
    """A module of the working directory's that breaks every import of Prefect and its parts."""
    for name in ("prefect", "pydantic", "sqlalchemy", "httpx"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('broken on purpose')\n")
    report = doctor(prefixes["3"], tmp_path / "home", "--offline", "--deep", code=1, PYTHONPATH=str(tmp_path))
    assert set(spoke(report)) == {"python-variables", "prefect-import"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user")
def test_it_works_where_nothing_can_be_written(prefixes: dict[str, Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = seeded("3", Path(folder) / "home").parent
        for path in (Path(folder), home):
            path.chmod(0o555)
        (home / "prefect.db").chmod(0o444)
        env = {**servers.environment(prefixes["3"], home), **dict.fromkeys(("HOME", "XDG_CONFIG_HOME"), folder)}
        env = {name: value for name, value in env.items() if name not in CA_VARIABLES}
        command = [str(servers.program(prefixes["3"], "prefect-env")), "doctor", "--offline", "--json"]
        done = subprocess.run(command, env=env, cwd=folder, user=65534, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = {check["id"]: check for check in json.loads(done.stdout)}
    assert spoke(report) == {"database": f"{home / 'prefect.db'} cannot be written"}
    assert report["database-integrity"]["status"] == report["database-revision"]["status"] == "ok"


@pytest.fixture(scope="module")
def server(prefixes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    running = servers.start(prefixes["3"], seeded("3", tmp_path_factory.mktemp("server")).parent)
    yield running
    running.stop()


def test_a_server_passes_every_check(server: servers.Server, prefixes: dict[str, Path], tmp_path: Path) -> None:
    report = doctor(prefixes["3"], tmp_path / "home", "--probe", PREFECT_API_URL=server.api)
    assert spoke(report) == {}
    assert report["task-runs"]["evidence"] == "3 of 3"
    assert {report[name]["status"] for name in ("api", "api-version", "clock", "websocket", "task-runs")} == {"ok"}


def test_a_client_of_another_major_version_is_told(
    server: servers.Server, prefixes: dict[str, Path], tmp_path: Path
) -> None:
    report = doctor(prefixes["2.20"], tmp_path / "home", "--only", "api-version", code=1, PREFECT_API_URL=server.api)
    assert report["api-version"]["evidence"] == f"client {LINES['2.20'].prefect}, server {LINES['3'].prefect}"


def test_a_proxy_that_refuses_websockets_is_found(
    server: servers.Server, prefixes: dict[str, Path], tmp_path: Path
) -> None:
    """The flow ends as Completed; only the websocket's check and the count of task runs tell."""
    with front(int(server.url.rpartition(":")[2])) as api:
        chosen = [word for name in ("api", "websocket", "task-runs") for word in ("--only", name)]
        report = doctor(prefixes["3"], tmp_path / "home", "--probe", *chosen, code=1, PREFECT_API_URL=api)
    assert report["api"]["status"] == "ok"
    assert "403" in report["websocket"]["evidence"]
    assert report["task-runs"]["evidence"].startswith("0 of 3 task runs")


@contextmanager
def front(port: int) -> Iterator[str]:
    """A reverse proxy on loopback that answers 403 to every upgrade to a websocket; the API's URL through it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request: socket.socket = self.request
            head = request.recv(65536)
            if b"upgrade: websocket" in head.lower():
                request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                upstream.sendall(head)
                back = threading.Thread(target=relay, args=(upstream, request), daemon=True)
                back.start()
                relay(request, upstream)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}/api"
        listening.shutdown()


def relay(source: Any, target: Any) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
