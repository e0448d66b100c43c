"""Requirements of the Python index in conda's words: names, specifiers, markers, extras."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version


@cache
def names() -> dict[str, str]:
    """The Python index's normalised names whose conda-forge name differs."""
    return tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


def conda_name(name: str) -> str:
    """conda-forge's name of the Python index's project ``name``."""
    normal = str(canonicalize_name(name))
    return names().get(normal, normal)


def conda_version(specifiers: SpecifierSet) -> str:
    """``specifiers`` as a conda version spec: ``1.*,>=1.4`` for ``~=1.4``, ``2021.6`` for ``2021.06``; empty: any."""
    parts: list[str] = []
    for item in specifiers:
        version = item.version
        if item.operator == "~=":
            parts += [f">={version}", version.rpartition(".")[0] + ".*"]
        elif item.operator == "==" and version.endswith(".*"):
            parts.append(version)
        elif item.operator == "===":
            parts.append(f"=={version}")
        else:
            parts.append(f"{item.operator}{version if version.endswith('.*') else Version(version)}")
    # Upper bounds last, as people write them; the order of a SpecifierSet is not fixed.
    return ",".join(sorted(parts, key=lambda part: (part[0] == "<", part[0] == "!", part)))


def match_spec(requirement: Requirement) -> str:
    """The conda match spec of ``requirement`` without its extras and marker."""
    return f"{conda_name(requirement.name)} {conda_version(requirement.specifier)}".strip()


def dependencies(
    requires: Iterable[str],
    environment: dict[str, str],
    requires_of: Callable[[str], Iterable[str]],
    *,
    extras: Iterable[str] = (),
) -> list[str]:
    """The match specs of ``Requires-Dist`` lines where ``environment``'s markers hold, sorted.

    conda knows no extras: ``sqlalchemy[asyncio]`` becomes sqlalchemy and what its extra asks for, read from
    ``requires_of(project)``, the ``Requires-Dist`` lines of the chosen version of ``project``.
    """
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()

    def collect(lines: Iterable[str], extras: frozenset[str], *, only_extras: bool) -> None:
        for line in lines:
            requirement = Requirement(line)
            marker = requirement.marker
            plain = marker is None or marker.evaluate({**environment, "extra": ""})
            wanted = any(marker.evaluate({**environment, "extra": extra}) for extra in extras) if marker else False
            if not (wanted or plain) or (only_extras and plain):
                continue
            found.add(match_spec(requirement))
            key = (str(canonicalize_name(requirement.name)), frozenset(requirement.extras))
            if requirement.extras and key not in seen:
                seen.add(key)
                collect(requires_of(key[0]), key[1], only_extras=True)

    collect(requires, frozenset(extras), only_extras=False)
    return sorted(found)
