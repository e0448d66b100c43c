"""Which of the packages that moved makes a set dead: bisection between a set that runs and one that does not.

Packages that name each other exactly (pydantic and pydantic-core) move together, and a mixture in which a package's
own metadata refuses another's version is mended before it is tried, so that only what nobody declared is blamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Versions = Mapping[str, str]
"""Project -> version of a set."""
Requires = Callable[[str, str], Iterable[str]]
"""(project, version) -> the ``Requires-Dist`` lines that hold, without those of extras."""
Dead = Callable[[dict[str, str]], bool]
"""Tries a set; True if it fails."""


@dataclass(frozen=True)
class Culprit:
    """What is to blame: projects that moved together, each with the version before (None: it was not there)."""

    moved: dict[str, tuple[str | None, str | None]]
    tries: int

    @property
    def sure(self) -> bool:
        """Whether one project alone is to blame."""
        return len(self.moved) == 1


def find(good: Versions, bad: Versions, dead: Dead, requires: Requires) -> Culprit:
    """The smallest group of moved projects with which the set is dead and without which it is not.

    ``good`` is known to run and ``bad`` to fail. Each step halves what may be to blame; where neither half alone fails,
    it takes both, and what is named has several projects.
    """
    groups = _groups(good, bad, requires)
    memory: dict[frozenset[str], bool] = {}

    def fails(chosen: Iterable[frozenset[str]]) -> bool:
        names = frozenset().union(*chosen)
        mixture = mended(good, bad, names, requires)
        taken = frozenset(name for name in _moved(good, bad) if mixture.get(name) == bad.get(name))
        if taken not in memory:
            memory[taken] = dead(mixture)
        return memory[taken]

    names = _heads(sorted(frozenset().union(*_minimal(groups, fails))), (good, bad), requires)
    return Culprit({name: (good.get(name), bad.get(name)) for name in names}, len(memory))


def _heads(names: list[str], sides: Iterable[Versions], requires: Requires) -> list[str]:
    """Those of ``names`` that no other of them pins exactly: who holds pydantic holds pydantic-core too."""
    pinned = {
        other
        for versions in sides
        for name in names
        if name in versions
        for other in _exact(requires(name, versions[name]))
    }
    return [name for name in names if name not in pinned] or names


def _exact(lines: Iterable[str]) -> Iterator[str]:
    """The projects that requirements pin exactly."""
    for requirement in map(Requirement, lines):
        if any(item.operator in ("==", "===") for item in requirement.specifier):
            yield str(canonicalize_name(requirement.name))


def _minimal(groups: list[frozenset[str]], fails: Callable[[list[frozenset[str]]], bool]) -> list[frozenset[str]]:
    """A smallest failing selection: halves first, as one group is nearly always enough (Zeller's ddmin)."""
    size = 2
    while len(groups) > 1:
        chunks = _split(groups, size)
        smaller = next((chunk for chunk in chunks if fails(chunk)), None)
        if smaller is None and size > 2:
            rests = ([group for group in groups if group not in chunk] for chunk in chunks)
            smaller = next((rest for rest in rests if fails(rest)), None)
        if smaller is not None:
            groups, size = smaller, 2
        elif size < len(groups):
            size = min(2 * size, len(groups))
        else:
            break
    return groups


def _split(groups: list[frozenset[str]], size: int) -> list[list[frozenset[str]]]:
    size = min(size, len(groups))
    bounds = [len(groups) * number // size for number in range(size + 1)]
    return [groups[start:end] for start, end in pairwise(bounds)]


def _moved(good: Versions, bad: Versions) -> list[str]:
    return sorted(name for name in {*good, *bad} if good.get(name) != bad.get(name))


def _groups(good: Versions, bad: Versions, requires: Requires) -> list[frozenset[str]]:
    """The moved projects, those together that pin each other exactly on either side."""
    moved = _moved(good, bad)
    group = {name: frozenset({name}) for name in moved}
    for versions in (good, bad):
        for name in moved:
            for other in _exact(requires(name, versions[name])) if name in versions else ():
                if other in group:
                    joined = group[name] | group[other]
                    group |= dict.fromkeys(joined, joined)
    return list(dict.fromkeys(group[name] for name in moved))


def mended(good: Versions, bad: Versions, chosen: frozenset[str], requires: Requires) -> dict[str, str]:
    """``good`` with the ``chosen`` projects as in ``bad``, and with what those need of it by their metadata."""
    taken = set(chosen)
    mixture: dict[str, str] = {}
    while True:
        mixture = {name: version for name, version in good.items() if name not in taken}
        mixture |= {name: bad[name] for name in taken if name in bad}
        refused = [
            (name, other)
            for name in mixture
            for line in requires(name, mixture[name])
            if (other := _refused(line, mixture))
        ]
        # What refuses goes over to the new side too where the refused one has gone already.
        needed = {other if other not in taken else name for name, other in refused}
        needed = {name for name in needed if name not in taken and good.get(name) != bad.get(name)}
        if not needed:
            return mixture
        taken |= needed


def _refused(line: str, mixture: Versions) -> str | None:
    """The project of a requirement that the mixture does not meet, None if it does."""
    requirement = Requirement(line)
    name = str(canonicalize_name(requirement.name))
    version = mixture.get(name)
    if version is not None and requirement.specifier.contains(version, prereleases=True):
        return None
    return name
