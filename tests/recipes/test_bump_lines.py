"""scripts/bump --lines: the newest of each series, what does not follow, and files that change all or not at all."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.version import Version

from maintain import bounds, revisions
from maintain.bump import __main__ as command
from maintain.bump import changelog, companions, index
from maintain.bump import lines as bumping
from maintain.channel import wheels
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import RECIPES, ROOT
from maintain.manifest import load
from maintain.recipes import catalog, lines, render
from support.python_index import Release, serve
from support.tiny_channel import contents

TODAY = date(2026, 11, 28)
RELEASES = (
    Release("prefect", "3.9.1", "2026-10-30"),
    Release("prefect", "3.9.2", "2026-11-20", python=">=3.12"),
    Release("prefect", "3.9.3", "2026-11-21", yanked=True),
    Release("prefect", "3.9.4rc1", "2026-11-22"),
    Release("prefect", "2.20.26", ""),
    Release("prefect-client", "3.9.0"),
    Release("prefect-new", "2.0", requires=("prefect>=3.9",)),
    Release("prefect-slow", "1.0", requires=("prefect>=2",)),
    Release("prefect-slow", "1.1", requires=("prefect>=2,<3.9",)),
    Release("prefect-gone", "1.0", requires=("prefect<3",)),
)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The index that is configured is ours."""
    if not shutil.which("uv"):
        pytest.skip("uv is not installed")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with serve(RELEASES) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        yield


@pytest.mark.usefixtures("served")
def test_the_index_is_asked_for_releases_of_every_python() -> None:
    assert [str(version) for version in index.releases("prefect")] == ["3.9.2", "3.9.1", "2.20.26"]


@pytest.mark.usefixtures("served")
def test_a_line_goes_to_what_is_not_withdrawn_and_fits_its_python() -> None:
    assert index.newest("prefect==3.*") == Version("3.9.1")


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("after", ["2026-10-29", "2026-10-06", "2023-03-16"])
def test_the_day_of_a_release_is_found(after: str) -> None:
    assert index.released("prefect", Version("3.9.1"), date.fromisoformat(after), TODAY) == date(2026, 10, 30)


@pytest.mark.usefixtures("served")
def test_an_index_that_tells_no_days_is_named() -> None:
    with pytest.raises(ToolError, match=r"does not say when it got prefect==2\.20\.26") as caught:
        index.released("prefect", Version("2.20.26"), date(2026, 1, 1), TODAY)
    assert caught.value.id == "network"


@pytest.mark.usefixtures("served")
def test_a_project_that_the_index_lacks_is_a_network_error() -> None:
    with pytest.raises(ToolError) as caught:
        index.releases("unheard-of")
    assert caught.value.id == "network"


@pytest.mark.usefixtures("served")
def test_companions_that_do_not_follow_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "RECIPES", tmp_path)
    entry = '[[companion]]\nname = "{}"\nreason = "r"\n'
    names = ("prefect-new", "prefect-slow", "prefect-gone", "prefect-client")
    (tmp_path / "companions.toml").write_text("".join(map(entry.format, names)) + "same = true\n")
    assert companions.unfollowed("3.9.1") == [
        "prefect-slow 1.1 does not accept it, 1.0 does",
        "no prefect-gone accepts it",
        "prefect-client ends at 3.9.0",
    ]


@pytest.mark.parametrize("text", ["[[companion]]\nname = 'x'\n", "companion = 3", "[[", ""])
def test_wrong_companions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(companions, "RECIPES", tmp_path)
    (tmp_path / "companions.toml").write_text(text)
    with pytest.raises(ToolError, match="a companion needs name and reason"):
        companions.load()


def test_the_committed_companions_can_be_read() -> None:
    assert "prefect-client" in {companion.name for companion in companions.load() if companion.same}


@pytest.mark.parametrize(
    ("declared", "before", "expected"),
    [
        ("<3.16,>=3.11", ">=3.10,<3.15", ">=3.11,<3.16"),
        (">=3.7", ">=3.8,<3.14", ">=3.8,<3.14"),
        (">=3.9", ">=3.8,<3.13", ">=3.9,<3.13"),
    ],
)
def test_the_pythons_are_those_that_the_release_declares(declared: str, before: str, expected: str) -> None:
    assert bumping.pythons(declared, before) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("3", ("==3.*", True)), ("2.20", ("==2.20.*", True)), ("2.8.6", ("==2.8.*", False))],
)
def test_a_lines_name_says_its_series_and_whether_it_moves(line: str, expected: tuple[str, bool]) -> None:
    assert lines.series(line) == expected


# --- a whole bump, on a copy, with an index that is made up --------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """recipe/, README and manifest in a folder of their own, with an index that has Prefect 3.10.0 since today."""
    root = tmp_path / "clone"
    shutil.copytree(RECIPES, root / "recipe")
    for name in ("README.md", "pixi.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root)
    for module in (render, lines, catalog, wheels, bumping, companions):
        monkeypatch.setattr(module, "RECIPES", root / "recipe")
    monkeypatch.setattr(bumping, "MANIFEST", root / "pixi.toml")
    for module in (render, command):
        monkeypatch.setattr(module, "ROOT", root)
    for module, name in ((render, "load"), (bumping, "load"), (lines, "load_manifest")):
        monkeypatch.setattr(module, name, lambda: load(root / "pixi.toml"))
    for module in (bounds, revisions):
        copy = root / module.DATA.name
        shutil.copy(module.DATA, copy)
        monkeypatch.setattr(module, "DATA", copy)
    monkeypatch.setattr(revisions, "wheels_of_lines", list)
    monkeypatch.setattr(revisions, "document", lambda _: "made anew\n")

    has = ["3.10.0", "3.9.1", "2.20.27", "2.20.26", "2.8.7", "1.4.1"]
    monkeypatch.setattr(index, "releases", lambda _: [Version(text) for text in has])
    newest = {"prefect==3.*": "3.10.0", "prefect==2.20.*": "2.20.26", "prefect==1.4.*": "1.4.1"}
    monkeypatch.setattr(index, "newest", lambda text: Version(newest[text]))
    monkeypatch.setattr(index, "released", lambda *_: TODAY)
    monkeypatch.setattr(companions, "unfollowed", lambda prefect: [f"prefect-client ends before {prefect}"])

    def pin(line: str) -> Path:
        path = root / "recipe" / "lines" / f"{line}.txt"
        path.write_text(path.read_text().replace("prefect==3.9.1 ", "prefect==3.10.0 "))
        return path

    def fetch_line(line: str) -> list[Path]:
        path = lines.metadata_file(line)
        path.write_text(path.read_text().replace("3.9.1", "3.10.0"))
        return [Release("prefect", "3.10.0", python="<3.17,>=3.12").write(tmp_path)]

    monkeypatch.setattr(bumping, "pin", pin)
    monkeypatch.setattr(bumping, "fetch_line", fetch_line)
    return root


def read(clone: Path, line: str) -> dict[str, object]:
    data = tomllib.loads((clone / "recipe" / "lines.toml").read_text())
    own: dict[str, object] = data[line]
    return own


def test_a_line_moves_with_everything_that_follows(clone: Path) -> None:
    report = bumping.bump((), TODAY)
    assert [(move.line, move.old, move.new, move.python) for move in report.moved] == [
        ("3", "3.9.1", "3.10.0", ">=3.12,<3.17")
    ]
    moved = load(clone / "pixi.toml").lines["3"]
    assert (moved.prefect, moved.python) == ("3.10.0", ">=3.12,<3.17")
    # What has not run is not said to have run.
    assert (read(clone, "3")["released"], read(clone, "3")["ran"]) == (TODAY, [])
    assert read(clone, "3")["unfollowed"] == ["prefect-client ends before 3.10.0"]
    assert render.stale() == []
    table = (clone / "README.md").read_text()
    assert "| Behind 3.10.0, the newest on 2026-11-28 |" in table
    assert "| 3 | 3.10.0 | 2026-11-28 | it is the newest; prefect-client ends before 3.10.0 |" in table
    assert "| none yet |" in table
    assert 'prefect_version == "3.10.0"' in (clone / "recipe" / "prefect" / "recipe.yaml").read_text()
    assert revisions.DATA.read_text() == "made anew\n"
    assert {"pixi.toml", "README.md", "recipe/lines.toml", "recipe/lines/3.txt"} <= set(report.files)
    # Comments and order are a person's, and stay.
    before, after = ((root / "pixi.toml").read_text().splitlines() for root in (ROOT, clone))
    assert [line for line in before if line not in after] == [line for line in before if line.startswith('"3" = ')]


def test_a_line_named_after_one_release_stays_at_it(clone: Path) -> None:
    report = bumping.bump(["2.8.6"], TODAY)
    assert (report.moved, report.series["2.8.6"]) == ([], "2.8.7")
    assert load(clone / "pixi.toml").lines["3"].prefect == "3.9.1"


def test_a_line_that_is_behind_says_why_even_if_nobody_wrote_it(clone: Path) -> None:
    bumping.bump(["2.20"], TODAY)
    assert read(clone, "3")["behind"] == "it is not to be had for Python 3.11"
    assert "3 is a line of its own" in str(read(clone, "2.20")["behind"])  # a person's words stay


def test_a_bump_that_fails_changes_nothing(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> str:
        raise ToolError("network", "the index went away")

    monkeypatch.setattr(revisions, "document", fail)
    before = contents(clone)
    with pytest.raises(ToolError, match="the index went away"):
        bumping.bump((), TODAY)
    assert contents(clone) == before


def test_an_unknown_line_is_refused(clone: Path) -> None:
    with pytest.raises(ToolError, match="there is no line 9") as caught:
        bumping.bump(["9"], TODAY)
    assert caught.value.id == "bad-usage"
    assert clone.is_dir()


def test_the_command_writes_the_changelog_and_what_is_left_to_do(clone: Path) -> None:
    done = CliRunner().invoke(command.cli, ["--lines", "3"])
    assert done.exit_code == 0, done.output
    assert "run it: scripts/recipe pythons --line 3 PYTHON..." in done.stdout
    assert "not followed, line 3: prefect-client ends before 3.10.0" in done.stdout
    text = (clone / "CHANGELOG.md").read_text()
    item = "- Line 3: Prefect 3.9.1 -> 3.10.0, of 2026-11-28, for Python >=3.12,<3.17; not followed: prefect-client"
    assert item in text
    assert text.index(changelog.LINES) < text.index(item)
    again = CliRunner().invoke(command.cli, ["--lines", "--json"])
    report = json.loads(again.stdout)
    assert (report["moved"], report["newest"]) == ([], "3.10.0")
    assert (clone / "CHANGELOG.md").read_text() == text


def test_records_are_for_packages_only(clone: Path) -> None:
    done = CliRunner().invoke(command.cli, ["--lines", "--repodata", str(clone)])
    assert done.exit_code == Exit.USAGE
