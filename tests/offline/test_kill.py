"""Killed at any moment: whole or not there, and the next run completes.

The installer as a whole is killed at seeded moments; what it and pack do in Python is killed before its steps that
change a file: all of them, or every second where there are a hundred.
"""

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
from typing import Any

import pytest

from maintain.bundle import parallel, target, zstd
from maintain.bundle.contents import Contents
from maintain.bundle.layout import Bundle
from maintain.bundle.write import write
from maintain.install.plan import Plan
from maintain.lib.files import sha256_file
from maintain.lock import lockfile
from maintain.mirror.selection import select
from offline.conftest import KILLS, files, host_zstd, install, pack, plain_env, publish
from offline.test_installer import check_whole, hello

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


STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.utime", "os.chmod")
"""Audit events of the calls that change files (Python's library reference, "Audit events table")."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
Engine = Callable[..., Callable[[], object]]


def cut_before(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process that is killed before its ``step``-th change of a file; False if there is none."""
    child = os.fork()
    if not child:
        left = step

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in STEPS and (event != "open" or arguments[2] & WRITING):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        try:
            work()
        finally:
            os._exit(sys.exc_info()[0] is not None)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, "it failed by itself"
    return os.WIFSIGNALED(status)


def every_step(work: Callable[[], object], check: Callable[[], None], *, least: int = 50, stride: int = 1) -> None:
    """Kill ``work`` before each ``stride``-th of its steps, ``check`` after each; at least ``least`` steps."""
    step = 1
    while cut_before(step, work):
        check()
        step += stride
    check()
    assert step > least, f"only {step} steps: the hook is not called"


@pytest.fixture
def engine(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The installer's Python without its head; in one process, so that its steps have an order."""
    monkeypatch.setattr(parallel, "MOST", 1)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a power cut is another matter, and slow
    library = tmp_path / "engine" / zstd.LIBRARY
    library.parent.mkdir(parents=True)
    library.write_bytes(host_zstd())
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "engine/engine")])

    def runs(prefix: Path, *arguments: str, bundle: Path = bundle) -> Callable[[], object]:
        words = ["--bundle", str(bundle), "--prefix", str(prefix), "--no-doctor", "--json", *arguments]
        return lambda: target.run(target.parser().parse_args(words))

    return runs


def test_install_at_every_step(engine: Engine, tmp_path: Path) -> None:
    prefix = tmp_path / "place/env"

    def check() -> None:
        if prefix.exists():
            check_whole(prefix)
            shutil.rmtree(prefix)

    every_step(engine(prefix), check, stride=2)
    engine(prefix)()
    check_whole(prefix)
    nothing_left(prefix.parent, "env")


def test_update_at_every_step(engine: Engine, made: Path, tmp_path: Path) -> None:
    channel = tmp_path / "channel"
    shutil.copytree(made / "channel", channel)
    (channel / "noarch/app-1.0-0.conda").unlink()
    publish(channel, "2.0")
    pack(channel, tmp_path / "out", "--format", "tar")
    (newer,) = (tmp_path / "out").glob("*.tar")
    prefix = tmp_path / "place/env"
    seen = []

    def check() -> None:
        check_whole(prefix)
        seen.append("2.0" in (prefix / "lib/python3.11/site-packages/app.py").read_text())
        if seen[-1]:
            engine(prefix)()

    engine(prefix)()
    every_step(engine(prefix, bundle=newer), check, stride=2)
    assert set(seen) == {False, True}
    engine(prefix, bundle=newer)()
    assert hello(prefix) == "app 2.0\n"
    nothing_left(prefix.parent, "env")


def test_switch_at_every_step(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    target.switch(tmp_path, "one")

    def check() -> None:
        if (tmp_path / "current").resolve(strict=True).name == "two":
            assert (tmp_path / "previous").resolve(strict=True).name == "one"
            target.switch(tmp_path, "one")
            (tmp_path / "previous").unlink()

    every_step(lambda: target.switch(tmp_path, "two"), check, least=4)


def test_uninstall_at_every_step(engine: Engine, tmp_path: Path) -> None:
    prefix, kept = tmp_path / "place/env", tmp_path / "kept"
    engine(prefix)()
    before = files(prefix)
    shutil.copytree(prefix, kept, symlinks=True)

    def check() -> None:
        if prefix.exists():
            assert files(prefix) == before, "half an environment"
        else:
            shutil.copytree(kept, prefix, symlinks=True)

    every_step(engine(prefix, "--uninstall"), check, least=20)
    engine(prefix, "--uninstall")()
    nothing_left(prefix.parent)


def test_pack_at_every_step(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    channel, out = made / "channel", tmp_path / "out"
    ((name, subdir), packages), *_ = select(lockfile.read(channel / "pixi.lock"), (), (), str(channel)).items()
    archives = {one.name: channel / one.record.subdir / one.record.file_name for one in packages}
    contents = Contents(Plan(name, "https://channel.test/channel", (), packages, "lock"), subdir, archives)
    members = contents.members()
    monkeypatch.setattr(Contents, "members", lambda _: members)

    def check() -> None:
        for path in (*out.glob("*.tar"), *out.glob("*.sh")):
            Bundle(path).verify()
        for sums in out.glob("*.sha256"):
            for line in sums.read_text().splitlines():
                digest, listed = line.split()
                assert sha256_file(out / listed) == digest

    every_step(lambda: write(contents, out, formats=("installer", "tar")), check, least=20)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [".pack.lock", *(file.name for file in write(contents, out, formats=("installer", "tar")).files)]
    )


def test_an_orphan_is_waited_for(installer: Path, tmp_path: Path) -> None:
    """Only one process is killed, those that it started live on for a moment: the next run does not mix with them."""
    if not shutil.which("pgrep"):
        pytest.skip("pgrep is not installed")
    words = [str(word) for word in command(installer, tmp_path / "env")]
    for _ in range(2):
        shell = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=plain_env(tmp_path))
        while shell.poll() is None and not (tmp_path / ".env.prefect-env.new/conda-meta").exists():
            time.sleep(0.002)
        for engine in subprocess.run(["pgrep", "-P", str(shell.pid)], capture_output=True, check=False).stdout.split():
            os.kill(int(engine), signal.SIGKILL)
        install(installer, "--prefix", tmp_path / "env", "--no-doctor")
        shell.wait()
        check_whole(tmp_path / "env")
        install(installer, "--prefix", tmp_path / "env", "--uninstall")
