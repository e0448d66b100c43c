"""Whether each environment is held to the bounds of the Prefect that is locked in it (``recipe/bounds.toml``)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rattler import MatchSpec

from maintain.bounds import Bound, applying
from maintain.check.finding import Finding, unified
from maintain.lib.errors import ToolError
from maintain.lock.lockfile import Lock
from maintain.manifest import Environment, Manifest, Spec, load

WRITE = "scripts/recipe bounds"
FIX = "scripts/lock"


@dataclass(frozen=True)
class Lack:
    """A bound that an environment's specs do not hold on a platform."""

    environment: Environment
    subdir: str
    prefect: str
    bound: Bound

    @property
    def where(self) -> str:
        """The environment and platform, in words."""
        return f"{self.environment.name} on {self.subdir}"


def findings(manifest: Manifest, lock: Lock, bounds: Iterable[Bound]) -> Iterator[Finding]:
    """Bounds of the locked Prefects that ``pixi.toml`` does not ask for, or that what is locked does not keep."""
    every = tuple(bounds)
    missing = list(lacks(manifest, lock, every))
    if missing:
        text = manifest.path.read_text(encoding="utf-8")
        wanted, left = amended(manifest, lock, every)
        diff = unified(text, wanted, manifest.path.name)
        for lack in missing:
            what = f"Prefect {lack.prefect} must not meet other than {lack.bound.conda}: {lack.bound.reason}"
            if lack in left:
                line = _entry(lack.bound.name, lack.bound.clauses)
                yield Finding("bounds", lack.where, what, f"add {line} for {lack.where} only, then {FIX}")
            else:
                yield Finding("bounds", lack.where, what, f"{WRITE} && {FIX}", diff)
                diff = ""  # once is enough, it is the whole file's
    for (name, subdir), records in lock.records.items():
        locked = {record.name.normalized: record for record in records}
        for bound in applying(every, str(locked["prefect"].version)) if "prefect" in locked else ():
            found = locked.get(bound.name)
            if found is None and bound.requirement:
                yield Finding("bounds", f"{name} on {subdir}", f"{bound.name} is not locked: {bound.reason}", FIX)
            elif found is not None and not MatchSpec(bound.conda).matches(found):
                what = (
                    f"{bound.name} {found.version} is locked with Prefect {locked['prefect'].version}: {bound.reason}"
                )
                yield Finding("bounds", f"{name} on {subdir}", what, f"{WRITE} && {FIX}")


def lacks(manifest: Manifest, lock: Lock, bounds: Iterable[Bound]) -> Iterator[Lack]:
    """The bounds that ``pixi.toml`` does not ask for.

    A bound on a package that Prefect does not ask for counts where the package is locked.
    """
    every = tuple(bounds)
    for (name, subdir), records in lock.records.items():
        environment = manifest.environments.get(name)
        locked = {record.name.normalized: str(record.version) for record in records}
        if environment is None or subdir not in environment.platforms or "prefect" not in locked:
            continue
        specs = environment.specs(subdir)
        for bound in applying(every, locked["prefect"]):
            if (bound.requirement or bound.name in locked) and (
                bound.name not in specs or bound.clauses - _clauses(specs[bound.name])
            ):
                yield Lack(environment, subdir, locked["prefect"], bound)


def amended(manifest: Manifest, lock: Lock, bounds: Iterable[Bound]) -> tuple[str, list[Lack]]:
    """``pixi.toml`` with the bounds that it lacks, and those for which it has no place.

    A bound goes to the package's own line or, if it has none, under the line of Prefect that holds on this platform.
    It has no place there if environments or platforms without that bound read the same line: they would get a
    package that they do without.
    """
    every = tuple(bounds)
    missing = list(lacks(manifest, lock, every))
    lines = manifest.path.read_text(encoding="utf-8").splitlines(keepends=True)
    readers = _readers(manifest)
    asking = {(lack.environment.name, lack.subdir, lack.bound.conda) for lack in missing}
    placed: dict[tuple[int, str], set[str]] = {}
    left = []
    for lack in missing:
        specs = lack.environment.requirements(lack.subdir)
        own = [spec for spec in specs if spec.name == lack.bound.name]
        at = own or [spec for spec in specs if spec.name == "prefect"]
        number = _line(at[0]) if at else 0
        others = {
            reader
            for reader in readers.get((number, at[0].name) if at else (0, ""), set())
            if (*reader, lack.bound.conda) not in asking
        }
        if not at or (others and not own):
            left.append(lack)
        else:
            placed.setdefault((number, lack.bound.name), set()).update(lack.bound.clauses)
    for (number, name), clauses in sorted(placed.items(), reverse=True):
        line = lines[number - 1]
        if re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            lines[number - 1] = _joined(line, clauses)
        else:
            indent = line[: len(line) - len(line.lstrip())]
            lines.insert(number, f"{indent}{_entry(name, frozenset(clauses))}\n")
    text = "".join(lines)
    wrong = [lack for lack in _lacking(manifest, lock, every, text) if lack not in left]
    if wrong:  # the manifest is written in another way than the house's
        return manifest.path.read_text(encoding="utf-8"), missing
    return text, left


def _lacking(manifest: Manifest, lock: Lock, bounds: tuple[Bound, ...], text: str) -> list[Lack]:
    """What a manifest of ``text`` lacks; everything if it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="prefect-env-bounds-") as folder:
        path = Path(folder, manifest.path.name)
        path.write_text(text, encoding="utf-8")
        try:
            found = {(lack.where, lack.bound) for lack in lacks(load(path), lock, bounds)}
        except ToolError:
            return list(lacks(manifest, lock, bounds))
    return [lack for lack in lacks(manifest, lock, bounds) if (lack.where, lack.bound) in found]


def _readers(manifest: Manifest) -> dict[tuple[int, str], set[tuple[str, str]]]:
    """The line and package of each spec -> the environments and platforms that it holds for."""
    found: dict[tuple[int, str], set[tuple[str, str]]] = {}
    for environment in manifest.environments.values():
        for subdir in environment.platforms:
            for spec in environment.requirements(subdir):
                found.setdefault((_line(spec), spec.name), set()).add((environment.name, subdir))
    return found


def _line(spec: Spec) -> int:
    return int(spec.where.rpartition(":")[2])


def _clauses(constraint: str) -> set[str]:
    """What a constraint demands of the version, apart; of alternatives (``|``) none is certain."""
    version = constraint.partition(" ")[0]
    return set() if "|" in version else set(version.split(","))


def _entry(name: str, clauses: frozenset[str]) -> str:
    return f'{name} = "{",".join(sorted(clauses)) or "*"}"'


def _joined(line: str, clauses: set[str]) -> str:
    """``line``, a package's with a version constraint, with ``clauses`` added to it."""
    inline = re.search(r"version\s*=\s*\"([^\"]*)\"", line)
    match = inline or re.search(r"=\s*\"([^\"]*)\"", line)
    if match is None or ("{" in line and not inline):
        return line.replace("{", f'{{ version = "{",".join(sorted(clauses))}",', 1)
    old = [text for text in match[1].split(",") if text.strip() not in ("", "*")]
    new = ",".join([*old, *sorted(clauses - set(old))])
    return line[: match.start(1)] + new + line[match.end(1) :]
