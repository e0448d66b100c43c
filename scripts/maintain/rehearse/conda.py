"""Sets of conda packages in the words of :mod:`culprit`: names, versions and requirements as the Python index has them.

conda's names know letters that a requirement does not (``_openmp_mutex``), and its constraints are of builds as much as
of versions. What cannot be said in a requirement is left out: the solver, which makes each mixture, knows it anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from maintain.channel.locked import ROOTS, index_name, part_of
from maintain.lock.package import Package
from maintain.rehearse.culprit import Culprit

Item = tuple[str, str]
"""(key, version)"""


def key(name: str) -> str:
    """conda's name as a requirement may have it: ``typing_extensions`` and ``typing-extensions`` are one."""
    return str(canonicalize_name(name.lstrip("_")))


def versions(packages: Iterable[Package]) -> dict[str, str]:
    """What :func:`culprit.find` takes for a set."""
    found: dict[str, str] = {}
    for package in sorted(packages, key=lambda package: package.name):
        found.setdefault(key(package.name), package.version)
    return found


@dataclass(frozen=True)
class Metadata:
    """What the packages of the set that runs and of the one that fails say."""

    specs: Mapping[Item, list[str]]
    """The match specs of an item; packages that share a key have it of the same set, so that they move as one."""
    lines: Mapping[Item, list[str]]

    @classmethod
    def of(cls, *sets: Iterable[Package]) -> Metadata:
        """That of all sets."""
        specs: dict[Item, list[str]] = {}
        lines: dict[Item, set[str]] = {}
        for packages in map(list, sets):
            taken = versions(packages)
            asked: dict[Item, set[str]] = {}
            for package in packages:
                item = (key(package.name), taken[key(package.name)])
                spec = f"{package.name} =={package.version}"
                if spec not in specs.setdefault(item, []):
                    specs[item].append(spec)
                asked.setdefault(item, set()).update(filter(None, map(requirement, package.depends)))
            for item, said in asked.items():
                # Of two builds of one version only what both ask for is the version's.
                lines[item] = lines.get(item, said) & said
        return cls(specs, {item: sorted(said) for item, said in lines.items()})

    def requires(self, name: str, version: str) -> list[str]:
        """The :data:`culprit.Requires` of these sets."""
        return self.lines.get((name, version), [])


def requirement(depends: str) -> str | None:
    """What one of a record's ``depends`` asks of a version; None for what is of the build or of the host.

    The build is chosen for the Python that is there, so no package's version asks for one.
    """
    name, _, rest = depends.partition(" ")
    if name.startswith("__") or name in ROOTS:
        return None
    constraint = rest.strip().partition(" ")[0]
    if "|" in constraint:  # alternatives have no equal in a requirement
        constraint = ""
    line = f"{key(name)} {','.join(filter(None, map(_clause, constraint.split(','))))}".strip()
    try:
        Requirement(line)
    except InvalidRequirement:  # a version such as 9e, which the index could not have
        return key(name)
    return line


def _clause(text: str) -> str:
    """``1.2.*`` and ``=1.2`` as ``~=1.2.0``, for ``==`` ties two packages together; ``1.2`` as ``==1.2``."""
    if text in ("", "*"):
        return ""
    if text[0] in "<>!~" or text.startswith("=="):
        # conda takes >=1.2.* for >=1.2.
        return text.removesuffix(".*") if text[0] in "<>" else text
    if text.startswith("=") or text.endswith(".*"):
        return f"~={text.removeprefix('=').removesuffix('.*')}.0"
    return f"=={text}"


def named(found: Culprit, *sets: Iterable[Package]) -> tuple[Culprit, frozenset[str]]:
    """The culprit in the index's names, and those of it that go by conda's name, as they are not of Python."""
    every = [package for packages in sets for package in packages]
    of_python = {name for name, _ in part_of(every).packages}
    moved: dict[str, tuple[str | None, str | None]] = {}
    native = set()
    for package in sorted(every, key=lambda package: package.name):
        if key(package.name) in found.moved:
            name = index_name(package.name) if package.name in of_python else None
            moved[name or package.name] = found.moved[key(package.name)]
            if name is None:
                native.add(package.name)
    return Culprit(moved, found.tries), frozenset(native)
