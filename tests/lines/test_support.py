"""The table of lines says what the data says, and data that is incomplete or contradicts itself is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from maintain.check import drift
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES, ROOT
from maintain.manifest import load
from maintain.recipes import catalog, lines, render


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README and recipe/ in a folder of their own, which the renderer works on."""
    shutil.copytree(RECIPES, tmp_path / "recipe")
    shutil.copy(ROOT / "README.md", tmp_path)
    for module in (render, lines, catalog):
        monkeypatch.setattr(module, "RECIPES", tmp_path / "recipe")
    for module in (render, drift):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_the_readme_has_a_row_for_each_line() -> None:
    table = (ROOT / "README.md").read_text().partition("<!-- generated: lines -->\n")[2].partition("<!-- end")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
    assert [(row[0], row[1], row[6]) for row in rows] == [
        (line.name, line.prefect, line.python) for line in load().lines.values()
    ]
    # The stand-in's Python is the one on which the other tests run every line.
    assert all("3.11" in row[5].split(", ") for row in rows)


@pytest.mark.parametrize("name", ["README.md", "recipe/README.md"])
def test_a_table_changed_by_hand_is_found_and_mended(clone: Path, name: str) -> None:
    page = clone / name
    right = page.read_text()
    page.write_text(right.replace("| 2.8.6 | 2.8.6 |", "| 2.8.6 | 2.8.7 |"))
    (finding,) = drift.recipes()
    assert (finding.where, finding.fix) == (name, "scripts/recipe render")
    render.write()
    assert page.read_text() == right


def test_new_dates_go_into_the_table(clone: Path) -> None:
    data = clone / "recipe" / "lines.toml"
    data.write_text(data.read_text().replace("released = 2023-03-16", "released = 2023-03-17"))
    assert [path.name for path, text in render.stale() if "| 2.8.6 | 2.8.6 | 2023-03-17 |" in text] == ["README.md"]


def test_the_table_says_how_far_a_line_is_behind_and_why() -> None:
    rows = (ROOT / "README.md").read_text().partition("<!-- generated: lines -->\n")[2].splitlines()
    assert "| Behind 3.9.1, the newest on " in rows[0]
    assert "| 3 | 3.9.1 | 2026-10-30 | it is the newest; prefect-client ends at 3.9.0 |" in rows[2]
    assert "| 2.8.7 is newest of its series; kept at the release that it is named after |" in rows[4]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("released = 2023-03-16", 'released = "March"', "line 2.8.6 needs released, support, source, newest and ran"),
        (
            'support = "ended on 2023-03-23, with 2.8.7"\n',
            "",
            "line 2.8.6 needs released, support, source, newest and ran",
        ),
        ('ran = ["3.8"', 'ran = ["2.7"', "line 2.20 ran on 2.7, outside its range"),
        ('newest = "2.8.7"', 'newest = "2.8.5"', "its series at 2.8.5, Prefect at 3.9.1: one of them is old"),
        ('newest = "2.8.7"', 'newest = "new"', "line 2.8.6: newest is no version"),
        ('newest = "3.9.1"\n\n["3"]', '\n["3"]', "newest and looked are missing"),
        ('behind = "kept', 'note = "kept', "line 2.8.6 must say why it is behind"),
        ("unfollowed = [", 'behind = "x"\nunfollowed = [', "line 3 is not behind"),
    ],
)
def test_incomplete_data_is_refused(clone: Path, old: str, new: str, what: str) -> None:
    data = clone / "recipe" / "lines.toml"
    assert old in data.read_text()
    data.write_text(data.read_text().replace(old, new, 1))
    with pytest.raises(ToolError, match=what) as caught:
        render.stale()
    assert (caught.value.id, str(caught.value.where).removesuffix(":1")) == ("bad-file", str(data))
