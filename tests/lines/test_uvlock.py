"""Which packages of a uv.lock are taken beside a channel's, and that none is taken without a hash."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from maintain.edge.uvlock import missing
from maintain.lib.errors import ToolError
from maintain.recipes.lines import markers

LOCK = """\
[[package]]
name = "tool"
version = "1.0"
dependencies = [
  { name = "here" },
  { name = "old", marker = "python_full_version < '3.11'" },
  { name = "parted" },
  { name = "base", extra = ["fast"] },
]
wheels = [{ hash = "sha256:b" }, { hash = "sha256:a" }]

[[package]]
name = "parted"
version = "1.0"
resolution-markers = ["python_full_version < '3.11'"]
wheels = [{ hash = "sha256:1" }]

[[package]]
name = "parted"
version = "2.0"
resolution-markers = ["python_full_version >= '3.11'"]
sdist = { hash = "sha256:2" }

[[package]]
name = "base"
version = "1.0"
wheels = [{ hash = "sha256:3" }]
[package.optional-dependencies]
fast = [{ name = "tool" }, { name = "speed" }]

[[package]]
name = "speed"
version = "1.0"
wheels = [{ hash = "sha256:4" }]

[[package]]
name = "naked"
version = "1.0"
wheels = [{ url = "x" }]
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "uv.lock"
    path.write_text(LOCK)
    return path


def lines(lock: Path, wanted: str, *present: str) -> list[str]:
    return [one.line for one in missing(lock, [Requirement(wanted)], present, markers("3.11", "linux"))]


def test_what_the_channel_lacks_is_taken_with_all_its_hashes(lock: Path) -> None:
    assert lines(lock, "Tool", "here", "base") == [
        "parted==2.0 --hash=sha256:2",
        "speed==1.0 --hash=sha256:4",
        "tool==1.0 --hash=sha256:a --hash=sha256:b",
    ]


def test_what_is_present_is_left_alone_but_for_its_extras(lock: Path) -> None:
    assert lines(lock, "tool", "tool") == []
    assert lines(lock, "base[fast]", "base", "tool") == ["speed==1.0 --hash=sha256:4"]


def test_an_sdist_is_told_from_a_wheel(lock: Path) -> None:
    (one,) = missing(lock, [Requirement("parted")], (), markers("3.11", "linux"))
    assert (one.pin, one.wheel) == ("parted==2.0", False)


@pytest.mark.parametrize(
    ("text", "wanted", "error"),
    [
        (LOCK, "absent", "no-hash"),
        (LOCK, "naked", "no-hash"),
        (None, "tool", "no-hash"),
        ("[[package]", "tool", "bad-file"),
        ("version = 1", "tool", "bad-file"),
    ],
)
def test_nothing_is_taken_unverified(tmp_path: Path, text: str | None, wanted: str, error: str) -> None:
    path = tmp_path / "uv.lock"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ToolError) as caught:
        lines(path, wanted)
    assert (caught.value.id, caught.value.where) == (error, str(path))
