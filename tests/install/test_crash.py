"""Killed or interrupted at any moment: the prefix is whole and new, or whole and old, and the next run finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from install import dummies
from install.conftest import Server, command, environ
from install.test_install import tree
from maintain.install import conda_meta
from maintain.install import prefix as prefixes
from maintain.install.choice import Choice, choose
from maintain.install.engine import install

KILLS = 10
"""Seeded moments for each of a fresh install and an update."""


@dataclass
class Moments:
    """Where the time of an install goes: ``imports`` seconds pass till the interpreter and its imports are up."""

    imports: float
    random: random.Random


def killed(channel: Path, prefix: Path, number: signal.Signals, moments: Moments) -> int:
    """Start an install and signal it at some moment; returns the exit code."""
    process = subprocess.Popen(
        [str(part) for part in command(channel, prefix, "--quiet")],
        env=environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moments.imports * moments.random.uniform(0.8, 1.6))
    process.send_signal(number)
    code = process.wait(60)
    if code == 0:
        moments.imports *= 0.9  # a busy moment when it was measured
    return code


@pytest.fixture(scope="module")
def moments() -> Moments:
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import maintain.install.engine"], env=environ(), check=True)
    return Moments(time.monotonic() - start, random.Random(2))  # noqa: S311 - seeded on purpose


def populous(channel: Path, version: str) -> None:
    """Publish a ``data`` of many files, so that linking takes a while."""
    files = {f"share/{version}/{number}": f"{version} {number}".encode() for number in range(1500)}
    dummies.package(channel, "data", version, files={**files, "share/version": version.encode()}, depends=["tool >=1"])
    dummies.index(channel)


def check_whole(prefix: Path, version: str) -> None:
    assert prefixes.state(prefix) is not None
    records = conda_meta.load(prefix)
    assert records["data"]["version"] == version == (prefix / "share/version").read_text()
    assert not conda_meta.damaged(prefix, records)
    assert len(list((prefix / "share" / version).iterdir())) == 1500


@pytest.mark.slow
def test_sigkill_in_a_fresh_install(channel: Path, prefix: Path, moments: Moments) -> None:
    populous(channel, "2.0")
    outcomes = set()
    for _ in range(KILLS):
        shutil.rmtree(prefix, ignore_errors=True)
        killed(channel, prefix, signal.SIGKILL, moments)
        outcomes.add(prefix.exists())
        if prefix.exists():
            check_whole(prefix, "2.0")
        install(prefix, choose(str(channel)), line="3")
        check_whole(prefix, "2.0")
        assert [path.name for path in prefix.parent.iterdir()] == [prefix.name]
    assert False in outcomes, "every run ended before it was killed: this proved nothing"


@pytest.mark.slow
def test_sigkill_in_an_update(channel: Path, prefix: Path, tmp_path: Path, moments: Moments) -> None:
    old, new = tmp_path / "old", channel
    shutil.copytree(channel, old)
    populous(old, "2.0")
    populous(new, "3.0")
    survived = set()
    for _ in range(KILLS):
        install(prefix, choose(str(old)), line="3")
        (prefix / "mine").write_text("mine")
        before = tree(prefix)
        killed(new, prefix, signal.SIGKILL, moments)
        version = (prefix / "share/version").read_text()
        survived.add(version)
        check_whole(prefix, version)
        if version == "2.0":
            assert tree(prefix) == before, "the old environment is not what it was"
        install(prefix, choose(str(new)), line="3")
        check_whole(prefix, "3.0")
        assert (prefix / "mine").exists() and not (prefix / "share/2.0/0").exists()
        assert [path.name for path in prefix.parent.iterdir()] == [prefix.name]
    assert "2.0" in survived, "every update ended before it was killed: this proved nothing"


@pytest.mark.parametrize("update", [False, True])
def test_ctrl_c(server: Server, prefix: Path, update: bool) -> None:
    """Interrupted while it waits for the server: 130, one word, and the prefix as it was."""
    if update:
        install(prefix, Choice(server.url, True, "the test says so"), line="3")
        dummies.update(server.root)
    name = "data-2.0-0.conda" if update else "data-1.0-0.conda"
    before = tree(prefix)
    server.faults[name] = ["silence"]
    process = subprocess.Popen(
        [str(part) for part in command(server.url, prefix)], env=environ(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while (name, None) not in server.requests and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == "interrupted" and "Traceback" not in said
    assert tree(prefix) == before and prefix.exists() == update
    assert [path.name for path in prefix.parent.iterdir()] == [prefix.name] * update


@pytest.mark.slow
def test_ctrl_c_at_any_moment(channel: Path, prefix: Path, moments: Moments) -> None:
    populous(channel, "2.0")
    for _ in range(5):
        shutil.rmtree(prefix, ignore_errors=True)
        code = killed(channel, prefix, signal.SIGINT, moments)
        assert code in (130, 0, -signal.SIGINT), "interrupted, done before, or not yet a program that could say so"
        assert prefix.exists() == (code == 0)
        if code == 0:
            check_whole(prefix, "2.0")


def test_killed_between_two_renames(channel: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot swap two folders there is one moment without the prefix; the next run ends it."""

    class KilledError(BaseException):
        pass

    def rename(source: Path, target: Path) -> Path:
        os.rename(source, target)  # noqa: PTH104 - Path.rename is what is replaced
        if target.name.endswith(".old"):
            monkeypatch.undo()
            raise KilledError
        return target

    install(prefix, choose(str(channel)), line="3")
    before = tree(prefix)
    dummies.update(channel)
    cache = os.environ["PREFECT_ENV_CACHE"]
    monkeypatch.setattr(prefixes, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KilledError):
        install(prefix, choose(str(channel)), line="3")
    assert not prefix.exists()
    monkeypatch.setenv("PREFECT_ENV_CACHE", cache)
    with prefixes.held(prefix):
        assert tree(prefix) == before, "the old environment is back"
    install(prefix, choose(str(channel)), line="3")
    assert (prefix / "share/new.txt").exists()


def test_without_exchange_an_update_still_works(channel: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "_exchange", lambda *_: False)
    install(prefix, choose(str(channel)), line="3")
    dummies.update(channel)
    install(prefix, choose(str(channel)), line="3")
    assert (prefix / "share/new.txt").exists() and [path.name for path in prefix.parent.iterdir()] == [prefix.name]
