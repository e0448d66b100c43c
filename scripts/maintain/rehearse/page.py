"""What is proven of each environment on each platform, and by what: the table of envs/README.md, the README's cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maintain.manifest import Manifest
from maintain.rehearse.agenda import NONE, Act
from maintain.rehearse.results import Results, Run, lacking, runs_of

GENUINE = "conda-forge "
"""How the stages of genuine packages begin; the platform follows."""
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Proven:
    """What was run of every environment and platform."""

    def __init__(self, manifest: Manifest, acts: Iterable[Act], results: Results) -> None:
        self.manifest = manifest
        self.results = results
        self.acts = {place: act for act in acts for place in act.places}

    def mark(self, environment: str, subdir: str) -> str:
        """One word for a cell: how far the environment is proven there."""
        act = self.acts.get((environment, subdir))
        runs = self._runs(act, environment, subdir) if act else []
        if act is None or lacking(self.results, act) is not None:
            return "only solved"
        return "run" if any(run.stage.startswith(GENUINE) for run in runs) else "rehearsed"

    def table(self) -> list[list[str]]:
        """The rows: environment, platform, Prefect, what ran and on what, what was equal to the lock."""
        rows = [["Environment", "Platform", "Prefect", "Genuine packages", "Rehearsed", "Equal to the lock"]]
        for name, environment in self.manifest.environments.items():
            for subdir in environment.platforms:
                act = self.acts.get((name, subdir))
                if act:
                    rows.append([f"`{name}`", subdir, act.prefect or "-", *self._cells(act, name, subdir)])
        return rows

    def _cells(self, act: Act, environment: str, subdir: str) -> list[str]:
        record = self.results.get(act.part.digest)
        runs = self._runs(act, environment, subdir)
        genuine = [run for run in runs if run.stage.startswith(GENUINE)]
        rehearsed = [run for run in runs if not run.stage.startswith(GENUINE)]
        equal = f"{record.equal} of {len(act.part.packages)}" if record and rehearsed else "-"
        red = lacking(self.results, act)
        return [
            _said(genuine) or "not run",
            _said(rehearsed) or f"only solved{f': {red}' if record and record.runs and red else ''}",
            equal,
        ]

    def _runs(self, act: Act, environment: str, subdir: str) -> list[Run]:
        """The green runs that say something of a place: genuine packages of another one do not."""
        return [
            run
            for run in runs_of(self.results, act)
            if run.ok
            and (not run.stage.startswith(GENUINE) or run.stage == GENUINE + subdir)
            and run.packages in ("", act.whole(environment, subdir))
        ]


def _said(runs: Sequence[Run]) -> str:
    """What the runs were on: ``Python 3.13.5: SQLite, PostgreSQL and Redis (2026-11-27)``."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        kind = DATABASES.get(run.database, "its programs" if run.database == NONE else run.database)
        groups.setdefault(run.versions["python"], []).append(kind + (" and Redis" if "redis" in run.versions else ""))
    newest = max((run.date for run in runs), default="")
    said = "; ".join(f"Python {python}: {', '.join(sorted(kinds, reverse=True))}" for python, kinds in groups.items())
    return f"{said} ({newest})" if said else ""
