"""What was run: ``envs/rehearsed.json``, by the digest of the Python part that ran."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError
from maintain.lib.paths import ROOT
from maintain.rehearse.agenda import Act

PATH = "envs/rehearsed.json"
"""The file, below the clone's root."""

FILE = ROOT / PATH
FORMAT = 1


@dataclass(frozen=True)
class Run:
    """One trial of one Python part."""

    stage: str
    """``bookworm`` or ``trixie``; ``conda-forge linux-64`` for the genuine packages on that platform."""
    database: str
    """``sqlite``, ``postgresql`` or ``none``."""
    versions: dict[str, str]
    """Of what is not the lock's: Python, SQLite, OpenSSL, PostgreSQL, Redis."""
    steps: dict[str, bool]
    """Step -> whether it went well."""
    date: str
    """The day, as ISO 8601."""
    packages: str = ""
    """The digest of all packages of the environment that ran (:func:`agenda.whole`); empty where wheels stood for its
    Python part, which say something of every environment that has it."""

    @property
    def ok(self) -> bool:
        """Whether every step went well."""
        return bool(self.steps) and all(self.steps.values())


@dataclass(frozen=True)
class Record:
    """What is known of one Python part."""

    prefect: str | None
    equal: int
    """How many Python packages were at exactly the locked version."""
    left_out: dict[str, str]
    """conda's name -> why nothing stood for it."""
    runs: tuple[Run, ...]


Results = dict[str, Record]
"""Digest of a Python part -> what was run of it."""


def read(path: Path = FILE) -> Results:
    """The recorded results; none where there is no file. Raises ``bad-file``."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']} is not {FORMAT}")
        return {
            digest: Record(
                entry["prefect"],
                entry["equal"],
                entry["left_out"],
                tuple(Run(**run) for run in entry["runs"]),
            )
            for digest, entry in data["parts"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(
            "bad-file",
            "the results of rehearsals cannot be read",
            where=str(path),
            why=str(error),
            fix="scripts/rehearse",
        ) from error


def text(results: Results, acts: Iterable[Act]) -> str:
    """The file's text: the results of ``acts`` alone, each with the environments that it is of."""
    parts: dict[str, Any] = {}
    for act in acts:
        record = results.get(act.part.digest)
        if record:
            places = [f"{environment}/{subdir}" for environment, subdir in act.places]
            runs = [run_as_dict(run) for run in runs_of(results, act)]
            parts[act.part.digest] = {"environments": places, **asdict(record), "runs": runs}
    return json.dumps({"format": FORMAT, "parts": parts}, indent=1, ensure_ascii=False) + "\n"


def run_as_dict(run: Run) -> dict[str, Any]:
    """The run as JSON values."""
    return {name: value for name, value in asdict(run).items() if value != ""}


def runs_of(results: Results, act: Act) -> tuple[Run, ...]:
    """The runs that say something of ``act``: those of genuine packages that are locked no more do not."""
    record = results.get(act.part.digest)
    return tuple(run for run in (record.runs if record else ()) if not run.packages or run.packages in act.wholes)


def add(results: Results, act: Act, equal: int, runs: Iterable[Run]) -> Results:
    """``results`` with ``runs`` of ``act``; a run takes the place of an older one of the same kind."""
    old = results.get(act.part.digest)
    kept = {(run.stage, run.database, run.packages): run for run in (*(old.runs if old else ()), *runs)}
    record = Record(act.prefect, equal, act.part.left_out, tuple(kept[key] for key in sorted(kept)))
    return {**results, act.part.digest: record}


def lacking(results: Results, act: Act) -> str | None:
    """Why ``act`` does not count as rehearsed, None if it does: a red run, or a database that no run was on."""
    runs = runs_of(results, act)
    if red := [run for run in runs if not run.ok]:
        steps = ", ".join(name for name, ok in red[0].steps.items() if not ok)
        return f"its rehearsal failed ({steps}; {red[0].database}, {red[0].stage})"
    if missing := [database for database in act.databases if database not in {run.database for run in runs}]:
        return "nobody has run it" if not runs else f"nobody has run it with {' and '.join(missing)}"
    return None
