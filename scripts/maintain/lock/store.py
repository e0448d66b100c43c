"""Put a solution on disk so that a killed run leaves whole files, and a state that the next run recognises."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from maintain.channel import sets
from maintain.channel.wheels import Pin
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, exclusive, explained
from maintain.lock import render
from maintain.lock.lockfile import text as lock_text
from maintain.lock.package import Records, solution
from maintain.manifest import Manifest
from maintain.rehearse import agenda, book, page, results
from maintain.rehearse.results import Results


@dataclass(frozen=True)
class Evidence:
    """What is known of a lock beside its solution: what of it was run, and the wheels that stood for it."""

    results: Results = field(default_factory=dict)
    pins: tuple[Pin, ...] = ()


def evidence(root: Path) -> Evidence:
    """The evidence that lies below ``root``; raises ``bad-file`` with the file for what cannot be read."""
    return Evidence(results.read(root / results.PATH), tuple(sets.read(root / sets.PATH)))


def outputs(manifest: Manifest, records: Records, readme: str | None, known: Evidence | None = None) -> dict[str, str]:
    """Path below the root -> text of everything that follows from a solution, in the order in which it is written.

    ``readme`` is the README's present text (None: there is none). What is ``known`` of other solutions is left out.
    The lock file comes first and the index, which
    names the lock's hash, last: whatever is killed between them is seen by scripts/check and mended by scripts/lock.
    """
    packages = solution(records)
    known = known or Evidence()
    acts = agenda.agenda(packages, agenda.requested(manifest))
    found = {"pixi.lock": lock_text(manifest, records)}
    if mine := {act.part.digest: known.results[act.part.digest] for act in acts if act.part.digest in known.results}:
        found[results.PATH] = results.text(mine, acts)
    wanted = {item for act in acts for item in book.items(act.part)}
    if pins := [pin for pin in known.pins if pin[:2] in wanted]:
        found[sets.PATH] = sets.text(pins)
    proven = page.Proven(manifest, acts, known.results)
    found |= render.files(manifest, packages, found["pixi.lock"], proven)
    index = found.pop(render.INDEX)
    updated = (
        render.with_table(readme, render.platform_table(manifest, packages, proven)) if readme is not None else None
    )
    return {**found, **({"README.md": updated} if updated is not None else {}), render.INDEX: index}


def read_text(path: Path) -> str | None:
    """The file's text, None if it does not exist; raise ``bad-file`` with its line if it is not UTF-8."""
    raw = read_bytes(path)
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError as error:
        where = f"{path}:{error.object[: error.start].count(10) + 1}"
        raise ToolError("bad-file", f"{path.name} is not UTF-8", where=where, why=error.reason) from error


def read_bytes(path: Path) -> bytes | None:
    """The file's bytes, None if it does not exist."""
    if not path.is_file():
        return None
    with explained(path):
        return path.read_bytes()


def stale(root: Path, wanted: dict[str, str]) -> list[str]:
    """The paths below ``root`` that differ from ``wanted``, and the files of envs/ that it does not have."""
    different = [path for path, text in wanted.items() if read_bytes(root / path) != text.encode()]
    return different + surplus(root, wanted)


def surplus(root: Path, wanted: dict[str, str]) -> list[str]:
    """The files below envs/ that nothing generates any more."""
    there = (path.relative_to(root).as_posix() for path in sorted((root / "envs").rglob("*")) if path.is_file())
    return [path for path in there if path not in wanted]


def write(root: Path, wanted: dict[str, str]) -> list[str]:
    """Write what is stale, remove what is surplus; return the paths. One writer at a time, or ``busy``."""
    with exclusive(root / ".build" / "lock.lock", what="pixi.lock"):
        changed = stale(root, wanted)
        for path, text in wanted.items():
            for leftover in (root / path).parent.glob(f".{(root / path).name}.*.tmp"):
                leftover.unlink(missing_ok=True)  # of a run that was killed
            if path in changed:
                atomic_write(root / path, text)
        for path in surplus(root, wanted):
            (root / path).unlink(missing_ok=True)
    return changed


def trusted(root: Path) -> bool:
    """Whether pixi.lock is byte for byte what scripts/lock wrote, by the hash in the index."""
    index, lock = read_bytes(root / render.INDEX), read_bytes(root / "pixi.lock")
    try:
        expected = json.loads(index or b"")["lock"]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return lock is not None and hashlib.sha256(lock).hexdigest() == expected
