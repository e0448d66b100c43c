"""Which package of a prefix is known to leave its Prefect's server up and dead."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from maintain.lib.paths import RUNTIME

BOUNDS = RUNTIME / "prefect_env" / "data" / "bounds.json"
"""A list of objects: for the Prefects of the specifier ``prefect``, the package ``name`` has to be in ``specifier``,
which is ``conda`` as conda's match spec, with ``reason`` and ``source``."""


@dataclass(frozen=True)
class Blame:
    """An installed package outside of a bound; ``requirement`` is what mends it, for conda the match spec ``conda``."""

    package: str
    requirement: str
    conda: str
    reason: str
    source: str

    def __str__(self) -> str:
        return f"{self.package} is to blame: {self.reason} ({self.source})"


def blame(prefix: Path, bounds: Path | None = None) -> list[Blame]:
    """The packages of ``prefix`` that the known ``bounds`` rule out with its Prefect."""
    path = bounds or BOUNDS
    if not path.is_file():
        return []
    found = versions(prefix)
    prefect = found.get("prefect")
    blamed = []
    for entry in json.loads(path.read_text()) if prefect else ():
        name, version = entry["name"], found.get(canonicalize_name(entry["name"]))
        if version and _in(prefect, entry["prefect"]) and not _in(version, entry["specifier"]):
            requirement = name + entry["specifier"]
            conda = entry.get("conda", requirement)
            blamed.append(Blame(f"{name} {version}", requirement, conda, entry["reason"], entry["source"]))
    return blamed


def mend(prefix: Path, blamed: list[Blame]) -> str:
    """The command that brings the packages of ``blamed`` into their bounds."""
    if (prefix / "conda-meta").is_dir():
        return " ".join([f'conda install --prefix "{prefix}"', *(f'"{one.conda}"' for one in blamed)])
    python = next((path for path in (prefix / "bin/python", prefix / "Scripts/python.exe") if path.exists()), "python")
    return " ".join([f'"{python}" -m pip install', *(f'"{one.requirement}"' for one in blamed)])


def versions(prefix: Path) -> dict[str, str]:
    """The versions of the packages in ``prefix`` by normal name: conda's records, and Python's own metadata over them.

    Some have one name here and another there (redis, redis-py), so both are kept.
    """
    found: dict[str, str] = {}
    for path in prefix.glob("conda-meta/*.json"):
        record = json.loads(path.read_bytes())
        found[canonicalize_name(record["name"])] = record["version"]
    for site in (*prefix.glob("lib/python3.*/site-packages"), prefix / "Lib" / "site-packages"):
        found |= {canonicalize_name(one.name): one.version for one in distributions(path=[str(site)]) if one.name}
    return found


def _in(version: str | None, specifier: str) -> bool:
    return SpecifierSet(specifier).contains(Version(str(version)), prereleases=True)
