"""Every line that recipe/ builds works: the same test for each, on a prefix installed from the stand-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from maintain.lib import server as servers
from maintain.lib.paths import RECIPES
from maintain.manifest import load
from support.commands import run
from support.prefixes import line_prefix

LINES = load().lines


@pytest.fixture(scope="module", params=LINES)
def line(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def prefix(line: str) -> Path:
    return line_prefix(line)


@pytest.fixture(scope="module")
def home(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One PREFECT_HOME for all that runs without a server: making a database of 2.x takes seconds."""
    return tmp_path_factory.mktemp("prefect-home")


def snapshot(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.slow
def test_info_agrees_with_prefect_and_writes_nothing(line: str, prefix: Path, home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    empty.chmod(0o500)
    facts = json.loads(
        run([servers.program(prefix, "prefect-env"), "info", "--json"], env=servers.environment(prefix, empty)).stdout
    )
    assert snapshot(empty) == []
    assert facts["ok"]
    assert facts["prefect"]["Version"] == LINES[line].prefect

    # `prefect version` itself does write (2.8.6 makes a database), so it gets another home.
    shown = servers.run(prefix, "prefect", "version", env=servers.environment(prefix, home))
    assert shown.returncode == 0, shown.stderr
    loaded = {part["name"]: part for part in facts["components"]}
    for part in loaded.values():
        assert Path(part["path"]).is_relative_to(prefix), part
    if not LINES[line].serves:
        assert shown.stdout.split() == [LINES[line].prefect]
        return
    said = dict(part.split(":", 1) for part in shown.stdout.splitlines() if ":" in part)
    said = {key.strip(): value.strip() for key, value in said.items() if value.strip()}
    sqlite = said.pop("SQLite version")
    assert {key: facts["prefect"][key] for key in said} == said
    assert loaded["SQLite"]["version"] == sqlite


@pytest.mark.slow
def test_requirements_are_consistent(prefix: Path) -> None:
    run([sys.executable, "-m", "pip", "--python", servers.program(prefix, "python"), "check"])


@pytest.mark.slow
def test_flow_in_ephemeral_mode(prefix: Path, home: Path) -> None:
    env = servers.environment(prefix, home)
    env["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "150"  # 20 are too few for two cores under load
    done = servers.run(prefix, "python", servers.FLOW, env=env)
    assert done.returncode == 0, done.stderr
    assert "total: 12" in done.stdout


@pytest.mark.slow
def test_every_group_of_the_command_answers(prefix: Path, home: Path) -> None:
    check = RECIPES / "prefect" / "tests" / "check_cli.py"
    done = servers.run(prefix, "python", check, env=servers.environment(prefix, home))
    assert done.returncode == 0, done.stderr
    assert "groups:" in done.stdout


@pytest.mark.slow
def test_server_records_the_flow_and_stops_cleanly(line: str, prefix: Path, tmp_path: Path) -> None:
    if not LINES[line].serves:
        pytest.skip("the server of Prefect 1 is a set of containers, not in the package")
    server = servers.start(prefix, tmp_path)
    try:
        assert server.count("flow_runs") == 0
        done = server.run_flow()
        assert done.returncode == 0, done.stderr
        assert "total: 12" in done.stdout
        assert server.wait_for_task_runs(servers.TASKS) == servers.TASKS
        assert server.count("flow_runs") == 1
        listed = servers.run(prefix, "prefect", "flow-run", "ls", env={**server.env, "COLUMNS": "200"})
        assert listed.returncode == 0, listed.stderr
        assert "three-tasks" in listed.stdout
    finally:
        clean = server.stop()
    assert clean, server.log.read_text()
