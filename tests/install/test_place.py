"""Places that cannot take an environment, and prefixes that are somebody else's: refused, untouched, explained."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rattler import PackageCache

from install import dummies
from install.conftest import Command
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.install.prefix import held
from maintain.lib.errors import ToolError

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a tmpfs with these options; skips where that is not allowed."""
    mounted: list[Path] = []

    def call(options: str) -> Path:
        folder = tmp_path / f"mount-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("no mount command")
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield call
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_read_only(mount: Mount, install_command: Command) -> None:
    folder = mount("ro")
    done = install_command("--prefix", folder / "env", code=5)
    assert "[not-writable]" in done.stderr and "read-only" in done.stderr and str(folder) in done.stderr


def test_noexec(mount: Mount, install_command: Command) -> None:
    folder = mount("noexec")
    done = install_command("--prefix", folder / "env", code=5)
    assert "[unsupported-host]" in done.stderr and "noexec" in done.stderr
    assert not list(folder.iterdir())


def test_a_mount_point_cannot_be_swapped(mount: Mount, install_command: Command) -> None:
    folder = mount("rw")
    done = install_command("--prefix", folder, code=5)
    assert "[not-writable]" in done.stderr and f"--prefix {folder / 'env'}" in done.stderr


def big(channel: Path, mebibytes: int) -> None:
    """Publish a ``data`` that cannot be compressed."""
    dummies.package(channel, "data", "3.0", files={"share/data.txt": os.urandom(mebibytes << 20)})
    dummies.index(channel)


def test_a_disk_that_is_too_small_is_refused_at_once(mount: Mount, install_command: Command, channel: Path) -> None:
    big(channel, 2)
    folder = mount("size=3m")
    done = install_command("--prefix", folder / "env", code=5)
    assert "[disk-full]" in done.stderr and "4 MiB are needed" in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize("full", ["prefix", "cache"])
def test_a_disk_that_fills_up_meanwhile(
    mount: Mount, channel: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    big(channel, 2)
    folder = mount("size=1m")
    monkeypatch.setattr("maintain.install.engine._check_space", lambda *_: None)  # as if it had been enough
    if full == "cache":
        monkeypatch.setenv("PREFECT_ENV_CACHE", str(folder / "cache"))
    target = prefix if full == "cache" else folder / "env"
    with pytest.raises(ToolError) as caught:
        install(target, choose(str(channel)), line="3")
    assert caught.value.id == "disk-full" and str(folder) in str(caught.value.where)
    assert not target.exists() and not list(target.parent.iterdir())


def test_an_update_on_a_full_disk_leaves_the_old_environment(
    mount: Mount, channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = mount("size=1m") / "env"
    install(target, choose(str(channel)), line="3")
    before = (target / "share/data.txt").read_bytes()
    big(channel, 2)
    monkeypatch.setattr("maintain.install.engine._check_space", lambda *_: None)
    with pytest.raises(ToolError) as caught:
        install(target, choose(str(channel)), line="3")
    assert caught.value.id == "disk-full"
    assert (target / "share/data.txt").read_bytes() == before and [path.name for path in target.parent.iterdir()] == [
        "env"
    ]


def test_across_file_systems_files_are_copied(mount: Mount, channel: Path) -> None:
    target = mount("size=8m") / "env"
    install(target, choose(str(channel)), line="3")
    assert (target / "share/data.txt").stat().st_nlink == 1
    dummies.update(channel)
    install(target, choose(str(channel)), line="3")
    assert (target / "share/data.txt").read_text().startswith("two")


@pytest.mark.parametrize("kind", ["file", "folder", "conda", "dangling"])
def test_what_is_not_ours_is_left_alone(channel: Path, prefix: Path, kind: str) -> None:
    prefix.parent.mkdir()
    if kind == "file":
        prefix.write_text("precious")
    elif kind == "dangling":
        prefix.symlink_to(prefix.with_name("nowhere") / "at all")
        prefix = prefix.with_name("nowhere")
        prefix.write_text("precious")
    else:
        content = prefix / ("conda-meta/history" if kind == "conda" else "notes.txt")
        content.parent.mkdir(parents=True)
        content.write_text("precious")
    with pytest.raises(ToolError) as caught:
        install(prefix, choose(str(channel)), line="3")
    assert caught.value.id == "not-ours"
    assert any(path.read_text() == "precious" for path in prefix.parent.rglob("*") if path.is_file())


def test_an_empty_folder_and_a_link_to_one_are_welcome(channel: Path, prefix: Path) -> None:
    real = prefix.with_name("real")
    real.mkdir(parents=True)
    prefix.symlink_to(real)
    result = install(prefix, choose(str(channel)), line="3")
    assert prefix.is_symlink() and result.prefix == str(real) and (real / "bin/tool").exists()


def test_two_at_once_into_one_prefix(install_command: Command, prefix: Path) -> None:
    with held(prefix):
        done = install_command(code=6)
    assert "[busy]" in done.stderr and str(prefix) in done.stderr
    install_command()


def test_another_install_is_waited_for(channel: Path, prefix: Path) -> None:
    with ThreadPoolExecutor() as pool:
        two = [pool.submit(install, prefix, choose(str(channel)), line="3", wait=60) for _ in range(2)]
        assert sorted(one.result().changed for one in two) == [False, True]


def test_glibc_too_old(install_command: Command, channel: Path, prefix: Path) -> None:
    dummies.package(channel, "data", files={"share/data.txt": b"x"}, depends=["__glibc >=2.17"])
    dummies.index(channel)
    done = install_command(code=1, CONDA_OVERRIDE_GLIBC="2.12")
    assert "__glibc" in done.stderr and not prefix.exists()


def test_the_cache_is_one_that_rattler_knows(channel: Path, prefix: Path, cache: Path) -> None:
    """Whether py-rattler still makes and validates the folder that we hand it; a change there must not go unseen."""
    install(prefix, choose(str(channel)), line="3")
    assert (cache / "pkgs/unpacked").is_dir() and PackageCache(cache / "pkgs/unpacked").first_writable()
