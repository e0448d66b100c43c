"""Perform an agenda: make each part's prefix on each stage, try it, note what was seen."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from maintain.channel import sets
from maintain.channel.release import BOOKWORM
from maintain.channel.sets import PinSet
from maintain.channel.wheels import fetch
from maintain.lib import server as servers
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.recipes.lines import PLATFORMS
from maintain.rehearse import beside, prefix, services, trial
from maintain.rehearse.agenda import POSTGRESQL, SQLITE, Act
from maintain.rehearse.prefix import Stage
from maintain.rehearse.results import Run
from maintain.rehearse.trial import Step, Subject

BEFORE = "2.20"
"""The line whose database the oldest locked Prefect has to upgrade."""

FACTS = (
    "import json, platform, sqlite3, ssl; print(json.dumps({'python': platform.python_version(),"
    " 'sqlite': sqlite3.sqlite_version, 'openssl': ssl.OPENSSL_VERSION.split()[1]}))"
)


@dataclass(frozen=True)
class Trial:
    """One run with all that was seen."""

    act: Act
    run: Run
    steps: tuple[Step, ...]
    database: Path | None
    """A copy of the SQLite database that it left, for the Prefect after it."""

    @property
    def label(self) -> str:
        """What ran where, for a line of talk."""
        return f"{self.act.title}: Prefect {self.act.prefect}, {self.run.database}, {self.run.stage}"

    def failed(self) -> list[Step]:
        """The steps that went wrong."""
        return [step for step in self.steps if not step.ok]


@dataclass(frozen=True)
class Job:
    """One run to do."""

    act: Act
    pins: PinSet
    stage: Stage
    database: str


def perform(
    acts: Sequence[Act],
    stages: Sequence[Stage],
    pins: Callable[[Act], PinSet],
    jobs: int,
) -> Generator[Trial, None, None]:
    """Try every act on those of ``stages`` that it is for; ``pins`` gives the wheels of an act.

    The older Prefects go first: their databases are what the newer ones have to upgrade. Raises what keeps a prefix
    from being made; whatever fails in a trial is a step of it.
    """
    with tempfile.TemporaryDirectory(prefix="prefect-env-rehearsal-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        former: Path | None = None
        with ThreadPoolExecutor(jobs) as pool:
            pip = pool.submit(pip_wheel, scratch)
            if any(act.prefect for act in acts):
                former = _before(scratch)
            for prefect, group in groupby(acts, key=lambda act: act.prefect):
                wanted = [
                    Job(act, pins(act), stage, database)
                    for act in group
                    for stage in stages
                    if stage.release in act.releases or not any(one.release in act.releases for one in stages)
                    for database in act.databases
                ]
                attempt = partial(_try, scratch=scratch, pip=pip.result(), former=former)
                for found in pool.map(attempt, wanted):
                    yield found
                    if prefect and found.database and found.run.ok:
                        former = found.database


def _try(job: Job, scratch: Path, pip: Path, former: Path | None) -> Trial:
    """One run."""
    say(f"  {job.act.title}: {job.database} on {job.stage.release.name} ...")
    place = prefix.make(job.pins, job.stage)
    folder = Path(tempfile.mkdtemp(prefix=f"{job.database}-", dir=scratch))
    subject = Subject(
        place,
        job.act.prefect or "",
        folder,
        job.stage.inside,
        redis=any(pin.name == beside.MESSAGING for pin in job.pins.pins),
    )
    absent = {*job.act.part.left_out, *linux_only(job)}
    return attempt(job.act, subject, job.stage.release.name, job.database, pip, absent, former)


def attempt(
    act: Act,
    subject: Subject,
    stage: str,
    database: str,
    pip: Path,
    absent: Collection[str] = (),
    former: Path | None = None,
) -> Trial:
    """Try an environment that is there; ``absent`` is what ``pip check`` rightly misses in it."""
    versions = _facts(subject)
    steps = list(trial.standing(subject, pip, absent))
    if act.prefect is None:
        steps += trial.programs(subject, act.requested)
    else:
        steps += trial.whole(subject, database, former if database == SQLITE else None)
        if database == POSTGRESQL:
            versions |= services.versions(redis=subject.redis, programs=subject.postgresql)
    left = None
    if database == SQLITE:
        left = _copy(subject.scratch / SQLITE / "prefect.db", subject.scratch / "left.db")
    return Trial(act, ran(stage, database, versions, steps), tuple(steps), left)


def ran(stage: str, database: str, versions: dict[str, str], steps: Iterable[Step]) -> Run:
    """The run of today with these steps."""
    today = datetime.now(UTC).date().isoformat()
    return Run(stage, database, versions, {step.name: step.ok for step in steps}, today)


def linux_only(job: Job) -> set[str]:
    """What the set's packages ask for on Linux and not where the set is locked for, so that it is rightly missing."""
    systems = {subdir.partition("-")[0] for _, subdir in job.act.places}
    if "linux" in systems:
        return set()
    there = [job.stage.release.markers | PLATFORMS[system] for system in systems]
    lines = [Requirement(line) for wheel in fetch(job.pins.pins, job.stage.release).values() for line in wheel.requires]
    return {
        requirement.name
        for requirement in lines
        if requirement.marker and not any(requirement.marker.evaluate({**one, "extra": ""}) for one in there)
    }


def _before(scratch: Path) -> Path | None:
    """A database that Prefect 2.20 left, with a flow run in it. Raises ``check-failed`` if that does not run."""
    line = replace(sets.of_line(BEFORE), ours=False)
    stage = Stage(BOOKWORM, prefix.stage(BOOKWORM).root)
    place = prefix.make(line, stage)
    version = next(pin.version for pin in line.pins if pin.name == "prefect")
    folder = scratch / "before"
    steps = list(trial.alive(Subject(place, version, folder, stage.inside)))
    if wrong := [step for step in steps if not step.ok]:
        raise ToolError("check-failed", f"line {BEFORE} does not run", why=f"{wrong[0].name}: {wrong[0].found}")
    return _copy(folder / SQLITE / "prefect.db", folder / "left.db")


def _copy(database: Path, target: Path) -> Path | None:
    """The database as it is with its write-ahead log; None where the server never made one."""
    if not database.is_file():
        return None
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def pip_wheel(folder: Path) -> Path:
    """pip's wheel, from which it runs in an environment that has none; in ``folder``, which every stage sees."""
    pins = [pin for pin in sets.of_line(BEFORE).pins if pin.name == "pip"]
    (wheel,) = fetch(pins).values()
    return Path(shutil.copy(wheel.path, folder))


def _facts(subject: Subject) -> dict[str, str]:
    """The versions that are not the lock's."""
    env = servers.environment(subject.prefix, subject.scratch / "home")
    done = servers.run(subject.prefix, "python", "-c", FACTS, env=env, inside=subject.inside)
    if done.returncode:
        raise ToolError(
            "check-failed", "the Python of the prefix fails", where=str(subject.prefix), why=done.stderr[-800:]
        )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def as_dict(found: Trial) -> dict[str, Any]:
    """The trial as ``--json`` prints it."""
    return {
        "environments": [f"{environment}/{subdir}" for environment, subdir in found.act.places],
        "prefect": found.act.prefect,
        "digest": found.act.part.digest,
        **asdict(found.run),
        "ok": found.run.ok,
        "steps": [asdict(step) for step in found.steps],
    }


def default_jobs() -> int:
    """One more run at once than there are cores: a third of a run is waiting."""
    return (os.cpu_count() or 1) + 1
