"""What a line's packages are made from: the wheels' metadata as committed, and what is known of the line.

``recipe/lines/LINE.metadata.json`` holds what the recipes need to know of the pinned wheels, so that rendering and
checking need no network: name and sha256 of the wheels that we build, Prefect's ``Requires-Dist``, entry points,
and the ``Requires-Dist`` of those projects whose extras Prefect asks for.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from maintain import bounds
from maintain.channel.specs import conda_name, dependencies
from maintain.channel.wheels import Wheel, pins
from maintain.lib.errors import ToolError
from maintain.lib.files import explained
from maintain.lib.paths import RECIPES
from maintain.manifest import Line as ManifestLine
from maintain.manifest import load as load_manifest

BUILT = ("prefect", "graphviz")
"""The projects whose wheels our recipes package themselves; a line need not have all of them."""

BINDING = "prefect-graphviz"
"""Our package of graphviz's Python binding, which stands where conda-forge's would."""

GRAPHVIZ = conda_name("graphviz")

PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "osx": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "win": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
"""The marker variables of each kind of platform."""

LINES = "lines.toml"
"""The file of what is known of each line, in ``recipe/``."""

MINORS = tuple(f"3.{minor}" for minor in range(8, 20))


@dataclass(frozen=True)
class Span:
    """Consecutive Python versions for which Prefect asks for the same packages: one noarch build."""

    python: str
    """conda's version constraint, for example ``>=3.10,<3.13``."""
    requires: tuple[str, ...]
    """Match specs, sorted."""


@dataclass(frozen=True)
class Support:
    """How long a line lasts and where it was run."""

    released: date
    support: str
    """What Prefect's makers do for it."""
    source: str
    """Who says so."""
    ran: tuple[str, ...]
    """The Python versions on which it was run, for example ``3.11``, in order."""
    series: str
    """The newest release of the line's series (:func:`series`)."""
    newest: str
    """The newest release of Prefect."""
    looked: date
    """When the two were looked up."""
    behind: str
    """Why the line is not at Prefect's newest; empty if it is."""
    unfollowed: tuple[str, ...]
    """What of Prefect's companions does not go with it, in a few words each."""


@dataclass(frozen=True)
class Line:
    """One line of ``pixi.toml`` with its data from ``recipe/``."""

    name: str
    prefect: str
    python: str
    """Version constraint of Python from the manifest."""
    bounds: tuple[Requirement, ...]
    constraints: tuple[str, ...]
    """Match specs of packages that must not be beside it, though it does not ask for them."""
    metadata: dict[str, Any]
    support: Support | None = None
    """None where the line is not one of ours: a revision, a test's."""

    @property
    def wheels(self) -> dict[str, dict[str, str]]:
        """Project -> ``file`` and ``sha256`` of its wheel, for the projects of :data:`BUILT`."""
        wheels: dict[str, dict[str, str]] = self.metadata["wheels"]
        return wheels

    @property
    def draws(self) -> bool:
        """Whether this Prefect uses graphviz's binding."""
        return "graphviz" in self.wheels

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The line's Python versions, grouped by what Prefect asks for there.

        A noarch package cannot hold markers, so one is built for each group. Markers on the platform would need
        packages per platform; none of the lines has any, and one that appears is an error.
        """
        groups: list[tuple[list[str], tuple[str, ...]]] = []
        for minor in MINORS:
            if not SpecifierSet(self.python).contains(minor):
                continue
            wanted = {self._requires(minor, platform) for platform in PLATFORMS}
            if len(wanted) > 1:
                raise ToolError(
                    "bad-file",
                    f"Prefect {self.prefect} asks for other packages on some platforms; a noarch package cannot say so",
                    where=str(metadata_file(self.name)),
                    fix="teach maintain/recipes to build it per platform",
                )
            requires = wanted.pop()
            if groups and groups[-1][1] == requires:
                groups[-1][0].append(minor)
            else:
                groups.append(([minor], requires))
        return tuple(Span(f">={minors[0]},<{_after(minors[-1])}", requires) for minors, requires in groups)

    def _requires(self, minor: str, platform: str) -> tuple[str, ...]:
        requires = self.metadata["requires"]
        texts = _bounded(requires["prefect"], self.bounds)
        specs = dependencies(texts, markers(minor, platform), lambda project: requires[project])
        return tuple(
            sorted(BINDING + spec.removeprefix(GRAPHVIZ) if spec.split()[0] == GRAPHVIZ else spec for spec in specs)
        )


def series(line: str) -> tuple[str, bool]:
    """The releases that ``line`` is of, as a specifier, and whether it moves along with them.

    "3" is any 3, "2.20" any 2.20; a line that is named after one release (2.8.6) stays at it.
    """
    parts = line.split(".")
    return f"=={'.'.join(parts[:2])}.*", len(parts) < 3


def markers(minor: str, platform: str) -> dict[str, str]:
    """The marker variables of CPython ``minor`` on a kind of platform (:data:`PLATFORMS`)."""
    return {
        **PLATFORMS[platform],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "implementation_version": f"{minor}.0",
        "python_full_version": f"{minor}.0",
        "python_version": minor,
        "platform_machine": "",
        "platform_release": "",
        "platform_version": "",
    }


def load_lines() -> tuple[Line, ...]:
    """Every line of the manifest. Raises ``bad-file`` where its data is missing or cannot be read."""
    path, every = RECIPES / LINES, bounds.load(RECIPES)
    with explained(path):
        text = path.read_text(encoding="utf-8")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ToolError("bad-file", "this is not TOML", where=str(path), why=str(error)) from error
    lines = load_manifest().lines
    if strays := {key for key, value in data.items() if isinstance(value, dict)} - lines.keys():
        raise ToolError("bad-file", f"no such line in pixi.toml: {', '.join(sorted(strays))}", where=str(path))
    return tuple(
        Line(
            line.name,
            line.prefect,
            line.python,
            bounds.requirements(bounds.applying(every, line.prefect)),
            bounds.constraints(bounds.applying(every, line.prefect)),
            _metadata(line.name, line.prefect),
            _support(line, data, path),
        )
        for line in lines.values()
    )


def metadata_file(line: str) -> Path:
    """What is committed of the metadata of ``line``'s wheels."""
    return RECIPES / "lines" / f"{line}.metadata.json"


def collect(wheel_of: Callable[[str], Wheel | None]) -> str:
    """The text of :func:`metadata_file`, read from the wheels that ``wheel_of`` gives for project names.

    ``wheel_of`` returns None for a project that the line does not pin.
    """
    prefect = wheel_of("prefect")
    if prefect is None:
        raise ToolError("bad-file", "the line does not pin prefect", fix="scripts/channel pin")
    requires: dict[str, list[str]] = {"prefect": [text for text in prefect.requires if not _of_an_extra(text)]}
    queue = [Requirement(text) for text in requires["prefect"]]
    while queue:
        requirement = queue.pop()
        project = str(canonicalize_name(requirement.name))
        for extra in sorted(requirement.extras):
            wheel = wheel_of(project)
            if wheel is None:
                raise ToolError("bad-file", f"the line does not pin {project}", fix="scripts/channel pin")
            asked = [text for text in wheel.requires if _of_an_extra(text, extra)]
            requires.setdefault(project, []).extend(asked)
            queue += [Requirement(text) for text in asked]
    scripts = configparser.ConfigParser(delimiters=("=",))
    scripts.read_string(prefect.text("entry_points.txt") or "[console_scripts]")
    built = {name: wheel for name in BUILT if (wheel := wheel_of(name))}
    data = {
        "wheels": {name: {"file": wheel.path.name, "sha256": wheel.sha256} for name, wheel in built.items()},
        "versions": {name: wheel.pin.version for name, wheel in built.items()},
        "entry_points": [f"{name} = {target}" for name, target in scripts["console_scripts"].items()],
        "requires": requires,
    }
    return json.dumps(data, indent=2) + "\n"


def _metadata(line: str, prefect: str) -> dict[str, Any]:
    path, pinned = metadata_file(line), {pin.name: pin for pin in pins(line)}
    fix = f"scripts/recipe fetch --line {line}"
    there = pinned["prefect"].version if "prefect" in pinned else "none"
    if there != prefect:
        raise ToolError(
            "bad-file",
            f"pixi.toml has Prefect {prefect} for line {line}, its pins have {there}",
            fix=f"scripts/channel pin {line} && {fix} && scripts/recipe render",
        )
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {name: (data["versions"][name], wheel["sha256"]) for name, wheel in data["wheels"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(
            "bad-file", f"no usable metadata of line {line}", where=str(path), why=str(error), fix=fix
        ) from error
    wanted = {name: pinned[name] for name in BUILT if name in pinned}
    if found.keys() != wanted.keys() or any(
        found[name] not in [(pin.version, sha256) for sha256 in pin.hashes] for name, pin in wanted.items()
    ):
        raise ToolError(
            "bad-file", f"the metadata of line {line} is not of the pinned wheels", where=str(path), fix=fix
        )
    return data


def _of_an_extra(text: str, extra: str | None = None) -> bool:
    """Whether a ``Requires-Dist`` holds only with an extra (with ``extra``, if given)."""
    marker = Requirement(text).marker
    if marker is None or "extra" not in str(marker):
        return False
    return extra is None or f'extra == "{extra}"' in str(marker)  # packaging spells markers in one way


def _bounded(texts: list[str], added: tuple[Requirement, ...]) -> list[str]:
    """``Requires-Dist`` lines with the line's bounds ``added`` to them; a project that is not asked for is appended."""
    found = [Requirement(text) for text in texts]
    for bound in added:
        same = [one for one in found if canonicalize_name(one.name) == canonicalize_name(bound.name)]
        for requirement in same:
            requirement.specifier = _tightest(requirement.specifier & bound.specifier)
        if not same:
            found.append(bound)
    return [str(requirement) for requirement in found]


def _tightest(specifiers: SpecifierSet) -> SpecifierSet:
    """``specifiers`` without upper bounds that a lower one makes needless."""
    uppers = sorted((item for item in specifiers if item.operator == "<"), key=lambda item: Version(item.version))
    return SpecifierSet([item for item in specifiers if item not in uppers[1:]])


def _support(line: ManifestLine, data: dict[str, Any], path: Path) -> Support:
    own, newest, looked = data.get(line.name, {}), data.get("newest"), data.get("looked")
    released, ran = own.get("released"), own.get("ran")
    texts = [str(own.get(key, "")).strip() for key in ("support", "source", "newest", "behind")]
    if not isinstance(released, date) or not all(texts[:3]) or not isinstance(ran, list):
        what = f"line {line.name} needs released, support, source, newest and ran"
        raise ToolError("bad-file", what, where=str(path))
    if not isinstance(looked, date) or not isinstance(newest, str):
        raise ToolError("bad-file", "newest and looked are missing", where=f"{path}:1", fix="scripts/bump --lines")
    if outside := [minor for minor in ran if minor not in MINORS or not SpecifierSet(line.python).contains(minor)]:
        why = f"pixi.toml: python {line.python}"
        raise ToolError(
            "bad-file", f"line {line.name} ran on {outside[0]}, outside its range", where=str(path), why=why
        )
    try:
        ordered = Version(line.prefect) <= Version(texts[2]) <= Version(newest)
    except InvalidVersion as error:
        raise ToolError("bad-file", f"line {line.name}: newest is no version", where=str(path)) from error
    if not ordered:
        what = (
            f"line {line.name} is at {line.prefect}, its series at {texts[2]}, Prefect at {newest}: one of them is old"
        )
        raise ToolError("bad-file", what, where=str(path), fix="scripts/bump --lines")
    if bool(texts[3]) == (line.prefect == newest):
        what = f"line {line.name} must say why it is behind" if not texts[3] else f"line {line.name} is not behind"
        raise ToolError("bad-file", what, where=str(path), why=f"Prefect's newest is {newest}", fix="correct behind")
    support, source, newest_of_series, behind = texts
    return Support(
        released=released,
        support=support,
        source=source,
        ran=tuple(sorted(ran, key=MINORS.index)),
        series=newest_of_series,
        newest=newest,
        looked=looked,
        behind=behind,
        unfollowed=tuple(map(str, own.get("unfollowed", ()))),
    )


def _after(minor: str) -> str:
    major, _, number = minor.partition(".")
    return f"{major}.{int(number) + 1}"
