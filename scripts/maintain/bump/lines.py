"""Move the lines of ``recipe/`` to the newest Prefect of their series, and say how far each is behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import tomlkit
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from maintain import revisions
from maintain.bump import companions, index
from maintain.channel.pin import RESOLVED, pin
from maintain.channel.wheels import Pin, Wheel
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, explained
from maintain.lib.paths import MANIFEST, RECIPES
from maintain.manifest import Line, Manifest, load
from maintain.recipes import render
from maintain.recipes.fetch import fetch_line
from maintain.recipes.lines import LINES, MINORS, metadata_file, series

LEAST = Version(MINORS[0])
"""The oldest Python for which a line is built."""


@dataclass(frozen=True)
class Move:
    """A line that goes to another Prefect."""

    line: str
    old: str
    new: str
    released: date
    python: str = ""
    """The Pythons of the new one, as conda's constraint."""


@dataclass
class Report:
    """What a run found and did."""

    newest: str
    looked: date
    series: dict[str, str]
    moved: list[Move] = field(default_factory=list)
    unfollowed: dict[str, list[str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report for ``--json``."""
        moved = [{**asdict(move), "released": str(move.released)} for move in self.moved]
        return {**asdict(self), "looked": str(self.looked), "moved": moved}

    def lines(self) -> list[str]:
        """The report for a terminal, with what is left to do by hand."""
        found = [f"Prefect's newest is {self.newest}"]
        found += [f"line {name}: {newest} is newest of its series" for name, newest in self.series.items()]
        found += self.changelog()
        for move in self.moved:
            found.append(f"run it: scripts/recipe pythons --line {move.line} PYTHON..., and list in `ran` what ran")
            found.append(f"read again what recipe/lines.toml says of line {move.line}: support, behind")
        found += [f"not followed, line {name}: {words}" for name, all_ in self.unfollowed.items() for words in all_]
        return found + [f"wrote {file}" for file in self.files]

    def changelog(self) -> list[str]:
        """The moves as items of the changelog."""
        found = []
        for move in self.moved:
            alone = "; ".join(self.unfollowed.get(move.line, ()))
            found.append(
                f"- Line {move.line}: Prefect {move.old} -> {move.new}, of {move.released}, for Python {move.python}"
                + (f"; not followed: {alone}" if alone else "")
            )
        return found


def bump(names: Sequence[str], today: date) -> Report:
    """Look up every line, move those of ``names`` (all without any), record how far each is behind.

    A line that is named after one release stays at it. If anything fails, every file is as it was.
    """
    manifest = load()
    if unknown := [name for name in names if name not in manifest.lines]:
        raise ToolError("bad-usage", f"there is no line {unknown[0]}", why=f"lines: {', '.join(manifest.lines)}")
    report = look(manifest, today)
    for name in names or manifest.lines:
        if move := _move(manifest.lines[name], today):
            report.moved.append(move)
    with _all_or_nothing([name for name in manifest.lines if name in {move.line for move in report.moved}]) as changed:
        for number, move in enumerate(report.moved):
            say(f"line {move.line}: Prefect {move.old} -> {move.new} ...")
            report.moved[number] = _carry_out(move)
        ahead = max(load().lines.values(), key=lambda line: Version(line.prefect))
        say(f"asking which companions go with Prefect {ahead.prefect} ...")
        report.unfollowed[ahead.name] = companions.unfollowed(ahead.prefect)
        _record(report)
        render.write()
        if report.moved:
            atomic_write(revisions.DATA, revisions.document(revisions.wheels_of_lines()))
        report.files = changed()
    return report


def look(manifest: Manifest, today: date) -> Report:
    """The newest Prefect, and the newest of each line's series."""
    every = index.releases("prefect")
    found = {}
    for line in manifest.lines.values():
        own = [version for version in every if SpecifierSet(series(line.name)[0]).contains(version)]
        found[line.name] = str(max([*own, Version(line.prefect)]))
    return Report(str(every[0]), today, found)


def _move(line: Line, today: date) -> Move | None:
    """Where ``line`` can go, if anywhere."""
    releases, along = series(line.name)
    target = index.newest(f"prefect{releases}") if along else Version(line.prefect)
    if target <= Version(line.prefect):
        return None
    after: date = _read(RECIPES / LINES)[line.name]["released"]
    return Move(line.name, line.prefect, str(target), index.released("prefect", target, after, today))


def _carry_out(move: Move) -> Move:
    """Pin the release, take over its wheels' metadata, and its Pythons."""
    _edit(MANIFEST, lambda data: _line(data, move.line).update({"prefect": move.new}))
    pin(move.line)
    wheels = {path.name.partition("-")[0]: path for path in fetch_line(move.line)}
    declared = str(Wheel(wheels["prefect"], Pin("prefect", move.new, ())).metadata["Requires-Python"])
    python = pythons(declared, load().lines[move.line].python)
    _edit(MANIFEST, lambda data: _line(data, move.line).update({"python": python}))
    own = {"released": move.released, "ran": []}  # nothing of the new one has run yet
    _edit(RECIPES / LINES, lambda data: data[move.line].update(own))
    return Move(move.line, move.old, move.new, move.released, python)


def pythons(declared: str, before: str) -> str:
    """conda's constraint for a ``Requires-Python``; where it has no upper end, that of ``before`` stays."""
    ends: dict[str, Version] = {}
    for text in (before, declared):
        ends |= {item.operator: Version(item.version) for item in SpecifierSet(text) if item.operator in (">=", "<")}
    return f">={max(ends.get('>=', LEAST), LEAST)},<{ends['<']}"


def _record(report: Report) -> None:
    """Write what was found into ``recipe/lines.toml``."""
    at = {name: line.prefect for name, line in load().lines.items()}

    def change(data: Any) -> None:
        data["looked"], data["newest"] = report.looked, report.newest
        for name, newest in report.series.items():
            own = data[name]
            own["newest"] = newest
            own.pop("unfollowed", None)
            if report.unfollowed.get(name):
                own["unfollowed"] = report.unfollowed[name]
            if at[name] == report.newest:
                own.pop("behind", None)
            elif not own.get("behind"):
                another = f"{report.newest} is of another series, which is no line yet"
                own["behind"] = (
                    another if newest != report.newest else f"it is not to be had for Python {RESOLVED.python}"
                )

    _edit(RECIPES / LINES, change)


@contextmanager
def _all_or_nothing(moved: Sequence[str]) -> Iterator[Callable[[], list[str]]]:
    """Put back every file that a bump writes if it fails; the value tells which have changed."""
    paths = {MANIFEST, RECIPES / LINES, revisions.DATA, *(path for path, _ in render.rendered())}
    paths |= {path for name in moved for path in (RECIPES / "lines" / f"{name}.txt", metadata_file(name))}
    before = {path: path.read_bytes() if path.is_file() else None for path in sorted(paths)}

    def changed() -> list[str]:
        root = MANIFEST.parent
        there = (path for path, data in before.items() if (path.read_bytes() if path.is_file() else None) != data)
        return [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in there]

    try:
        yield changed
    except BaseException:
        for path, data in before.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                atomic_write(path, data)
        raise


def _line(data: Any, name: str) -> Any:
    return data["tool"]["prefect-env"]["lines"][name]


def _read(path: Path) -> Any:
    with explained(path):
        return tomlkit.parse(path.read_text(encoding="utf-8"))


def _edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a TOML file, its comments and order kept."""
    data = _read(path)
    change(data)
    text = tomlkit.dumps(data)
    atomic_write(path, re.sub(r"\n{3,}", "\n\n", text))
