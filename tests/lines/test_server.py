"""The helper that starts servers tells the truth about those that fail; a stub stands in for Prefect."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from maintain.lib import server as servers
from maintain.lib.errors import ToolError

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


def test_a_child_left_behind_is_not_a_clean_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = stub(tmp_path / "prefix", "sleep 600 & echo $! > pid; wait")
    monkeypatch.setattr(servers.Server, "get", lambda self, path: (self.home / "pid").exists())
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
