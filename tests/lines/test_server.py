"""The helper that starts servers tells the truth about those that fail; a stub stands in for Prefect."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from maintain.lib import blame as blaming
from maintain.lib import server as servers
from maintain.lib.errors import ToolError
from support import fake_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def stub(prefix: Path, script: str) -> Path:
    program = servers.program(prefix, "prefect")
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return prefix


def ends(file: Path) -> bool:
    """Whether the process whose id is in ``file`` is dead within five seconds (or dead and not yet collected)."""
    stat = Path("/proc", file.read_text().strip(), "stat")
    for _ in range(50):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    prefix = stub(tmp_path / "prefix", "echo the port is taken; exit 7")
    with pytest.raises(ToolError) as caught:
        servers.start(prefix, tmp_path / "home")
    assert caught.value.id == "command-failed"
    assert caught.value.where == str(tmp_path / "home" / "server.log")
    assert caught.value.why == "it ended with code 7\nthe port is taken"


def test_a_server_that_never_answers_is_killed(tmp_path: Path) -> None:
    prefix = stub(tmp_path / "prefix", "echo $$ > pid; exec sleep 600")
    with pytest.raises(ToolError, match="did not start") as caught:
        servers.start(prefix, tmp_path / "home", seconds=1)
    assert "no answer after 1 s" in str(caught.value.why)
    assert ends(tmp_path / "home" / "pid")


@pytest.mark.parametrize("mode", ["sound", "old", "starting"])
def test_a_server_that_serves_is_taken(mode: str, tmp_path: Path) -> None:
    fake_server.program(servers.program(tmp_path / "prefix", "prefect"), mode)
    with servers.running(tmp_path / "prefix", tmp_path / "home") as server:
        assert servers.broken(servers.routes(server)) == {}
        assert servers.routes(server)["/ready"] == (404 if mode == "old" else 200)
        assert bool(servers.last_exception(server.log)) is (mode == "starting")


def dead_prefix(folder: Path, mode: str) -> Path:
    """Prefect 3.6.24 with fastapi 0.141.1, as conda's records and as Python's own metadata tell it."""
    fake_server.program(servers.program(folder, "prefect"), mode)
    (folder / "conda-meta").mkdir()
    for name, version in {"prefect": "3.6.24", "fastapi": "0.140.0", "redis-py": "8.1.0"}.items():
        (folder / "conda-meta" / f"{name}.json").write_text(json.dumps({"name": name, "version": version}))
    info = folder / "lib/python3.11/site-packages/fastapi-0.141.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fastapi\nVersion: 0.141.1\n")
    return folder


@pytest.fixture
def bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bounds of this test's own."""
    more = {"reason": "its routers have no routes", "source": "a test"}
    path = tmp_path / "bounds.json"
    content = [
        {"prefect": ">=3.6,<3.7", "name": "fastapi", "specifier": "<0.137", "conda": "fastapi <0.137", **more},
        {"prefect": ">=3.8", "name": "fastapi", "specifier": "<0.1", **more},
        {"prefect": ">=3.6", "name": "starlette", "specifier": "<1", **more},
        {"prefect": ">=3.6", "name": "Redis_py", "specifier": "<9", **more},
    ]
    path.write_text(json.dumps(content))
    monkeypatch.setattr(blaming, "BOUNDS", path)
    return path


@pytest.mark.parametrize(
    ("mode", "seen"),
    [("dead", f"its log says: {fake_server.EXCEPTION}"), ("mute", "it stayed so for 1 s; its log has no traceback")],
)
def test_a_server_that_is_up_and_dead_is_told_with_the_package_to_blame(
    mode: str, seen: str, bounds: Path, tmp_path: Path
) -> None:
    assert bounds.is_file()
    with pytest.raises(ToolError) as caught:
        servers.start(dead_prefix(tmp_path / "prefix", mode), tmp_path / "home", seconds=1, patience=0.5)
    error = caught.value
    assert (error.id, error.exit_code) == ("server-dead", 1)
    assert str(error.why).splitlines() == [
        "/health 200, /ready 500, /admin/version 500, /flows/filter 500",
        seen,
        "fastapi 0.141.1 is to blame: its routers have no routes (a test)",
    ]
    assert error.fix == f'conda install --prefix "{tmp_path / "prefix"}" "fastapi <0.137"'


def test_nobody_is_blamed_without_bounds_or_within_them(tmp_path: Path, bounds: Path) -> None:
    prefix = dead_prefix(tmp_path / "prefix", "dead")
    assert blaming.blame(prefix, tmp_path / "nothing") == []
    bounds.write_text('[{"prefect": "<3.6", "name": "fastapi", "specifier": "<0.137"}]')
    assert blaming.blame(prefix) == []
    assert blaming.blame(tmp_path) == []


def test_a_server_that_ends_while_it_is_asked_did_not_start(tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    fake_server.program(servers.program(prefix, "prefect.py"), "mute")
    program = servers.program(prefix, "prefect")
    program.write_text('#!/bin/sh\ntimeout 1 "$0.py" "$@"; echo gone; exit 7\n')
    program.chmod(0o755)
    with pytest.raises(ToolError, match="did not start") as caught:
        servers.start(prefix, tmp_path / "home")
    assert caught.value.why == "it ended with code 7\ngone"


def test_a_child_left_behind_is_not_a_clean_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = stub(tmp_path / "prefix", "sleep 600 & echo $! > pid; wait")
    monkeypatch.setattr(servers.Server, "get", lambda self, path: (self.home / "pid").exists())
    monkeypatch.setattr(servers.Server, "status", lambda *_: 200)
    monkeypatch.setattr(servers, "GRACE", 1)
    server = servers.start(prefix, tmp_path / "home")
    assert server.stop() is False
    assert ends(tmp_path / "home" / "pid")


def test_the_callers_settings_do_not_reach_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "x")
    env = servers.environment(tmp_path, tmp_path / "home")
    assert "x" not in env.values()
    assert env["PREFECT_HOME"] == str(tmp_path / "home")
    assert "PREFECT_API_URL" not in env
