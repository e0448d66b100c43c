"""Our packages as rattler-build makes them: the same bytes every time, and nothing of the builder in them."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path

import pytest

from maintain.channel.package import Entry
from maintain.channel.wheels import fetch, pins
from maintain.lib.errors import ToolError
from maintain.lib.paths import ROOT
from maintain.manifest import load
from maintain.recipes import build, lines
from maintain.recipes.fetch import fetch_line
from maintain.recipes.test import test_line as run_recipe_tests
from support.commands import run, script
from support.standin import standin

LINE = "2.8.6"
"""The smallest wheel."""


@pytest.fixture(scope="module")
def channel() -> Path:
    return standin(LINE)


def built(recipe: str, channel: Path, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    build._build(recipe, build._variants(recipe, load().lines[LINE].prefect), channel, folder / "packages")
    return {path.name: path.read_bytes() for path in (folder / "packages").iterdir()}


def members(path: Path) -> dict[str, Entry]:
    return {entry.path: entry for part in build.parts(path).values() for entry in part}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", build.NAMES)
def test_the_same_inputs_give_the_same_bytes(
    recipe: str, channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = built(recipe, channel, tmp_path / "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert built(recipe, channel, tmp_path / "another place") == once != {}


def test_nothing_of_the_builder_is_in_a_package(channel: Path) -> None:
    places = [str(ROOT).encode(), b"placehold_placehold", os.fsencode(Path.home())]
    for path in build.build_line(LINE, channel):
        for name, entry in members(path).items():
            assert not name.endswith(".pyc"), name
            assert not any(place in entry.data for place in places), (path.name, name)
        index = json.loads(members(path)["info/index.json"].data)
        assert "timestamp" not in index


def test_every_python_file_is_in_record(channel: Path) -> None:
    path = next(path for path in build.build_line(LINE, channel) if path.name.startswith("prefect-2"))
    files = {name for name in members(path) if name.startswith("site-packages/")}
    record = next(name for name in files if name.endswith(".dist-info/RECORD"))
    rows = csv.reader(members(path)[record].data.decode().splitlines())
    assert {f"site-packages/{row[0]}" for row in rows} == files


def test_a_second_build_comes_from_the_cache(channel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {path: path.read_bytes() for path in build.build_line(LINE, channel)}
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("it is built again"))
    assert {path: path.read_bytes() for path in build.build_line(LINE, channel)} == first


def test_a_recipe_that_cannot_be_built_says_so(channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "recipe" / "prefect"
    broken.mkdir(parents=True)
    (broken / "recipe.yaml").write_text("package: {name: prefect, version: 1}\nbuild: {script: exit 3}\n")
    monkeypatch.setattr(build, "RECIPES", broken.parent)
    with pytest.raises(ToolError, match="prefect cannot be built") as caught:
        build._build("prefect", {}, channel, tmp_path / "done")
    assert caught.value.id == "command-failed"
    assert not (tmp_path / "done").exists()


def test_what_is_committed_of_the_wheels_is_what_they_say(channel: Path) -> None:
    committed = lines.metadata_file(LINE).read_text()
    wheels = {pin.name: wheel for pin, wheel in fetch(pins(LINE)).items()}
    assert lines.collect(wheels.get) == committed


def test_a_tampered_wheel_is_not_built_from(channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maintain.recipes.fetch.SOURCES", tmp_path)
    (source,) = fetch_line(LINE)
    source.write_bytes(source.read_bytes() + b"x")
    with pytest.raises(ToolError) as caught:
        build.build_line(LINE, channel)
    assert caught.value.id == "hash-mismatch"
    assert caught.value.where == str(source)


@pytest.mark.parametrize("command", ["build", "test", "fetch"])
def test_an_unknown_line_is_a_usage_error(command: str) -> None:
    done = script("recipe", command, "--line", "4", code=2)
    assert "there is no line 4" in done.stderr
    assert "3, 2.20, 2.8.6" in done.stderr


def test_a_folder_that_is_no_channel_is_a_usage_error(tmp_path: Path) -> None:
    done = script("recipe", "build", "--line", "3", "--channel", tmp_path, code=2)
    assert "no indexed channel" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_flow_visualize_says_what_to_install(tmp_path: Path) -> None:
    from support.prefixes import line_prefix  # line 3: the one with the binding

    prefix = line_prefix("3")
    code = (
        "import graphviz\n"
        "from prefect.utilities.visualization import visualize_task_dependencies as show\n"
        "try: show(graphviz.Digraph(), 'run')\n"
        "except Exception as error: print(error)\n"
    )
    env = {"PATH": "/nonexistent", "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path)}
    shown = run([prefix / "bin" / "python", "-c", code], env=env, cwd=tmp_path).stdout
    assert "conda install -c conda-forge graphviz" in shown
    assert "pixi add graphviz" in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in channel is for Linux")
@pytest.mark.timeout(600)
def test_the_recipes_own_tests_pass(channel: Path) -> None:
    results = {result.package: result for result in run_recipe_tests(LINE, channel)}
    assert {result.outcome for result in results.values()} == {"passed", "skipped"}
    passed = {
        re.sub(r"-[^-]+-[^-]+\.conda$", "", name) for name, result in results.items() if result.outcome == "passed"
    }
    assert passed == {"prefect", "prefect-env", "prefect-env-runtime", "prefect-graphviz"}
