"""The Python part of a locked environment: which projects of the Python index, at which versions, stand for it.

conda-forge's packages cannot be had everywhere; the wheels of the same versions can. ``locked.toml`` says where the
two call a package otherwise, and what no wheel stands for.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.utils import canonicalize_name

from maintain.channel import specs
from maintain.lock.package import Package

ROOTS = frozenset({"python", "python_abi"})
"""What a package of Python code depends on."""


@dataclass(frozen=True)
class Part:
    """The Python part of one environment on one platform."""

    python: str
    """The lock's own Python, for example ``3.13.14``."""
    packages: tuple[tuple[str, str], ...]
    """conda's names and versions, sorted: all of the part, also what no wheel stands for."""

    @property
    def digest(self) -> str:
        """Changes when a version does, not with a build; the same on platforms that have the same versions."""
        return hashlib.sha256("\n".join(f"{name} {version}" for name, version in self.packages).encode()).hexdigest()

    @property
    def projects(self) -> dict[str, str]:
        """Project of the Python index -> version."""
        return {project: version for name, version in self.packages if (project := index_name(name))}

    @property
    def left_out(self) -> dict[str, str]:
        """conda's name -> why no wheel stands for it."""
        return {name: _tables()["nothing"][name] for name, _ in self.packages if not index_name(name)}

    def version(self, project: str) -> str | None:
        """The version of a project of the Python index, None where it is not of the part."""
        return self.projects.get(project)


def part_of(packages: Iterable[Package]) -> Part:
    """The Python part of a locked environment's packages: whatever depends on Python."""
    packages = list(packages)
    python = next((package.version for package in packages if package.name == "python"), "")
    found = {
        (package.name, package.version)
        for package in packages
        if package.name != "python" and any(text.split()[0] in ROOTS for text in package.depends)
    }
    return Part(python, tuple(sorted(found)))


def index_name(name: str) -> str | None:
    """The Python index's name of conda-forge's package ``name``; None where no wheel stands for it."""
    tables = _tables()
    if name in tables["nothing"]:
        return None
    return tables["index"].get(name) or str(canonicalize_name(_converted().get(name, name)))


@cache
def _tables() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name("locked.toml").read_text(encoding="utf-8"))


@cache
def _converted() -> dict[str, str]:
    """conda's names -> the index's, of the packages that the stand-in names otherwise."""
    return {conda: project for project, conda in specs.names().items()}
