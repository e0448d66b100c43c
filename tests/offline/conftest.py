"""A dummy environment with a real engine: its ``python`` starts the host's Python, its ``zstd`` is the host's."""

from __future__ import annotations

import ctypes.util
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from install import dummies
from install.conftest import Server, server  # noqa: F401 - a fixture
from install.test_lock import lock
from maintain.bundle.__main__ import cli
from support.commands import Done, run

KILLS = 50
"""How often mirror and installer are killed as a whole."""

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
PLATFORM = dummies.HERE


def host_python() -> str:
    """A Python of 3.11 or newer, the system's where it is one: other users can start it."""
    system = shutil.which("python3", path="/usr/bin")
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return system if system and subprocess.run([system, "-c", check], check=False).returncode == 0 else sys.executable


def host_zstd() -> bytes:
    found = ctypes.util.find_library("zstd")
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib"):
        if found and (Path(folder) / found).is_file():
            return (Path(folder) / found).read_bytes()
    pytest.skip("there is no libzstd on this host")


def environment(channel: Path, *, glibc: str = "2.17") -> Path:
    """Write the channel of the dummy environment: native and noarch, text and binary prefixes, an entry point."""
    start = f'#!/bin/sh\nexec {host_python()} "$@"\n'.encode()
    files = {"bin/python": start, "bin/python3.11": start, "lib/python3.11/dummy.py": b"x = 1\n"}
    needs = [f"__glibc >={glibc},<3.0.a0", "__linux >=3.10"]
    dummies.package(channel, "python", "3.11.0", files=files, subdir=PLATFORM, depends=needs)
    dummies.package(channel, "zstd", files={"lib/libzstd.so.1": host_zstd()}, subdir=PLATFORM)
    dummies.stand_in(channel)
    (channel / "stand-in.json").unlink()
    return publish(channel, "1.0")


def publish(channel: Path, version: str) -> Path:
    """Add the noarch Python package ``app`` and index the channel."""
    dummies.package(
        channel,
        "app",
        version,
        files={"site-packages/app.py": f"def main():\n    print('app {version}')\n".encode()},
        noarch="python",
        entry_points=["hello = app:main"],
        depends=["python", "data"],
    )
    return dummies.index(channel)


def index_other(folder: Path) -> None:
    """:func:`dummies.index` for a subdir that is not this host's."""
    packages = {}
    for path in sorted(folder.glob("*.conda")):
        data = path.read_bytes()
        record = json.loads(dummies._member(data, "info/index.json"))
        packages[path.name] = record | {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    content = {"info": {"subdir": folder.name}, "packages": {}, "packages.conda": packages, "repodata_version": 1}
    (folder / "repodata.json").write_text(json.dumps(content))


def pack(channel: Path, output: Path, *arguments: str | Path, code: int = 0) -> Path:
    """Lock everything in ``channel`` and pack it; returns the installer (or the first file that was written)."""
    path = channel / "pixi.lock"
    lock(channel, path)
    command = ["create", "--lock", path, "--source", channel, "--platform", PLATFORM, "--output", output, *arguments]
    done = CliRunner().invoke(cli, [str(part) for part in command])
    assert done.exit_code == code, (done.output, done.exception)
    return next(iter(sorted(output.glob("*.sh*"))), output)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The channel of the dummy environment, packed as installer and tar in ``out`` beside it; read it only."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the dummy engine is Linux's")
    root = tmp_path_factory.mktemp("made")
    environment(root / "channel")
    pack(root / "channel", root / "out", "--format", "installer", "--format", "tar")
    return root


@pytest.fixture(scope="session")
def installer(made: Path) -> Path:
    """The dummy environment's installer."""
    (path,) = (made / "out").glob("*.sh")
    return path


@pytest.fixture(scope="session")
def bundle(made: Path) -> Path:
    """The same as a plain tar."""
    (path,) = (made / "out").glob("*.tar")
    return path


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user can reach, outside of /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="prefect-env-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def plain_env(home: Path, **more: str) -> dict[str, str]:
    """A login's variables, nothing of the tests'."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C.UTF-8", **more}


def install(installer: Path, *arguments: str | Path, code: int = 0, shell: str = "dash", **variables: str) -> Done:
    """Run the installer in ``shell`` with a login's variables."""
    if not shutil.which(SHELLS[shell][0]):
        pytest.skip(f"{shell} is not installed")
    command = [*SHELLS[shell], str(installer), "--batch", *arguments]
    return run(command, code=code, env=plain_env(installer.parent / "home", **variables), trouble=True)


def files(folder: Path) -> dict[str, bytes | str]:
    """Everything below ``folder``: bytes, or the target of a link."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)  # noqa: PTH115
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found
