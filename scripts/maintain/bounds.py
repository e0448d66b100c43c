"""Read ``recipe/bounds.toml``: which versions of other packages a Prefect release must not meet, and why.

The one place of all bounds. Recipes, pins, ``pixi.toml`` and the doctor's data get theirs from here: by
:func:`applying` for one Prefect, by :func:`load` whole.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from maintain.channel.specs import conda_name, conda_version
from maintain.lib.errors import ToolError
from maintain.lib.files import explained
from maintain.lib.paths import RECIPES, RUNTIME

FILE = "bounds.toml"
"""The file's name in ``recipe/``."""

DATA = RUNTIME / "prefect_env" / "data" / "bounds.json"
"""What the doctor reads of it."""

_KEYS = frozenset({"prefect", "spec", "conda", "reason", "source", "dead"})


@dataclass(frozen=True)
class Bound:
    """One entry of the file."""

    prefect: SpecifierSet
    """The Prefect releases it is for."""
    requirement: Requirement | None
    """In the Python index's names; it makes the package one that Prefect asks for. None: :attr:`conda` alone."""
    conda: str
    """The conda match spec."""
    reason: str
    source: str
    dead: tuple[str, ...]
    """Versions that were seen dead with one of these releases."""
    where: str
    """file:line"""

    @property
    def name(self) -> str:
        """The conda package's name."""
        return self.conda.partition(" ")[0]

    @cached_property
    def clauses(self) -> frozenset[str]:
        """What the match spec demands of the version, apart: ``<0.137``."""
        return frozenset(filter(None, re.split(r"\s*,\s*", self.conda.partition(" ")[2].strip())))

    def holds_for(self, prefect: str) -> bool:
        """Whether it is a bound of this Prefect release; a pre-release counts as the release that it leads to."""
        return self.prefect.contains(Version(prefect).base_version)


def load(folder: Path = RECIPES) -> tuple[Bound, ...]:
    """The bounds of ``folder``, in the file's order; raise ``bad-file`` with file:line for what is wrong in them."""
    path = folder / FILE
    with explained(path):
        text = path.read_text(encoding="utf-8")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1] if line else text.count(chr(10)) + 1}"
        raise ToolError("bad-file", "this is not TOML", where=where, why=str(error)) from error
    entries = data.get("bound", [])
    if set(data) - {"bound"} or not isinstance(entries, list):
        raise ToolError("bad-file", "there is nothing but [[bound]] in this file", where=f"{path}:1")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*bound\s*\]\]", line)]
    lines += [1] * (len(entries) - len(lines))  # written in another way than the house's
    return tuple(_bound(entry, f"{path}:{line}") for entry, line in zip(entries, lines, strict=False))


def applying(bounds: Iterable[Bound], prefect: str) -> tuple[Bound, ...]:
    """Those of ``bounds`` that are for this Prefect release."""
    return tuple(bound for bound in bounds if bound.holds_for(prefect))


def requirements(bounds: Iterable[Bound]) -> tuple[Requirement, ...]:
    """What is added to Prefect's own requirements."""
    return tuple(bound.requirement for bound in bounds if bound.requirement)


def constraints(bounds: Iterable[Bound]) -> tuple[str, ...]:
    """Match specs of packages that must not be beside Prefect, though it does not ask for them."""
    return tuple(bound.conda for bound in bounds if not bound.requirement)


def document(bounds: Iterable[Bound]) -> str:
    """The text of :data:`DATA`: the bounds of Python packages, each with conda's match spec.

    A bound without a specifier has nothing that an installed version could violate; conda's own packages are
    not asked about there, for the doctor asks the library that is loaded.
    """
    entries = [
        {
            "prefect": _ordered(bound.prefect),
            "name": str(canonicalize_name(bound.requirement.name)),
            "specifier": _ordered(bound.requirement.specifier),
            "conda": bound.conda,
            "reason": bound.reason,
            "source": bound.source,
        }
        for bound in bounds
        if bound.requirement and bound.requirement.specifier
    ]
    return json.dumps(entries, indent=1) + "\n"


def _ordered(specifiers: SpecifierSet) -> str:
    """Lower bounds first; the order of a SpecifierSet is not fixed."""
    return ",".join(sorted(map(str, specifiers), key=lambda text: (text[0] == "<", text)))


def _bound(entry: Any, where: str) -> Bound:
    if not isinstance(entry, dict):
        raise ToolError("bad-file", "a bound is a table", where=where)
    if unknown := set(entry) - _KEYS:
        raise ToolError("bad-file", f"a bound has no {min(unknown)}", where=where)
    texts = {key: entry.get(key) for key in _KEYS - {"dead"} if key in entry}
    wrong = [key for key, value in texts.items() if not isinstance(value, str) or not value.strip()]
    if wrong or not {"prefect", "reason", "source"} <= set(texts) or ("spec" in texts) == ("conda" in texts):
        raise ToolError(
            "bad-file",
            "a bound needs prefect, reason, source and either spec or conda",
            where=where,
            why=f"found: {', '.join(f'{key} = {value!r}' for key, value in sorted(texts.items()))}",
        )
    try:
        prefect = SpecifierSet(entry["prefect"])
    except InvalidSpecifier as error:
        what = f"no specifiers of releases: {entry['prefect']}"
        raise ToolError("bad-file", what, where=where, why=str(error)) from error
    requirement, conda = None, str(entry.get("conda", ""))
    if "spec" in texts:
        try:
            requirement = Requirement(entry["spec"])
        except InvalidRequirement as error:
            what = f"not a requirement: {entry['spec']}"
            raise ToolError("bad-file", what, where=where, why=str(error)) from error
        if requirement.marker or requirement.extras or requirement.url:
            raise ToolError("bad-file", f"a bound has neither extras nor markers: {entry['spec']}", where=where)
        conda = f"{conda_name(requirement.name)} {conda_version(requirement.specifier)}".strip()
    elif not re.fullmatch(r"[a-z0-9_][a-z0-9._-]* [<>=!][^\s\[\]|]*", conda):
        what = f"not a name and a version constraint of conda: {conda}"
        raise ToolError("bad-file", what, where=where)
    return Bound(prefect, requirement, conda, entry["reason"], entry["source"], _dead(entry, requirement, where), where)


def _dead(entry: dict[str, Any], requirement: Requirement | None, where: str) -> tuple[str, ...]:
    """The versions seen dead; what the bound lets through cannot be among them."""
    dead = entry.get("dead", [])
    try:
        if not isinstance(dead, list) or (dead and requirement is None):
            raise TypeError("dead is a list of versions of the project in spec")
        let_through = [text for text in dead if requirement and requirement.specifier.contains(Version(text))]
    except (InvalidVersion, TypeError) as error:
        raise ToolError("bad-file", "dead names no versions", where=where, why=str(error)) from error
    if let_through:
        raise ToolError("bad-file", f"{let_through[0]} is dead, but {entry['spec']} lets it through", where=where)
    return tuple(dead)
