"""Bad networks and bad bytes: what is broken is resumed, what is wrong is refused, and nothing of it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from install import dummies
from install.conftest import Server
from maintain.install import fetch
from maintain.install.choice import Choice, choose
from maintain.install.engine import install
from maintain.lib.errors import ToolError

DATA = "data-1.0-0.conda"


@pytest.fixture
def put(server: Server, prefix: Path) -> Callable[[], None]:
    """Install from the misbehaving server."""

    def call() -> None:
        install(prefix, Choice(server.url, True, "the test says so"), line="3")

    return call


def ranges(server: Server, name: str = DATA) -> list[str | None]:
    return [wanted for found, wanted in server.requests if found == name]


def archives(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "pkgs/archives").rglob("*") if path.is_file())


def test_a_cut_download_goes_on_where_it_stopped(server: Server, put: Callable[[], None], channel: Path) -> None:
    server.faults[DATA] = ["cut", "cut"]
    put()
    size = (channel / "noarch" / DATA).stat().st_size
    half = size // 2
    assert ranges(server) == [None, f"bytes={half}-", f"bytes={half + (size - half) // 2}-"]


def test_the_next_run_goes_on_too(server: Server, put: Callable[[], None], channel: Path, cache: Path) -> None:
    server.faults[DATA] = ["cut", "404"]
    with pytest.raises(ToolError) as caught:
        put()
    assert caught.value.id == "network" and f"{DATA}.part" in archives(cache)
    server.requests.clear()
    put()
    assert ranges(server) == [f"bytes={(channel / 'noarch' / DATA).stat().st_size // 2}-"]


def test_a_server_without_ranges_sends_it_all_again(server: Server, put: Callable[[], None], prefix: Path) -> None:
    server.ranges = False
    server.faults[DATA] = ["cut"]
    put()
    assert (prefix / "share/data.txt").exists()


def test_a_busy_server_is_asked_again(server: Server, put: Callable[[], None]) -> None:
    server.faults[DATA] = ["503", "429", "500"]
    put()
    assert len(ranges(server)) == 4


def test_wrong_bytes_over_http_are_refused(server: Server, put: Callable[[], None], prefix: Path, cache: Path) -> None:
    server.faults[DATA] = ["wrong"] * 9
    with pytest.raises(ToolError) as caught:
        put()
    assert caught.value.id == "hash-mismatch" and DATA in str(caught.value.where)
    assert not prefix.exists() and DATA not in archives(cache) and f"{DATA}.part" not in archives(cache)
    assert len(ranges(server)) == 1, "a server that sends other bytes does so again"


@pytest.mark.parametrize("damage", ["wrong", "truncated"])
def test_wrong_bytes_in_a_folder_are_refused(channel: Path, prefix: Path, cache: Path, damage: str) -> None:
    archive = channel / "noarch" / DATA
    data = archive.read_bytes()
    archive.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage == "wrong" else data[: len(data) // 2])
    with pytest.raises(ToolError) as caught:
        install(prefix, choose(str(channel)), line="3")
    assert caught.value.id == "hash-mismatch" and archive.as_uri() == caught.value.where
    assert not prefix.exists() and DATA not in archives(cache)


@pytest.mark.parametrize("touched", ["file", "py-rattler's note"])
def test_an_archive_that_went_bad_in_the_cache_is_fetched_again(
    server: Server, put: Callable[[], None], prefix: Path, cache: Path, touched: str
) -> None:
    put()
    (archive,) = (cache / "pkgs/archives").rglob(DATA)
    archive.write_bytes(b"not what it was")
    if touched == "file":
        (prefix / "share/data.txt").write_text("EDIT")  # a hard link to the unpacked file
    else:
        (note,) = (cache / "pkgs/unpacked").glob("data-*.lock")
        note.unlink()
    (prefix / "share/data.txt").unlink()
    server.requests.clear()
    put()
    assert ranges(server) == [None] and (prefix / "share/data.txt").read_text().startswith("one")


def test_no_archive_is_needed_while_what_was_unpacked_is_untouched(
    server: Server, put: Callable[[], None], prefix: Path, cache: Path
) -> None:
    put()
    for archive in (cache / "pkgs/archives").rglob("*.conda"):
        archive.write_bytes(b"not what it was")
    (prefix / "share/data.txt").unlink()
    server.requests.clear()
    put()
    assert not ranges(server) and (prefix / "share/data.txt").read_text().startswith("one")


def test_a_part_that_is_longer_than_the_archive_is_dropped(
    server: Server, put: Callable[[], None], channel: Path, cache: Path
) -> None:
    sha256 = json.loads((channel / "noarch/repodata.json").read_text())["packages.conda"][DATA]["sha256"]
    part = cache / "pkgs/archives" / sha256 / f"{DATA}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)
    put()
    assert ranges(server) == ["bytes=100000-", None]


def test_a_missing_archive_is_not_asked_for_again(server: Server, put: Callable[[], None], channel: Path) -> None:
    (channel / "noarch" / DATA).unlink()
    with pytest.raises(ToolError) as caught:
        put()
    assert caught.value.id == "network" and "404" in str(caught.value.why) and len(ranges(server)) == 1


def test_a_silent_server_is_given_up(server: Server, put: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "STALL", 0.1)
    server.faults[DATA] = ["silence", "silence"]
    put()
    assert len(ranges(server)) == 3


def test_no_network_is_an_error_of_the_network(channel: Path, prefix: Path) -> None:
    with pytest.raises(ToolError) as caught:
        install(prefix, Choice("http://127.0.0.1:1", True, "the test says so"), line="3")
    assert caught.value.id == "network" and not prefix.exists()


def test_a_cache_that_others_may_write_to_is_refused(channel: Path, prefix: Path, cache: Path) -> None:
    (cache / "pkgs").mkdir(parents=True)
    (cache / "pkgs").chmod(0o777)
    with pytest.raises(ToolError) as caught:
        install(prefix, choose(str(channel)), line="3")
    assert caught.value.id == "unsafe-cache" and not prefix.exists()


def test_a_rebuilt_package_of_the_same_name_is_not_taken_from_the_cache(channel: Path, prefix: Path) -> None:
    install(prefix, choose(str(channel)), line="3")
    dummies.package(channel, "data", files={"share/data.txt": b"rebuilt"}, depends=["tool >=1"])
    dummies.index(channel)
    assert install(prefix, choose(str(channel)), line="3").changed
    assert (prefix / "share/data.txt").read_text() == "rebuilt"
