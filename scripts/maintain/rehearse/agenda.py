"""What has to be rehearsed: the Python parts of the locked environments, each once, and on what each is tried."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from packaging.version import Version

from maintain.channel.locked import Part, part_of
from maintain.channel.release import BOOKWORM, TRIXIE, Release
from maintain.channel.sets import SUBDIR
from maintain.lock.package import Package, Solution
from maintain.manifest import Manifest

SQLITE, POSTGRESQL, NONE = "sqlite", "postgresql", "none"
"""What an environment's server keeps its runs in; an environment without Prefect has no server."""


@dataclass(frozen=True)
class Act:
    """A Python part that one or more environments share, and what those environments make of it."""

    part: Part
    places: tuple[tuple[str, str], ...]
    """(environment, conda subdir), sorted."""
    databases: tuple[str, ...]
    requested: tuple[str, ...]
    """The packages that the environments ask for by name, of conda's names."""
    wholes: tuple[str, ...] = ()
    """The digest of all packages of each place, not of the Python part alone: what a run of genuine packages is of."""

    def whole(self, environment: str, subdir: str) -> str | None:
        """The digest of all packages of one of the places."""
        return dict(zip(self.places, self.wholes, strict=False)).get((environment, subdir))

    @property
    def prefect(self) -> str | None:
        """The version of Prefect, None without it."""
        return self.part.version("prefect")

    @property
    def releases(self) -> tuple[Release, ...]:
        """Where it is tried: on the Python of the lock's minor version, and the stand-in's own on the older too."""
        return (TRIXIE, BOOKWORM) if any(subdir == SUBDIR for _, subdir in self.places) else (TRIXIE,)

    @property
    def title(self) -> str:
        """Its places in short: ``default, server on linux-64; default on osx-64``."""
        subdirs: dict[str, list[str]] = {}
        for environment, subdir in self.places:
            subdirs.setdefault(subdir, []).append(environment)
        return "; ".join(f"{', '.join(names)} on {subdir}" for subdir, names in subdirs.items())


def agenda(solution: Solution, named: Collection[str] = (), wanted: Collection[str] = ()) -> list[Act]:
    """The acts of the environments ``wanted`` (all without any), those with an older Prefect first.

    ``named`` are the packages that the manifest names (:func:`requested`).
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    parts: dict[str, Part] = {}
    for place, packages in solution.items():
        if not wanted or place[0] in wanted:
            part = part_of(packages)
            parts[part.digest] = part
            groups.setdefault(part.digest, []).append(place)
    acts = []
    for digest, places in groups.items():
        names = {package.name for place in places for package in solution[place]}
        databases = {_database({package.name for package in solution[place]}) for place in places}
        own = tuple(sorted(names.intersection(named)))
        wholes = tuple(whole(solution[place]) for place in sorted(places))
        acts.append(Act(parts[digest], tuple(sorted(places)), tuple(sorted(databases, reverse=True)), own, wholes))
    return sorted(acts, key=lambda act: (Version(act.prefect or "999"), act.title))


def whole(packages: Iterable[Package]) -> str:
    """A digest of all packages of an environment, builds and files included."""
    return hashlib.sha256("\n".join(sorted(f"{one.url} {one.sha256}" for one in packages)).encode()).hexdigest()


def requested(manifest: Manifest) -> frozenset[str]:
    """The packages that the manifest names, for whatever environment."""
    return frozenset(
        name
        for environment in manifest.environments.values()
        for subdir in environment.platforms
        for name in environment.specs(subdir)
    )


def _database(names: Collection[str]) -> str:
    if "prefect" not in names:
        return NONE
    return POSTGRESQL if "postgresql" in names else SQLITE
