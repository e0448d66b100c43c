"""Each environment is held to the bounds of the Prefect in it: what is missing is reported, shown and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from maintain.bounds import load as load_bounds
from maintain.check import held
from maintain.check.__main__ import findings
from maintain.check.finding import Finding
from maintain.lock import lockfile
from maintain.lock.plan import Update
from maintain.lock.relock import relock
from maintain.manifest import load
from support import tiny_channel
from support.tiny_channel import record, write_records

BOUND = """
[[bound]]
prefect = "{prefect}"
spec = "{spec}"
reason = "it was seen dead"
source = "a test"
"""


def bound(project: Path, spec: str, prefect: str = ">=3.6,<3.7") -> None:
    (project / "recipe").mkdir(exist_ok=True)
    with (project / "recipe" / "bounds.toml").open("a") as file:
        file.write(BOUND.format(prefect=prefect, spec=spec))


def reported(project: Path) -> list[Finding]:
    return [finding for finding in findings(project) if finding.rule == "bounds"]


def amended(project: Path) -> tuple[str, list[str]]:
    """The manifest's text with the bounds, and where they have no place."""
    lock = lockfile.read(project / "pixi.lock")
    text, left = held.amended(load(project / "pixi.toml"), lock, load_bounds(project / "recipe"))
    return text, [lack.where for lack in left]


def edit(project: Path, old: str, new: str) -> None:
    path = project / "pixi.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_without_bounds_of_its_prefect_nothing_is_asked(project: Path) -> None:
    bound(project, "libsqlite<4", ">=3.7")
    assert reported(project) == []


def test_a_missing_bound_is_shown_once_with_its_repair_and_written(project: Path, records: Path) -> None:
    bound(project, "libsqlite<4")
    found = reported(project)
    assert {finding.where for finding in found} >= {"default on linux-64"}
    assert not any("win-64" in finding.where for finding in found)  # Prefect 3.5 there
    assert {finding.fix for finding in found} == {"scripts/recipe bounds && scripts/lock"}
    assert [bool(finding.diff) for finding in found] == [True] + [False] * (len(found) - 1)
    assert '+libsqlite = "<4"' in found[0].diff
    text, left = amended(project)
    assert left == []
    (project / "pixi.toml").write_text(text)
    relock(project, records, Update())
    assert findings(project) == []


def test_a_line_of_the_package_gets_the_bounds_too(project: Path) -> None:
    bound(project, "openssl<4")
    bound(project, "openssl!=3.5.5")
    assert 'openssl = ">=3,!=3.5.5,<4"' in amended(project)[0]


def test_a_build_is_kept_beside_the_bound(project: Path) -> None:
    edit(project, 'prefect = ">=3.6,<4"', 'prefect = ">=3.6,<4"\nlibsqlite = { build = "h1_*" }')
    bound(project, "libsqlite<4")
    assert 'libsqlite = { version = "<4", build = "h1_*" }' in amended(project)[0]


def test_alternatives_are_no_bound(project: Path) -> None:
    edit(project, 'prefect = ">=3.6,<4"', 'prefect = ">=3.6,<4"\nlibsqlite = "<4|>10"')
    bound(project, "libsqlite<4")
    assert reported(project)


def test_a_line_that_others_read_is_not_given_the_bound(project: Path, tmp_path: Path) -> None:
    listed = [item for item in tiny_channel.records() if (item["name"], item["version"]) != ("prefect", "3.6.1")]
    listed.append(record("prefect", "3.6.1", "h1_0", "linux-64", ["python >=3.10", "sqlite >=3.24"]))
    edit(project, 'prefect = ">=3.6,<4"', 'prefect = ">=3.4"')
    edit(project, 'prefect = ">=3.4,<3.6"', 'native = "*"')  # so that win-64 has 3.5 by the same line
    relock(project, write_records(tmp_path / "again", listed), Update(everything=True))
    bound(project, "libsqlite<4")
    text, left = amended(project)
    assert text == (project / "pixi.toml").read_text()
    assert left == ["default on linux-64"]
    (finding,) = reported(project)
    assert finding.fix == 'add libsqlite = "<4" for default on linux-64 only, then scripts/lock'


def test_a_manifest_in_another_style_is_left_alone(project: Path) -> None:
    path = project / "pixi.toml"
    head, _, rest = path.read_text().partition("[feature.prefect.dependencies]\n")
    path.write_text(f"{head}[feature.prefect]\ndependencies.{rest}")
    bound(project, "libsqlite<4")
    text, left = amended(project)
    assert text == path.read_text()
    assert left


def test_what_is_locked_must_keep_the_bound(project: Path) -> None:
    bound(project, "libsqlite<3.52")
    (finding,) = [
        item for item in reported(project) if item.where == "default on linux-64" and "is locked" in item.what
    ]
    assert "it was seen dead" in finding.what


def test_a_bound_on_what_is_not_locked_draws_nothing_in(project: Path) -> None:
    bound(project, "unheard-of<2", ">=2")
    text = (project / "recipe" / "bounds.toml").read_text()
    (project / "recipe" / "bounds.toml").write_text(text.replace('spec = "unheard-of<2"', 'conda = "unheard-of <2"'))
    assert reported(project) == []


@pytest.mark.parametrize("name", ["default"])
def test_environment_files_keep_the_bound_instead_of_the_version(project: Path, records: Path, name: str) -> None:
    bound(project, "libsqlite<4")
    (project / "pixi.toml").write_text(amended(project)[0])
    relock(project, records, Update())
    text = (project / "envs" / name / "environment.yml").read_text()
    assert "  - libsqlite <4\n" in text
    assert "prefect=3.6.1" in text
