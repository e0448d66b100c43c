"""The runs of other hosts: a file that ``--result`` writes there and ``--merge`` puts into ``envs/`` here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, explained, sha256_file
from maintain.lock import lockfile
from maintain.lock.package import solution
from maintain.manifest import load
from maintain.rehearse import gate
from maintain.rehearse.agenda import agenda, requested
from maintain.rehearse.page import GENUINE
from maintain.rehearse.perform import Trial
from maintain.rehearse.results import Run, run_as_dict

FORMAT = 1
TEXTS = ("stage", "database", "date", "packages")


@dataclass(frozen=True)
class Entry:
    """A run, and the Python part that it is of."""

    environment: str
    """Where it ran, for a line of talk."""
    digest: str
    run: Run


@dataclass(frozen=True)
class Report:
    """What a host wrote."""

    path: Path
    lock: str
    """The SHA-256 of its lock file."""
    entries: tuple[Entry, ...]
    refused: dict[str, str]
    """The error that names what is to blame, as ``--json`` has it; empty without."""


def write(path: Path, lock: Path, found: Sequence[Trial], refused: ToolError | None) -> None:
    """Write the runs ``found`` of ``lock`` to ``path``."""
    runs = [{"environment": one.act.title, "digest": one.act.part.digest, **run_as_dict(one.run)} for one in found]
    data = {
        "format": FORMAT,
        "lock": sha256_file(lock),
        "runs": runs,
        "refused": refused.as_dict() if refused else {},
    }
    with explained(path):
        atomic_write(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Report:
    """Read such a file; raise ``bad-file`` for anything else."""
    try:
        with explained(path):
            data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r} is not {FORMAT}")
        refused = {name: str(value) for name, value in dict(data["refused"]).items() if value is not None}
        return Report(path, _text(data, "lock"), tuple(map(_entry, data["runs"])), refused)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise ToolError(
            "bad-file",
            "this is no result of a rehearsal",
            where=str(path),
            why=why,
            fix="scripts/rehearse --genuine --result FILE writes one",
        ) from error


def _entry(data: dict[str, Any]) -> Entry:
    texts = {name: _text(data, name) for name in TEXTS if name != "packages" or name in data}
    for name, kind in (("versions", str), ("steps", bool)):
        if not all(isinstance(value, kind) for value in data[name].values()):
            raise TypeError(f"{name} has something that is no {kind.__name__}")
    if "python" not in data["versions"]:
        raise ValueError("versions has no Python")
    return Entry(
        _text(data, "environment"), _text(data, "digest"), Run(**texts, versions=data["versions"], steps=data["steps"])
    )


def _text(data: dict[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


@dataclass(frozen=True)
class Merged:
    """What became of some reports."""

    taken: tuple[Trial, ...]
    left: tuple[str, ...]
    """What was left out, each with the reason."""
    files: tuple[str, ...]
    """The files that changed."""


def merge(root: Path, reports: Iterable[Report]) -> Merged:
    """Put the runs of ``reports`` that are of the lock below ``root`` into its evidence and pages."""
    manifest = load(root / "pixi.toml")
    locked = solution(lockfile.read(root / "pixi.lock").records)
    named = requested(manifest)
    acts = {
        (act.part.digest, act.wholes[0], GENUINE + subdir): act
        for (environment, subdir), packages in locked.items()
        for act in agenda({(environment, subdir): packages}, named)
    }
    taken, left = [], []
    for report in reports:
        for entry in report.entries:
            act = acts.get((entry.digest, entry.run.packages, entry.run.stage))
            where = f"{report.path.name}: {entry.environment}, {entry.run.stage}"
            if act and entry.run.database in act.databases:
                taken.append(Trial(act, entry.run, (), None))
            elif entry.run.stage.startswith(GENUINE):
                left.append(f"{where}: its packages are not those that are locked here")
            else:
                left.append(f"{where}: these are no packages of conda-forge's")
    return Merged(tuple(taken), tuple(left), tuple(gate.save(root, taken)))
