"""Which channel is taken, and that one line says why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from install.conftest import Server
from maintain.channel import build
from maintain.install import choice
from maintain.install.choice import choose
from maintain.install.network import CONDA_FORGE, masked
from maintain.lib.errors import ToolError


@pytest.fixture(autouse=True)
def nothing_reachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """conda-forge is at a closed port, and a build of the stand-in is only noted."""
    monkeypatch.setattr(choice, "CONDA_FORGE", "http://127.0.0.1:1/conda-forge")

    def noted(lines: Sequence[str], *, environments: Sequence[str]) -> Path:
        return tmp_path / "-".join(("built", *lines, *environments))

    monkeypatch.setattr(build, "build_channel", noted)


def test_the_stand_in_is_the_last_resort(tmp_path: Path) -> None:
    found = choose(lines=("3", "2.20"), environments=("default",))
    assert found.folder == tmp_path / "built-3-2.20-default" and found.stand_in
    assert str(found).endswith("(conda-forge cannot be reached and no mirror is set: the stand-in, for trial only)")


def test_conda_forge_when_it_answers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (server.root / "noarch/repodata.json.zst").write_bytes(b"x" * 100_000)
    monkeypatch.setattr(choice, "CONDA_FORGE", server.url)
    assert str(choose()) == f"channel: {server.url} (conda-forge answers)"
    assert server.requests == [("repodata.json.zst", "bytes=0-0")]


def test_a_mirror_of_pixis_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path.home() / ".pixi/config.toml"
    file.parent.mkdir()
    file.write_text(
        '[mirrors]\n"https://conda.anaconda.org/conda-forge" = ["https://me:secret@mirror.example/forge"]\n'
    )
    monkeypatch.setattr(choice, "CONDA_FORGE", CONDA_FORGE)
    assert (
        str(choose())
        == f"channel: {CONDA_FORGE} (mirrored by https://***@mirror.example/forge in pixi's configuration)"
    )


def test_a_broken_configuration_is_named() -> None:
    file = Path.home() / ".pixi/config.toml"
    file.parent.mkdir()
    file.write_text("mirrors = [")
    with pytest.raises(ToolError) as caught:
        choose()
    assert caught.value.id == "bad-file" and str(file) in str(caught.value.where)


def test_the_option_beats_the_variable(channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_ENV_CHANNEL", str(channel))
    assert choose().channel == channel.as_uri() and choose().why.startswith("PREFECT_ENV_CHANNEL")
    other = tmp_path / "other"
    other.mkdir()
    assert choose(str(other)).channel == other.as_uri() and choose(str(other)).why == "--channel"


@pytest.mark.parametrize("marked", [True, False])
def test_a_stand_in_is_known_by_its_marker(server: Server, marked: bool) -> None:
    if not marked:
        (server.root / "stand-in.json").unlink()
    assert choose(f"{server.url}/").stand_in == marked and choose(str(server.root)).stand_in == marked


def test_a_name_is_a_channel_of_anaconda_org(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_is_stand_in", lambda *_: False)
    assert choose("conda-forge").channel == CONDA_FORGE


def test_a_channel_that_does_not_answer() -> None:
    with pytest.raises(ToolError) as caught:
        choose("http://user:secret@127.0.0.1:1/channel")
    assert caught.value.id == "network" and "secret" not in f"{caught.value.where}{caught.value.why}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/c", "https://***@host/c"),
        ("https://host/t/tk-12/conda-forge/noarch", "https://host/t/***/conda-forge/noarch"),
        ("file:///t/x@y/z", "file:///t/***/z"),
        ("https://host/a@b", "https://host/a@b"),
    ],
)
def test_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
