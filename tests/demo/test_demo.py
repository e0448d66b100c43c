"""``scripts/demo`` end to end on the stand-in channel, as a new user runs it."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from support.commands import run, script
from support.standin import standin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "a prefix"


def test_first_run_installs_verifies_and_counts_task_runs(prefix: Path) -> None:
    done = script("demo", "--channel", standin("3"), "--prefix", prefix, "--json")
    shown = json.loads(done.stdout)
    assert "a stand-in, for trial only" in done.stderr
    assert shown["info"]["ok"]
    assert {part["name"] for part in shown["info"]["components"]} >= {"SQLite", "OpenSSL", "Python"}
    assert all(part["path"].startswith(str(prefix)) for part in shown["info"]["components"])
    assert (shown["run"]["state"], shown["run"]["flow_runs"], shown["run"]["task_runs"]) == ("Completed", 1, 3)
    assert shown["run"]["stopped"]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(shown["run"]["url"], timeout=5)


def test_second_run_keeps_the_server_when_asked(prefix: Path) -> None:
    done = script("demo", "--channel", standin("3"), "--prefix", prefix, "--keep", "--json")
    shown = json.loads(done.stdout)
    assert "up to date" in done.stderr
    assert (shown["run"]["flow_runs"], shown["run"]["task_runs"]) == (1, 3), "of a demo kept before none is counted"
    try:
        for route in ("health", "ready", "admin/version", "flow_runs/filter"):
            body = b'{"limit": 1}' if route.endswith("filter") else None
            request = urllib.request.Request(f"{shown['run']['url']}/api/{route}", body)
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert json.load(answer)
    finally:
        os.kill(shown["run"]["pid"], signal.SIGTERM)
    for _ in range(300):
        if not Path(f"/proc/{shown['run']['pid']}").exists():
            break
        time.sleep(0.1)
    else:
        os.kill(shown["run"]["pid"], signal.SIGKILL)
        pytest.fail("the server ignored SIGTERM")


def test_the_table_says_what_prefect_version_says(prefix: Path) -> None:
    text = script("demo", "--channel", standin("3"), "--prefix", prefix).stdout
    version = run([prefix / "bin" / "prefect", "version"]).stdout
    for line in version.splitlines():
        name, _, value = line.partition(":")
        if name in ("Version", "API version", "Python version", "Git commit", "Built", "OS/Arch", "Pydantic version"):
            assert value.strip() in text, line
    assert "NOT OK" not in text
    assert "prefect server start" in text


def test_unknown_channel_is_a_usage_error(tmp_path: Path) -> None:
    done = script("demo", "--channel", tmp_path / "nothing", code=2)
    assert "there is no such channel" in done.stderr
