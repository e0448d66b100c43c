"""The channel's build: same bytes whatever happened before, healed when damaged, stopped with a message."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintain.channel import build
from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import exclusive, sha256_file
from maintain.lib.paths import ROOT, cache_dir
from support.commands import script
from support.standin import standin

pytestmark = pytest.mark.slow

SHARED = cache_dir() / "stand-in"
"""The cache of all tests; read before a test sets another."""

BUILD = (
    "import sys; from pathlib import Path; from maintain.channel import build; "
    "build._build_ours = lambda lines, channel: []; build.build_channel(['3'], Path(sys.argv[1]))"
)
"""A build without the packages of recipe/, whose own tests prove the same of them."""


@pytest.fixture
def converted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_build_ours", lambda lines, channel: [])
    monkeypatch.setattr(build, "_sources", build._code)


def linked(part: str, cache: Path) -> None:
    """Fill a part of ``cache`` with links to the shared one, without what other processes are at."""
    shutil.copytree(SHARED / part, cache / part, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))


@pytest.fixture
def unconverted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tools' part of a new cache that has all downloads of the shared one and no package."""
    standin("3")
    cache = tmp_path / "cache" / "stand-in"
    for part in ("debs", "wheels"):
        linked(part, cache)
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(cache.parent))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    return cache


def sums(channel: Path) -> dict[str, str]:
    return {f"{path.parent.name}/{path.name}": sha256_file(path) for path in channel.glob("*/*.conda")}


def test_killed_builds_end_in_the_same_bytes(unconverted: Path, tmp_path: Path) -> None:
    """In another folder, from an empty package cache, after three kills, come the packages of the shared channel."""
    ours = set((build.marker(build.OUTPUT) or {})["ours"])
    channel = tmp_path / "channel"
    command = [sys.executable, "-c", BUILD, str(channel)]
    for folder, pattern, count in (
        (unconverted, "packages/*", 5),  # some made, some half made
        (unconverted, "packages/*", 60),
        (channel, "*/*.conda", 20),  # some put into the channel
    ):
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and len(list(folder.glob(pattern))) < count:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert build.marker(channel) is None, "nothing says that it is whole"
    subprocess.run(command, check=True)
    assert build.marker(channel) is not None
    shared = {name: sha256 for name, sha256 in sums(build.OUTPUT).items() if name not in ours}
    assert sums(channel).items() <= shared.items()
    assert len(sums(channel)) > 100


def test_an_interrupted_build_says_so(unconverted: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maintain.channel", "build", "--line", "3", "--output", str(tmp_path / "channel")]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(unconverted.glob("packages/*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.strip()) == (Exit.INTERRUPTED, "interrupted")
    assert build.marker(tmp_path / "channel") is None


def test_damage_is_healed(tmp_path: Path, converted_only: None) -> None:
    standin("3")
    channel = build.build_channel(["3"], tmp_path / "channel")
    before = {path: path.read_bytes() for path in channel.rglob("*") if path.is_file()}
    truncated, gone, strange = (
        channel / "linux-64",
        channel / "noarch" / "repodata.json",
        channel / "noarch" / "x-1-0.conda",
    )
    victim = next(truncated.glob("sqlite-*.conda"))
    short = victim.read_bytes()[:1000]
    victim.unlink()  # it is a link into the cache, which must stay whole here
    victim.write_bytes(short)
    gone.unlink()
    strange.write_bytes(b"not a package")
    build.build_channel(["3"], channel)
    assert {path: path.read_bytes() for path in channel.rglob("*") if path.is_file()} == before


def test_a_damaged_cache_is_healed(unconverted: Path, tmp_path: Path, converted_only: None) -> None:
    linked("packages", unconverted)
    whole = sums(build.build_channel(["3"], tmp_path / "a"))
    victims = [tmp_path / "a" / name for name in whole if name.partition("/")[2].startswith(("sqlite-", "six-"))]
    links = [path for path in unconverted.glob("packages/*/*/*.conda") if any(path.samefile(file) for file in victims)]
    for path in links:
        short = path.read_bytes()[:500]
        path.unlink()  # a link into the shared cache, which must stay whole
        path.write_bytes(short)
    assert len(links) == 2
    assert sums(build.build_channel(["3"], tmp_path / "b")) == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_said_and_mended_by_room(small_disk: Path, converted_only: None) -> None:
    whole = sums(standin("3"))
    with pytest.raises(ToolError) as caught:
        build.build_channel(["3"], small_disk / "channel")
    assert (caught.value.id, caught.value.exit_code) == ("disk-full", Exit.HOST)
    assert build.marker(small_disk / "channel") is None
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    build.build_channel(["3"], small_disk / "channel")
    assert sums(small_disk / "channel").items() <= whole.items()


def test_lines_add_up_and_an_unknown_one_is_named(tmp_path: Path, converted_only: None) -> None:
    channel = build.build_channel(["2.8.6"], tmp_path / "channel")
    build.build_channel(["2.20"], channel)
    assert (build.marker(channel) or {})["lines"] == ["2.20", "2.8.6"]
    assert len(list(channel.glob("*/pydantic-[12]*.conda"))) == 2
    unknown = script("channel", "build", "--line", "1.0", "--output", tmp_path / "channel", code=Exit.USAGE)
    assert "2.20, 2.8.6, 3" in unknown.stderr


def test_an_up_to_date_channel_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, converted_only: None
) -> None:
    standin("3")
    channel = build.build_channel(["3"], tmp_path / "channel")

    def fail(*_: object) -> None:
        raise AssertionError("nothing is to be made")

    monkeypatch.setattr(build, "_make", fail)
    assert build.build_channel(["3"], channel) == channel


def test_the_cache_forgets_what_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_ENV_CACHE", str(tmp_path))
    for name, days in (("old", build.KEEP + 1), (".make-killed", build.KEEP + 1), ("new", 1)):
        home = tmp_path / "stand-in" / "packages" / name / "noarch"
        home.mkdir(parents=True)
        os.utime(home.parent, (time.time() - days * 86400,) * 2)
    build._prune()
    assert [path.name for path in (tmp_path / "stand-in" / "packages").iterdir()] == ["new"]


def test_two_builds_at_once_share_a_cache(unconverted: Path, tmp_path: Path) -> None:
    channels = [tmp_path / "a", tmp_path / "b"]
    processes = [subprocess.Popen([sys.executable, "-c", BUILD, str(channel)]) for channel in channels]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sums(channels[0]) == sums(channels[1])


def test_two_builds_of_one_channel_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "WAIT", 0.1)
    with exclusive(tmp_path / ".channel.lock", what="the channel"), pytest.raises(ToolError) as caught:
        build.build_channel(["3"], tmp_path / "channel")
    assert (caught.value.id, caught.value.exit_code) == ("busy", Exit.BUSY)


def test_the_command_describes_the_channel() -> None:
    channel = standin("3")
    with exclusive(channel.parent / f".{channel.name}.lock", what="the channel", wait=240):  # others add lines to it
        content = json.loads(script("channel", "info", "--json").stdout)
        packages = json.loads(script("channel", "list", "--json", "--channel", str(channel)).stdout)
    assert content["name"] == "stand-in"
    assert content["glibc"] == "2.36"
    assert len(packages) == content["packages"]
    assert all(package["license"] for package in packages)
    nothing = script("channel", "info", "--json", "--channel", str(ROOT / "recipe"), code=Exit.USAGE)
    assert json.loads(nothing.stdout)["fix"] == "scripts/channel build"
