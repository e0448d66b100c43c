"""``scripts/demo`` of an environment whose server is up and dead ends with the error, not with a flow that failed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from maintain.demo import __main__ as demo
from maintain.demo import verify
from maintain.lib import server as servers
from support import fake_server


def test_a_dead_server_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "prefix"
    fake_server.program(servers.program(prefix, "prefect"), "dead")
    monkeypatch.setattr(demo, "choose", lambda *_, **__: SimpleNamespace(channel="none"))
    monkeypatch.setattr(demo, "install", lambda *_: SimpleNamespace(prefix=prefix, changed=False, packages=0))
    monkeypatch.setattr(verify, "info", lambda *_: {"ok": True})
    monkeypatch.setattr(servers, "start", partial(servers.start, patience=0.5))
    done = CliRunner().invoke(demo.cli, ["--json"])
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["error"] == "server-dead"
    assert fake_server.EXCEPTION in said["why"]
