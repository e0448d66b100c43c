"""From a lock file: from conda-forge's records to a mirror's files, verified by the lock's own hashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import rattler
from rattler.lock import LockChannel, LockPlatform

from install import dummies
from install.conftest import Server
from maintain.install import plan
from maintain.install.choice import Choice
from maintain.install.engine import Result, install
from maintain.install.network import CONDA_FORGE
from maintain.lib.errors import ToolError
from maintain.manifest import load

Put = Callable[[str], Result]


def lock(channel: Path, path: Path, subdir: str = dummies.HERE, url: str = CONDA_FORGE) -> None:
    """A lock of all packages of ``channel``, as conda-forge's."""
    platform = LockPlatform(subdir, rattler.Subdir(subdir), [])
    content = rattler.LockFile([platform])
    content.set_channels("default", [LockChannel(url + "/")])
    for repodata in sorted(channel.glob("*/repodata.json")):
        records = rattler.SparseRepoData(rattler.Channel(url), repodata.parent.name, repodata)
        for name in records.package_names():
            for record in records.load_records(rattler.PackageName(name)):
                content.add_conda_package("default", platform, record)
    content.to_path(path)


@pytest.fixture
def mirror(channel: Path) -> Path:
    """The dummy channel without its marker: an ordinary mirror."""
    (channel / "stand-in.json").unlink()
    return channel


@pytest.fixture
def put(mirror: Path, prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Install ``default`` of a lock of the mirror's packages from the channel that is given."""
    lock(mirror, tmp_path / "pixi.lock")
    monkeypatch.setattr(plan, "LOCK", tmp_path / "pixi.lock")
    return lambda channel: install(prefix, Choice(channel, False, "the test says so"))


@pytest.mark.parametrize("served", [False, True])
def test_from_a_mirror(put: Put, mirror: Path, server: Server, prefix: Path, served: bool) -> None:
    result = put(server.url if served else mirror.as_uri())
    assert (result.how, result.packages, result.channel) == ("lock", 3, CONDA_FORGE)
    record = json.loads((prefix / "conda-meta/data-1.0-0.json").read_text())
    assert record["url"] == f"{CONDA_FORGE}/noarch/data-1.0-0.conda", (
        "the record is conda-forge's, wherever it came from"
    )
    history = (prefix / "conda-meta/history").read_text()
    assert "+conda-forge/noarch::data-1.0-0\n" in history and '"prefect >=' in history, "what the manifest asks for"
    assert not served or {name for name, _ in server.requests} == {path.name for path in mirror.rglob("*.conda")}


def test_a_mirror_with_other_bytes_is_refused(put: Put, mirror: Path, prefix: Path) -> None:
    dummies.package(mirror, "data", files={"share/data.txt": b"poisoned"}, depends=["tool >=1"])
    dummies.index(mirror)  # its own repodata agrees with it; the lock does not
    with pytest.raises(ToolError) as caught:
        put(mirror.as_uri())
    assert caught.value.id == "hash-mismatch" and not prefix.exists()


def test_a_mirror_that_lacks_a_package(put: Put, mirror: Path, prefix: Path) -> None:
    (mirror / "noarch/data-1.0-0.conda").unlink()
    with pytest.raises(ToolError) as caught:
        put(mirror.as_uri())
    assert caught.value.id == "bad-file" and str(caught.value.where).endswith("data-1.0-0.conda")


def test_another_platform(put: Put, mirror: Path, prefix: Path, tmp_path: Path) -> None:
    other = "osx-64" if dummies.HERE != "osx-64" else "win-64"
    lock(mirror, tmp_path / "pixi.lock", subdir=other)
    with pytest.raises(ToolError) as caught:
        put(mirror.as_uri())
    assert caught.value.id == "unsupported-host" and other in str(caught.value.why)


def test_a_host_that_is_too_old(put: Put, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dummies.package(mirror, "data", files={"share/data.txt": b"x"}, depends=["__glibc >=2.17"])
    lock(dummies.index(mirror), tmp_path / "pixi.lock")
    monkeypatch.setenv("CONDA_OVERRIDE_GLIBC", "2.12")
    with pytest.raises(ToolError) as caught:
        put(mirror.as_uri())
    assert caught.value.id == "unsupported-host" and caught.value.what == "this host does not have __glibc >=2.17"
    assert "__glibc 2.12" in str(caught.value.why)


@pytest.mark.parametrize("content", ["", "version: 7\nenvironments: 5", "\0", "version: 99"])
def test_a_lock_that_cannot_be_read(put: Put, mirror: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "pixi.lock").write_text(content)
    with pytest.raises(ToolError) as caught:
        put(mirror.as_uri())
    assert caught.value.id == "bad-file" and caught.value.where == str(tmp_path / "pixi.lock")


def test_an_unknown_environment_is_answered_with_the_known(put: Put, mirror: Path, prefix: Path) -> None:
    with pytest.raises(ToolError) as caught:
        install(prefix, Choice(mirror.as_uri(), False, "the test says so"), environment="nope")
    assert caught.value.id == "bad-usage" and caught.value.why == "there are: default"


def test_from_the_stand_in_to_the_mirror_is_an_update(put: Put, mirror: Path, prefix: Path) -> None:
    (mirror / "stand-in.json").touch()
    install(prefix, Choice(mirror.as_uri(), True, "the test says so"), line="3")
    assert put(mirror.as_uri()).changed, "the packages are the same, their channel is not"
    assert json.loads((prefix / "conda-meta/data-1.0-0.json").read_text())["url"].startswith(CONDA_FORGE)


def test_a_stand_in_is_asked_for_its_own_prefect_and_without_the_bounds_of_ours() -> None:
    environments = load().environments
    specs = plan.stand_in_specs(environments["default"], "linux-64")
    assert {"prefect >=3.6.19", "libsqlite !=3.49.0,!=3.49.1", "sqlite >=3.24"} <= set(specs)
    assert not [spec for spec in specs if spec.startswith(("fastapi", "redis-py"))]
    # An environment of one series stays one.
    assert {"prefect >=3.4,<3.6", "fastapi <0.132"} <= set(plan.stand_in_specs(environments["prefect-3-5"], "linux-64"))
