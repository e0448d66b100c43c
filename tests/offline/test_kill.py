"""Killed at seeded moments: pack, install, update, uninstall. Whole or not there, and the next run completes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from install.test_lock import lock
from maintain.bundle.layout import Bundle
from maintain.install import prefix as prefixes
from offline.conftest import KILLS, PLATFORM, install, pack, plain_env, publish
from offline.test_installer import check_whole, hello
from offline.test_pack import tools
from support.commands import run

pytestmark = pytest.mark.slow


def kills(command: list[str | Path], env: dict[str, str], check: Callable[[], None], early: float = 0.0) -> int:
    """Start the command KILLS times, kill its whole process group at a seeded moment of its usual time, ``check``.

    ``early`` is the part of that time in which nothing happens yet. Returns how many runs were cut short.
    """
    words = [str(part) for part in command]
    start = time.monotonic()
    subprocess.run(words, env=env, check=True, capture_output=True)
    usual = time.monotonic() - start
    check()
    moment = random.Random(len(words))  # noqa: S311 - seeded on purpose
    cut = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(usual * moment.uniform(early, 1.0))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == 0:
            usual *= 0.8  # the first run had more to do, or the machine to itself
        else:
            cut += 1
        check()
    assert cut >= KILLS // 5, "nearly every run ended before it was killed: this proved nothing"
    return cut


def command(installer: Path, prefix: Path, *more: str) -> list[str | Path]:
    return ["sh", installer, "--batch", "--no-doctor", "--no-compile", "--prefix", prefix, *more]


def nothing_left(folder: Path, *expected: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)


def test_install(installer: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "env"

    def check() -> None:
        if prefix.exists():
            check_whole(prefix)
            shutil.rmtree(prefix)

    kills(command(installer, prefix), plain_env(tmp_path), check)
    install(installer, "--prefix", prefix, "--no-doctor")
    check_whole(prefix)
    nothing_left(tmp_path, "env")


def test_update(made: Path, installer: Path, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    shutil.copytree(made / "channel", channel)
    (channel / "noarch/app-1.0-0.conda").unlink()
    publish(channel, "2.0")
    newer = pack(channel, tmp_path / "out")
    place = tmp_path / "place"
    prefix = place / "env"
    seen = set()

    def check() -> None:
        check_whole(prefix)
        said = hello(prefix)
        seen.add(said)
        if said != "app 1.0\n":
            install(installer, "--prefix", prefix, "--no-doctor", "--no-compile")

    install(installer, "--prefix", prefix, "--no-doctor", "--no-compile")
    kills(command(newer, prefix), plain_env(tmp_path), check)
    assert "app 1.0\n" in seen
    install(newer, "--prefix", prefix, "--no-doctor")
    assert hello(prefix) == "app 2.0\n"
    nothing_left(place, "env")


def test_uninstall(installer: Path, tmp_path: Path) -> None:
    prefix, kept = tmp_path / "place/env", tmp_path / "kept"
    install(installer, "--prefix", prefix, "--no-doctor", "--no-compile")
    for number in range(300):
        (prefix / f"share/{number}").touch()  # so that removing takes a while
    shutil.copytree(prefix, kept, symlinks=True)

    def check() -> None:
        if prefix.exists():
            assert prefixes.state(prefix) and (prefix / "share/299").exists(), "half an environment"
        else:
            shutil.copytree(kept, prefix, symlinks=True)

    kills(command(installer, prefix, "--uninstall"), plain_env(tmp_path), check, early=0.2)
    install(installer, "--prefix", prefix, "--uninstall")
    nothing_left(tmp_path / "place")


def test_pack(made: Path, tmp_path: Path) -> None:
    channel, out = tmp_path / "channel", tmp_path / "out"
    shutil.copytree(made / "channel", channel)
    lock(channel, channel / "pixi.lock")
    words: list[str | Path] = [sys.executable, "-m", "maintain.bundle", "create", "--lock", channel / "pixi.lock"]
    words += ["--source", channel, "--platform", PLATFORM, "--output", out, "--format", "tar", "--format", "installer"]

    def check() -> None:
        for path in (*out.glob("*.tar"), *out.glob("*.sh")):
            Bundle(path).verify()
        for sums in out.glob("*.sha256"):
            run(["sha256sum", "--quiet", "--check", sums.name], cwd=out)

    kills(words, tools(), check, early=0.5)
    subprocess.run([str(word) for word in words], env=tools(), check=True, capture_output=True)
    check()
    (sums,) = out.glob("*.sha256")
    listed = [line.split()[1] for line in sums.read_text().splitlines()]
    nothing_left(out, *listed, sums.name, ".pack.lock")
