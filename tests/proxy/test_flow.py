"""Behind an authenticating proxy and a private CA: a flow succeeds and the server has its task runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from maintain.lib.server import FLOW, TASKS
from proxy import world as world_module
from proxy.world import PLAIN, SPECIAL, World
from support.prefixes import line_prefix


@pytest.fixture(scope="module", params=["3", "2.20", "2.8.6"])
def line(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def prefix(line: str) -> Path:
    return line_prefix(line)


@pytest.fixture(scope="module")
def world(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_module.world(tmp_path_factory.mktemp("world"), prefix) as made:
        yield made


def flow(world: World, prefix: Path, settings: str | None, **env: str) -> tuple[int, int, str]:
    """Run the flow with three tasks: its exit code, the task runs that the server got, and what was said."""
    before = world.server.count("task_runs")
    done = world.client(prefix, settings, "python", str(FLOW), env=env)
    wanted = before + TASKS if done.returncode == 0 and settings is not None else before
    found = world.server.wait_for_task_runs(wanted) - before
    return done.returncode, found, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("user", [PLAIN, SPECIAL], ids=["plain", "special"])
def test_after_activation(world: World, prefix: Path, user: tuple[str, str]) -> None:
    """Activation alone is enough, also with a password of special characters; and it went through the proxy."""
    asked = world.asked()
    code, found, said = flow(world, prefix, world.settings(user))
    assert (code, found) == (0, TASKS), said
    assert world.asked() > asked


@pytest.mark.slow
def test_without_activation_task_runs_are_lost(world: World, prefix: Path, line: str) -> None:
    """The trap that activation avoids, so that the test above can fail: exit code 0 and no task runs."""
    if line != "3":
        pytest.skip(f"Prefect {line} records task runs by http")
    login = ":".join(quote(part, safe="") for part in SPECIAL)
    code, found, said = flow(
        world,
        prefix,
        None,
        HTTPS_PROXY=f"http://{login}@{world.proxy}",
        SSL_CERT_FILE=str(world.ca),
        PREFECT_API_URL=world.api,
    )
    assert (code, found) == (0, 0), said
    assert "407" in said


QUICK = {"PREFECT_CLIENT_MAX_RETRIES": "0", "PREFECT_API_REQUEST_TIMEOUT": "5"}


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["no CA", "wrong CA", "no proxy", "bad password"])
def test_each_piece_is_needed(world: World, prefix: Path, piece: str) -> None:
    """Without one piece the flow fails, and says so."""
    settings, symptom = {
        "no CA": (world.settings().replace(f"CA_FILE={world.ca}", ""), "CERTIFICATE_VERIFY_FAILED"),
        "wrong CA": (world.settings(ca=world.other_ca), "CERTIFICATE_VERIFY_FAILED"),
        "no proxy": (world.settings(None), "not known"),
        "bad password": (world.settings(("plain", "wrong")), "407"),
    }[piece]
    code, found, said = flow(world, prefix, settings, **QUICK)
    assert code != 0
    assert found == 0
    assert symptom in said or "Temporary failure in name resolution" in said


@pytest.mark.slow
def test_loopback_is_needed(world: World, prefix: Path, line: str) -> None:
    """Prefect 3's own server on loopback: out of reach with a bare HTTP_PROXY, reached after activation."""
    if line != "3":
        pytest.skip(f"without PREFECT_API_URL Prefect {line} has its server in the same process")
    seconds = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
    command = ("python", str(FLOW))
    proxy = f"http://{PLAIN[0]}:{PLAIN[1]}@{world.proxy}"
    before = world.client(prefix, None, *command, env={seconds: "4", "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy})
    assert before.returncode != 0
    assert "503 Service Unavailable' for url 'http://127.0.0.1:" in before.stderr
    after = world.client(prefix, f"ALL_PROXY={proxy}", *command, env={seconds: "90"})
    assert after.returncode == 0, after.stderr
