"""Read the manifest, solve what has to be solved, write the lock file and everything that follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from maintain.lib.errors import ToolError
from maintain.lock import diff, lockfile, store
from maintain.lock.package import Solution, solution
from maintain.lock.plan import Plan, Update, make
from maintain.manifest import Manifest, load


class Result:
    """What a run of scripts/lock did, or would do."""

    def __init__(self, made: Plan, changes: diff.Changes, files: list[str]) -> None:
        self.plan = made
        self.changes = changes
        self.files = files

    def lines(self) -> list[str]:
        """The result for a terminal."""
        return [*diff.lines(self.changes), *(f"wrote {file}" for file in self.files)] or ["up to date"]

    def as_dict(self) -> dict[str, object]:
        """The result for ``--json``; seconds of reading records and of solving them."""
        return {
            "changes": {"/".join(key): [change.as_dict() for change in group] for key, group in self.changes.items()},
            "files": self.files,
            "solved": ["/".join(key) for key in self.plan.solved],
            "load_seconds": round(self.plan.load_seconds, 3),
            "solve_seconds": round(self.plan.solve_seconds, 3),
        }


Gate = Callable[[Manifest, Solution, Solution, store.Evidence], store.Evidence]
"""Asked before a lock is written, with the solution before and the new one: the evidence to write with it, or raise."""


def relock(
    root: Path, repodata: Path | None, update: Update, *, write: bool = True, gate: Gate | None = None
) -> Result:
    """Lock the clone at ``root``; raise ``unsatisfiable`` and leave everything as it was if a spec cannot be met.

    Whatever the ``gate`` raises leaves everything as it was too.
    """
    manifest = load(root / "pixi.toml")
    old = None
    if (root / "pixi.lock").is_file():
        try:
            old = lockfile.read(root / "pixi.lock")
        except ToolError:
            if not update.everything:
                raise
    made = asyncio.run(make(manifest, old, update, repodata, trusted=store.trusted(root)))
    before, after = solution(old.records) if old else {}, solution(made.records)
    known = store.evidence(root)
    if gate and write:
        known = gate(manifest, before, after, known)
    wanted = store.outputs(manifest, made.records, store.read_text(root / "README.md"), known)
    files = store.write(root, wanted) if write else store.stale(root, wanted)
    return Result(made, diff.compare(before, after), files)
