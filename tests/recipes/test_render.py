"""What is generated is what is committed, and the data that it comes from is refused when it is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from maintain.channel import wheels
from maintain.lib.errors import ToolError
from maintain.lib.paths import RECIPES
from maintain.recipes import catalog, lines, render
from maintain.recipes.lines import Line
from support.commands import run, script


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of recipe/ that the renderer works on."""
    copy = tmp_path / "recipe"
    shutil.copytree(RECIPES, copy)
    for module in (render, lines, catalog, wheels):
        monkeypatch.setattr(module, "RECIPES", copy)
    return copy


def line(
    requires: list[str], *, bounds: list[str] | None = None, python: str = ">=3.10,<3.14", **extras: list[str]
) -> Line:
    metadata = {"requires": {"prefect": requires, **extras}, "wheels": {}}
    return Line("x", "1.0.0", python, tuple(Requirement(bound) for bound in bounds or []), (), metadata)


def test_what_is_committed_is_what_the_data_says() -> None:
    assert render.stale() == []


def test_check_passes_on_a_clean_tree() -> None:
    assert json.loads(script("recipe", "render", "--check", "--json").stdout) == []


@pytest.mark.parametrize("name", ["prefect/recipe.yaml", "prefect/meta.yaml", "prefect-env/variants.yaml"])
def test_a_hand_edit_is_caught_and_repaired(recipes: Path, name: str) -> None:
    text = (recipes / name).read_text()
    (recipes / name).write_text(text.replace("3.9.1", "3.9.0", 1))
    assert render.stale() == [(recipes / name, text)]
    assert render.write() == [recipes / name]
    assert render.stale() == []


def test_line_ends_and_missing_files_are_caught(recipes: Path) -> None:
    file = recipes / "prefect" / "recipe.yaml"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    (recipes / "prefect" / "meta.yaml").unlink()
    assert [path.name for path, _ in render.stale()] == ["recipe.yaml", "meta.yaml"]


def test_check_shows_the_difference_and_the_repair(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(RECIPES.parent, clone, ignore=shutil.ignore_patterns(".git", ".build", ".pixi", "__pycache__"))
    file = clone / "recipe" / "prefect" / "recipe.yaml"
    file.write_text(file.read_text().replace("semver >=3.0.4", "semver >=3.0.3"))
    done = run([clone / "scripts" / "recipe", "render", "--check"], code=1)
    assert "-        - semver >=3.0.3\n+        - semver >=3.0.4\n" in done.stdout
    assert "fix: scripts/recipe render" in done.stderr


def test_a_bound_changes_both_recipes(recipes: Path) -> None:
    data = recipes / "bounds.toml"
    data.write_text(data.read_text().replace("httpx<0.28", "httpx<0.27"))
    changed = {path.name: text for path, text in render.stale()}
    assert set(changed) == {"README.md", "recipe.yaml", "meta.yaml", "bounds.json"}
    assert all("httpx >=0.23,!=0.23.2,<0.27" in changed[name] for name in ("recipe.yaml", "meta.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('["3"]', '["4"]', "no such line in pixi.toml: 4"),
        ('["3"]', '["3"', "this is not TOML"),
    ],
)
def test_wrong_lines_are_refused(recipes: Path, old: str, new: str, what: str) -> None:
    data = recipes / "lines.toml"
    data.write_text(data.read_text().replace(old, new, 1))
    with pytest.raises(ToolError, match=what) as caught:
        render.stale()
    assert caught.value.id == "bad-file"
    assert caught.value.where == str(data)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"wheels": {"prefect": {}}}'])
def test_damaged_metadata_is_refused(recipes: Path, text: str) -> None:
    (recipes / "lines" / "3.metadata.json").write_text(text)
    with pytest.raises(ToolError) as caught:
        render.stale()
    assert caught.value.fix == "scripts/recipe fetch --line 3"


def test_metadata_of_other_wheels_than_pinned_is_refused(recipes: Path) -> None:
    file = recipes / "lines" / "3.metadata.json"
    data = json.loads(file.read_text())
    data["wheels"]["prefect"]["sha256"] = "0" * 64
    file.write_text(json.dumps(data))
    with pytest.raises(ToolError, match="not of the pinned wheels"):
        render.stale()


def test_markers_make_one_build_for_each_span_of_python_versions() -> None:
    spans = line(
        [
            "click>=8",
            'pendulum<3; python_version < "3.12"',
            'pendulum<4,>=3; python_version >= "3.12"',
            'ruamel.yaml.clib; platform_python_implementation == "CPython"',
            'pypy-only; platform_python_implementation == "PyPy"',
        ]
    ).spans
    assert [(span.python, span.requires) for span in spans] == [
        (">=3.10,<3.12", ("click >=8", "pendulum <3", "ruamel.yaml.clib")),
        (">=3.12,<3.14", ("click >=8", "pendulum >=3,<4", "ruamel.yaml.clib")),
    ]


def test_the_spans_of_a_line_cover_its_python_versions() -> None:
    for entry in lines.load_lines():
        first, last = entry.python.removeprefix(">=").split(",<")
        edges = [span.python.removeprefix(">=").split(",<") for span in entry.spans]
        assert [edges[0][0], edges[-1][1]] == [first, last]
        assert [edge[1] for edge in edges[:-1]] == [edge[0] for edge in edges[1:]]


def test_a_marker_on_the_platform_cannot_be_noarch() -> None:
    with pytest.raises(ToolError, match="on some platforms"):
        line(['pywin32; sys_platform == "win32"']).spans  # noqa: B018


def test_extras_are_resolved_and_names_are_condas() -> None:
    spans = line(
        ["httpx[http2]>=0.23", "docker>=4", "graphviz>=0.20.1"],
        httpx=['h2<5,>=3; extra == "http2"', 'socksio; extra == "socks"'],
    ).spans
    assert spans[0].requires == ("docker-py >=4", "h2 >=3,<5", "httpx >=0.23", "prefect-graphviz >=0.20.1")


def test_a_release_that_is_not_pinned_is_refused(recipes: Path) -> None:
    pins = recipes / "lines" / "3.txt"
    pins.write_text(pins.read_text().replace("prefect==3.9.1 ", "prefect==3.9.0 "))
    with pytest.raises(ToolError, match=r"pixi\.toml has Prefect 3\.9\.1 for line 3, its pins have 3\.9\.0") as caught:
        render.stale()
    assert "scripts/channel pin 3" in str(caught.value.fix)


def test_a_bound_holds_in_every_span() -> None:
    texts = ['pendulum<3; python_version < "3.12"', 'pendulum<4,>=3; python_version >= "3.12"']
    spans = line(texts, bounds=["pendulum!=2.9,!=3.1"]).spans
    assert [span.requires for span in spans] == [
        ("pendulum !=2.9,!=3.1,<3",),
        ("pendulum >=3,!=2.9,!=3.1,<4",),
    ]


def test_bounds_tighten_and_add() -> None:
    spans = line(["fastapi<1,>=0.139", "anyio"], bounds=["fastapi<0.151", "anyio<4", "cachetools"]).spans
    assert spans[0].requires == ("anyio <4", "cachetools", "fastapi >=0.139,<0.151")
