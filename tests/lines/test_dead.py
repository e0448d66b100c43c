"""A real server that is up and dead: Prefect 3.6.24 with fastapi 0.141.1, from wheels; each consumer tells it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maintain.lib import blame as blaming
from maintain.lib import server as servers
from maintain.lib.errors import ToolError
from maintain.lib.files import exclusive, sha256_file
from maintain.lib.paths import RECIPES, RUNTIME, cache_dir
from prefect_env.console import CommandError
from prefect_env.db.prefix import Prefix
from prefect_env.upgrade import trial
from support import fake_server

WHEELS = Path(__file__).with_name("dead.txt")
SAID = "/health 200, /ready 500, /admin/version 500, /flows/filter 500"
HOST = (sys.version_info[:2], sys.platform, platform.machine())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(HOST != ((3, 11), "linux", "x86_64"), reason="its wheels are for Python 3.11 on linux x86_64"),
]


@pytest.fixture(scope="module")
def dead() -> Path:
    """The environment, made once per machine: 20 seconds."""
    home = cache_dir() / "dead" / sha256_file(WHEELS)[:16]
    with exclusive(home.with_suffix(".lock"), what="the dead environment", wait=300):
        if not (home / "whole").is_file():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet"]
            what = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(WHEELS)]
            subprocess.run([*pip, *what], check=True)
            (home / "whole").touch()
    return home


def test_start_says_what_answers_why_and_what_mends_it(
    dead: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = {"prefect": ">=3.6,<3.7", "name": "fastapi", "specifier": "<0.137", "reason": "why", "source": "where"}
    (tmp_path / "bounds.json").write_text(json.dumps([bound]))
    monkeypatch.setattr(blaming, "BOUNDS", tmp_path / "bounds.json")
    with pytest.raises(ToolError) as caught:
        servers.start(dead, tmp_path / "home", patience=2)
    assert caught.value.id == "server-dead"
    why = [SAID, f"its log says: {fake_server.EXCEPTION}", "fastapi 0.141.1 is to blame: why (where)"]
    assert str(caught.value.why).splitlines() == why
    assert caught.value.fix == f'"{dead}/bin/python" -m pip install "fastapi<0.137"'


def test_no_upgrade_goes_there(dead: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SETTLE", 2)
    with pytest.raises(CommandError) as caught:
        trial.run(Prefix.at(dead))
    assert caught.value.fields["error"] == "server-dead"
    assert [line.strip() for line in str(caught.value.fields["why"]).splitlines()][:2] == [SAID, fake_server.EXCEPTION]


def test_the_recipes_check_fails_before_its_flow(dead: Path, tmp_path: Path) -> None:
    text = (RECIPES / "prefect" / "tests" / "check_server.py").read_text()
    first, loop, rest = text.partition("    while broken := ")
    (tmp_path / "check_server.py").write_text(f"{first}    deadline = 0\n{loop}{rest}")  # it would wait two minutes
    env = {**servers.environment(dead, tmp_path), "TMPDIR": str(tmp_path)}
    done = servers.run(dead, "python", tmp_path / "check_server.py", env=env)
    assert done.returncode == 1
    assert "the server is up, but dead: /health true, {'/ready': 500" in done.stderr
    assert "Failed to reach API" not in done.stderr


def test_the_doctor_asks_with_the_real_client(dead: Path, tmp_path: Path) -> None:
    with fake_server.serving("dead") as url:
        env = {**servers.environment(dead, tmp_path, url), "PYTHONPATH": str(RUNTIME)}
        done = servers.run(dead, "python", "-m", "prefect_env", "doctor", "--only", "api", "--json", env=env)
    (api,) = json.loads(done.stdout)
    assert api["status"] == "fail"
    assert api["evidence"] == f"{url} is up, but dead: {SAID}"
