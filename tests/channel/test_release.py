"""The stand-in of the other Debian release: made here, never mixed with this machine's, and whole in a root of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from maintain.channel import build, wheels
from maintain.channel.check import check_line
from maintain.channel.release import BOOKWORM, RELEASES, TRIXIE, Release, named, of_host
from maintain.channel.root import root_of
from maintain.lib.errors import Exit, ToolError

OTHER = next(release for release in RELEASES.values() if release != of_host())
PINS = Path(__file__).with_name("other.txt")


def test_the_host_decides_and_a_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for codename, expected in (("trixie", TRIXIE), ("bookworm", BOOKWORM), ("noble", BOOKWORM)):
        monkeypatch.setattr("platform.freedesktop_os_release", lambda codename=codename: {"VERSION_CODENAME": codename})
        assert of_host.__wrapped__() == expected
    assert (named("trixie"), named(None)) == (TRIXIE, of_host())
    with pytest.raises(ToolError) as caught:
        named("sid")
    assert (caught.value.id, caught.value.exit_code) == ("bad-usage", Exit.USAGE)


@pytest.mark.parametrize(
    ("file", "releases"),
    [
        ("a-1.0-py3-none-any.whl", [BOOKWORM, TRIXIE]),
        ("a-1.0-cp39-abi3-manylinux_2_28_x86_64.whl", [BOOKWORM, TRIXIE]),
        ("a-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", [BOOKWORM]),
        ("a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", [TRIXIE]),
        ("a-1.0-cp313-cp313t-manylinux_2_17_x86_64.whl", []),
        ("a-1.0-py3-none-manylinux_2_41_x86_64.whl", [TRIXIE]),
        ("a-1.0-py3-none-musllinux_1_2_x86_64.whl", []),
        ("a-1.0-py3-none-manylinux_2_17_aarch64.whl", []),
    ],
)
def test_which_wheels_serve_which_release(file: str, releases: list[Release]) -> None:
    assert [release for release in RELEASES.values() if wheels.serves(file, release)] == releases


def test_a_folder_holds_one_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "require_host", lambda: None)
    (tmp_path / build.MARKER).write_text(json.dumps({"release": TRIXIE.name}))
    with pytest.raises(ToolError) as caught:
        build.build_channel(["3"], tmp_path, release=BOOKWORM)
    assert (caught.value.id, caught.value.exit_code) == ("bad-usage", Exit.USAGE)
    assert len({build.default_output(release) for release in RELEASES.values()}) == len(RELEASES)


@pytest.mark.slow
@pytest.mark.network
def test_the_other_release_stands_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built, installed and run here, in a root: its Python, its libraries, its trust store."""
    try:
        root_of(OTHER)
    except ToolError as error:
        if error.id in ("unsupported-host", "missing-program"):
            pytest.skip(f"{error.what}: {error.why}")
        raise
    monkeypatch.setattr(wheels, "RECIPES", tmp_path)
    (tmp_path / "lines").mkdir()
    shutil.copy(PINS, tmp_path / "lines" / "3.txt")
    channel = build.build_channel(["3"], tmp_path / "channel", release=OTHER)
    content = build.marker(channel) or {}
    assert (content["release"], content["ours"]) == (OTHER.name, [])
    found = check_line("3", channel)
    assert [(item.name, item.found) for item in found if not item.ok] == []
    assert found[0].found.startswith(f"Python {OTHER.python_full},")
