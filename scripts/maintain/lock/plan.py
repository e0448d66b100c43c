"""Decide what of an old lock file stays, and solve the rest."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from rattler import RepoDataRecord

from maintain.check.satisfy import satisfied
from maintain.lib.console import progress
from maintain.lib.errors import ToolError
from maintain.lock.lockfile import Lock
from maintain.lock.package import Records
from maintain.lock.records import Source, open_source
from maintain.lock.solve import match_spec, solve_environment
from maintain.manifest import Environment, Manifest


@dataclass
class Plan:
    """A finished solution and how it came about."""

    records: Records
    solved: list[tuple[str, str]] = field(default_factory=list)
    load_seconds: float = 0.0
    solve_seconds: float = 0.0


@dataclass(frozen=True)
class Update:
    """What may move: nothing, everything, or some packages by name."""

    everything: bool = False
    names: frozenset[str] = frozenset()


async def make(manifest: Manifest, old: Lock | None, update: Update, folder: Path | None, *, trusted: bool) -> Plan:
    """Solve every environment on every platform, keeping what is locked where it may stay.

    ``trusted`` says that ``old`` is what scripts/lock wrote. If it is not, a package stays only if the records list
    it with the same hash, and with what they say of it. Raises ``unsatisfiable``, ``network`` and ``bad-file``.
    """
    plan = Plan({})
    locked = old.records if old else {}
    if missing := update.names - {record.name.normalized for group in locked.values() for record in group}:
        raise ToolError("bad-usage", f"not locked: {', '.join(sorted(missing))}", fix="name packages of pixi.lock")
    tasks = [
        (environment, subdir) for environment in manifest.environments.values() for subdir in environment.platforms
    ]
    started = perf_counter()
    source: Source | None = None
    with ExitStack() as stack, progress() as bar:
        task = bar.add_task("solving", total=len(tasks))
        for environment, subdir in tasks:
            key = (environment.name, subdir)
            for spec in environment.requirements(subdir):
                match_spec(spec)
            keep = _kept(locked.get(key, ()), update)
            complete = trusted and keep and keep == locked[key]
            if complete and not satisfied(manifest, environment, subdir, keep):
                plan.records[key] = keep
            else:
                source = source or stack.enter_context(open_source(manifest, folder))
                plan.records[key] = await _solve(source, manifest, environment, subdir, keep, trusted=trusted)
                plan.solved.append(key)
            bar.advance(task)
    plan.load_seconds = source.load_seconds if source else 0.0
    plan.solve_seconds = perf_counter() - started - plan.load_seconds
    return plan


async def _solve(
    source: Source,
    manifest: Manifest,
    environment: Environment,
    subdir: str,
    keep: Collection[RepoDataRecord],
    *,
    trusted: bool,
) -> tuple[RepoDataRecord, ...]:
    if not trusted:
        keep = [found for record in keep if (found := await source.find(record))]
    return await solve_environment(source, manifest, environment, subdir, keep)


def _kept(locked: tuple[RepoDataRecord, ...], update: Update) -> tuple[RepoDataRecord, ...]:
    if update.everything:
        return ()
    return tuple(record for record in locked if record.name.normalized not in update.names)
