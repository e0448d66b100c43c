"""recipe/bounds.toml: which bounds a Prefect has, and that wrong ones are refused with their line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from maintain import bounds
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK
from maintain.lock import lockfile

GOOD = """\
# a comment

[[bound]]
prefect = ">=3.6,<3.7"
spec = "fastapi<0.137"
reason = "r"
source = "s"
dead = ["0.137.1"]

[[bound]]
prefect = ">=2"
conda = "libsqlite !=3.49.0,!=3.49.1"
reason = "r"
source = "s"
"""


def written(folder: Path, text: str = GOOD) -> Path:
    (folder / "bounds.toml").write_text(text)
    return folder


def specs(prefect: str) -> set[str]:
    return {bound.conda for bound in bounds.applying(bounds.load(), prefect)}


def test_an_entry_is_read_with_its_line(tmp_path: Path) -> None:
    first, second = bounds.load(written(tmp_path))
    assert (first.name, set(first.clauses), list(first.dead)) == ("fastapi", {"<0.137"}, ["0.137.1"])
    assert (second.requirement, set(second.clauses)) == (None, {"!=3.49.0", "!=3.49.1"})
    assert [bound.where.rpartition(":")[2] for bound in (first, second)] == ["3", "10"]
    assert bounds.requirements([first, second]) == (Requirement("fastapi<0.137"),)
    assert bounds.constraints([first, second]) == ("libsqlite !=3.49.0,!=3.49.1",)


@pytest.mark.parametrize(
    ("prefect", "expected"),
    [
        ("3.6.24", {"fastapi <0.137", "redis-py <8"}),
        ("3.6.19rc2", {"fastapi <0.137", "redis-py <8"}),
        ("3.6.18", {"fastapi <0.132", "redis-py <8"}),
        ("3.5.0", {"fastapi <0.132"}),  # nothing draws redis into it
        ("3.8.8", {"fastapi <0.151"}),
        ("3.9.1", set()),  # it declares the bound itself
        ("2.20.26", set()),
    ],
)
def test_each_prefect_has_the_bounds_of_its_series(prefect: str, expected: set[str]) -> None:
    assert specs(prefect) == expected | {"libsqlite !=3.49.0,!=3.49.1"}


def test_prefect_1_has_no_bounds() -> None:
    assert specs("1.4.1") == set()


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ('reason = "r"\n', 'reason = ""\n', 3, "a bound needs prefect, reason, source and either spec or conda"),
        ('reason = "r"\n', "reason = 3\n", 3, "a bound needs prefect"),
        ('conda = "lib', 'spec = "x"\nconda = "lib', 10, "either spec or conda"),
        ('spec = "fastapi<0.137"\n', "", 3, "either spec or conda"),
        ('source = "s"', 'sauce = "s"', 3, "a bound has no sauce"),
        ("fastapi<0.137", "fastapi <<", 3, "not a requirement: fastapi <<"),
        ("fastapi<0.137", "fastapi[all]<0.137", 3, "neither extras nor markers"),
        (">=3.6,<3.7", "3.6", 3, "no specifiers of releases: 3.6"),
        ("libsqlite !=3.49.0,!=3.49.1", "libsqlite", 10, "not a name and a version constraint"),
        ('["0.137.1"]', '["0.136.3"]', 3, "0.136.3 is dead, but fastapi<0.137 lets it through"),
        ('["0.137.1"]', '["new"]', 3, "dead names no versions"),
        ('["0.137.1"]', '"0.137.1"', 3, "dead names no versions"),
        ("[[bound]]", "[[bounds]]", 1, "nothing but"),
        ('prefect = ">=2"', "prefect = >=2", 11, "this is not TOML"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    assert old in GOOD
    with pytest.raises(ToolError, match=what) as caught:
        bounds.load(written(tmp_path, GOOD.replace(old, new, 1)))
    assert (caught.value.id, caught.value.where) == ("bad-file", f"{tmp_path / 'bounds.toml'}:{line}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        bounds.load(tmp_path)
    assert str(tmp_path / "bounds.toml") in str(caught.value.where)


def test_the_doctors_data_has_what_an_installed_version_can_violate(tmp_path: Path) -> None:
    (entry,) = json.loads(bounds.document(bounds.load(written(tmp_path))))
    assert entry == {
        "prefect": ">=3.6,<3.7",
        "name": "fastapi",
        "specifier": "<0.137",
        "conda": "fastapi <0.137",
        "reason": "r",
        "source": "s",
    }
    assert bounds.document(bounds.load()) == bounds.DATA.read_text()


def test_every_locked_set_keeps_every_bound() -> None:
    """Without the check's own way of comparing: by packaging's specifiers."""
    every, seen = bounds.load(), 0
    for key, records in lockfile.read(LOCK).records.items():
        locked = {record.name.normalized: str(record.version) for record in records}
        for bound in bounds.applying(every, locked.get("prefect", "0")):
            if bound.requirement:
                assert bound.requirement.specifier.contains(Version(locked[bound.name])), (key, bound.conda)
                assert locked[bound.name] not in bound.dead
                seen += 1
    assert seen >= 15
