"""What a stand-in channel is made for: a line's pins, or those of a locked environment's Python part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maintain.channel.locked import Part, part_of
from maintain.channel.wheels import Pin, parse, pins, requirement
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK, ROOT
from maintain.lock import lockfile
from maintain.lock.package import solution

SUBDIR = "linux-64"
"""The platform whose versions a stand-in has: it is made on it."""

PATH = "envs/wheels.txt"
"""Where the wheels are pinned that stand for the locked Python packages, below the clone's root."""

WHEELS = ROOT / PATH

REPAIR = "scripts/rehearse --pins"


@dataclass(frozen=True)
class PinSet:
    """Wheels that are installed together."""

    name: str
    """``line 3`` or ``environment default``"""
    pins: tuple[Pin, ...]
    ours: bool
    """Whether recipe/ packages its Prefect, so that its wheel is not converted."""
    where: str
    """The file that holds the pins."""


def of_line(line: str) -> PinSet:
    """The set of a line of ``recipe/``; raises ``bad-usage``."""
    return PinSet(f"line {line}", tuple(pins(line)), ours=True, where=f"recipe/lines/{line}.txt")


def of_environment(name: str, lock: Path = LOCK, wheels: Path = WHEELS) -> PinSet:
    """The set of a locked environment's Python part; raises ``bad-usage`` (not locked) and ``bad-file`` (no pins)."""
    return of_part(f"environment {name}", locked_part(name, lock), wheels)


def locked_part(name: str, lock: Path = LOCK, subdir: str = SUBDIR) -> Part:
    """The Python part of the environment ``name`` as it is locked for ``subdir``; raises ``bad-usage``."""
    found = solution(lockfile.read(lock).records)
    if (name, subdir) not in found:
        known = ", ".join(sorted({environment for environment, _ in found}))
        raise ToolError(
            "bad-usage", f"there is no environment {name} for {subdir}", where=str(lock), why=f"locked: {known}"
        )
    return part_of(found[name, subdir])


def of_part(name: str, part: Part, wheels: Path = WHEELS) -> PinSet:
    """The set of a Python part by the pins of the file ``wheels``; raises ``bad-file`` if one is not pinned."""
    pinned = {(pin.name, pin.version): pin for pin in read(wheels)}
    missing = [f"{name} {version}" for name, version in part.projects.items() if (name, version) not in pinned]
    if missing:
        raise ToolError("bad-file", f"no wheel is pinned of {', '.join(missing[:5])}", where=str(wheels), fix=REPAIR)
    return PinSet(name, tuple(pinned[item] for item in part.projects.items()), ours=False, where=str(wheels))


def read(wheels: Path = WHEELS) -> list[Pin]:
    """The pins of ``envs/wheels.txt``; none where there is no such file."""
    return parse(wheels.read_text(encoding="utf-8"), str(wheels)) if wheels.is_file() else []


def text(pinned: Iterable[Pin]) -> str:
    """The file's text, sorted."""
    head = (
        "# The wheels that stand for the locked Python packages where conda-forge's own cannot be had, in rehearsals\n"
        "# and in the stand-in channel: one for each Python. Written by scripts/lock and scripts/rehearse.\n"
    )
    return head + "".join(sorted(map(requirement, pinned)))
