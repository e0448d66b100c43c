"""Read a project's ``uv.lock``: which files, by hash, a set of requirements needs.

The format: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile (TOML; ``[[package]]`` with name, version,
dependencies with markers and extras, optional-dependencies, and sdist and wheels with hashes).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from maintain.lib.errors import ToolError


@dataclass(frozen=True, order=True)
class Locked:
    """A package of the lock: ``name==version --hash=...``, and whether it has a wheel or must be built."""

    line: str
    wheel: bool

    @property
    def pin(self) -> str:
        """``name==version``."""
        return self.line.partition(" ")[0]


def missing(
    path: Path, wanted: Iterable[Requirement], present: Collection[str], environment: Mapping[str, str]
) -> list[Locked]:
    """What ``wanted`` needs, all levels down, and is not ``present``; sorted.

    ``present`` are normalised project names; their own requirements are met, those of extras are looked at.
    ``environment`` holds the marker variables. Raises ``no-hash`` where there is no lock or a package is not in it.
    """
    found: set[Locked] = set()
    packages = _packages(path)
    queue = [(str(canonicalize_name(item.name)), frozenset(item.extras)) for item in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name in present and not extras:
            continue
        entry = _chosen(packages.get(name, []), name, path, environment)
        needs = [need for extra in extras for need in entry.get("optional-dependencies", {}).get(extra, [])]
        if name not in present:
            found.add(_locked(entry, path))
            needs += entry.get("dependencies", [])
        queue += [(need["name"], frozenset(need.get("extra", []))) for need in needs if _holds(need, environment)]
    return sorted(found)


def _packages(path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        try:
            for entry in tomllib.loads(path.read_text(encoding="utf-8"))["package"]:
                found.setdefault(entry["name"], []).append(entry)
        except (ValueError, KeyError, TypeError) as error:
            raise ToolError("bad-file", "this is no uv.lock", where=str(path), why=str(error)) from error
    return found


def _chosen(entries: list[dict[str, Any]], name: str, path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The entry for this Python and platform; a package may be locked in several versions."""
    for entry in entries:
        markers = entry.get("resolution-markers", [])
        if not markers or any(Marker(marker).evaluate(dict(environment)) for marker in markers):
            return entry
    raise ToolError(
        "no-hash",
        f"the channel lacks {name}, and no uv.lock says which file of it to trust",
        where=str(path),
        fix="run `uv lock` in the checkout, or name a channel that has it",
    )


def _holds(need: dict[str, Any], environment: Mapping[str, str]) -> bool:
    return "marker" not in need or Marker(need["marker"]).evaluate(dict(environment))


def _locked(entry: dict[str, Any], path: Path) -> Locked:
    files = [*entry.get("wheels", []), *([entry["sdist"]] if "sdist" in entry else [])]
    hashes = sorted({file["hash"] for file in files if "hash" in file})
    if not hashes:
        raise ToolError("no-hash", f"{entry['name']} is locked without a hash", where=str(path))
    line = " ".join([f"{entry['name']}=={entry['version']}", *(f"--hash={one}" for one in hashes)])
    return Locked(line, bool(entry.get("wheels")))
