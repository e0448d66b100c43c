"""The Python index's requirements in conda's words, and the pins files."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from maintain import bounds
from maintain.channel import base, wheels
from maintain.channel.release import BOOKWORM, RELEASES, Release
from maintain.channel.specs import conda_name, conda_version, dependencies, match_spec
from maintain.lib.errors import ToolError
from maintain.manifest import load


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Redis", "redis-py"),
        ("ruamel.yaml", "ruamel.yaml"),
        ("ruamel_yaml_clib", "ruamel.yaml.clib"),
        ("tzdata", "python-tzdata"),
        ("typing.extensions", "typing_extensions"),
        ("SQLAlchemy", "sqlalchemy"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert conda_name(name) == expected


@pytest.mark.parametrize(
    ("specifier", "expected"),
    [
        ("", ""),
        ("==1.*", "1.*"),
        ("===1.0", "==1.0"),
        ("~=1.4", "1.*,>=1.4"),
        ("~=1.4.2", "1.4.*,>=1.4.2"),
        ("<3,>=2.0.1,!=2.1.*", ">=2.0.1,!=2.1.*,<3"),
    ],
)
def test_specifiers(specifier: str, expected: str) -> None:
    assert conda_version(SpecifierSet(specifier)) == expected


def test_match_spec_leaves_extras_out() -> None:
    assert match_spec(Requirement("redis[hiredis]>=5; python_version > '3'")) == "redis-py >=5"


def test_markers_and_extras_are_resolved() -> None:
    metadata = {
        "sqlalchemy": ["greenlet>=1; extra == 'asyncio'", "typing-extensions>=4.6", "aiosqlite; extra == 'sqlite'"],
        "httpx": ["h2<5; extra == 'http2'", "httpx[socks]; extra == 'all'", "socksio; extra == 'socks'"],
    }
    found = dependencies(
        [
            "sqlalchemy[asyncio]>=2,<3",
            "httpx[all]",
            "pywin32; sys_platform == 'win32'",
            "uvloop; extra == 'fast'",
            "tzdata; python_version >= '3.9'",
        ],
        BOOKWORM.markers,
        metadata.__getitem__,
    )
    assert found == ["greenlet >=1", "httpx", "python-tzdata", "socksio", "sqlalchemy >=2,<3"]


def test_own_extras_are_added_when_asked_for() -> None:
    found = dependencies(["a", "b; extra == 'more'"], BOOKWORM.markers, lambda _: [], extras=["more"])
    assert found == ["a", "b"]


@pytest.mark.parametrize(
    "line", ["six==1.17.0", "six>=1 --hash=sha256:" + "0" * 64, "six==1 --hash=md5:" + "0" * 32, "--index-url x"]
)
def test_a_pin_without_exact_version_and_hash_is_refused(line: str) -> None:
    with pytest.raises(ToolError) as caught:
        wheels.parse(f"# comment\n{line}\n", "lines/x.txt")
    assert (caught.value.id, caught.value.where) == ("bad-file", "lines/x.txt:2")


def test_the_committed_pins_hold_each_line_and_its_bounds() -> None:
    every = bounds.load()
    for name, line in load().lines.items():
        pins = {pin.name: pin for pin in wheels.pins(name)}
        assert pins["prefect"].version == line.prefect
        for requirement in bounds.requirements(bounds.applying(every, line.prefect)):
            assert requirement.specifier.contains(pins[requirement.name].version), (
                f"scripts/channel pin {name}: {requirement}"
            )


@pytest.mark.parametrize(
    ("debian", "expected"),
    [
        ("1:1.2.13.dfsg-1", "1.2.13"),
        ("3.0.22-1~deb12u2", "3.0.22"),
        ("20250419~deb12u2", "2025.4.19"),
        ("2026f-0+deb12u1", "2026f"),
        ("8.2-1.3", "8.2"),
        ("1:1.3.dfsg+really1.3.1-1+b1", "1.3.1"),
    ],
)
def test_upstream_versions(debian: str, expected: str) -> None:
    assert base.conda_version(debian) == expected


@pytest.mark.parametrize("release", RELEASES.values(), ids=str)
def test_base_table_is_complete(release: Release) -> None:
    table = {entry.name: entry for entry in base.table(release)}
    for entry in table.values():
        assert set(entry.depends) <= set(table), entry.name
        assert re.search(r"\w", entry.license)
