"""The genuine packages: each locked environment of this host's platform, installed as a user gets it, and tried."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from packaging.version import Version
from rattler import Config, Subdir

from maintain.channel.wheels import fetch
from maintain.install import choice as choices
from maintain.install import plan
from maintain.install.choice import Choice
from maintain.install.engine import install
from maintain.install.network import CONDA_FORGE
from maintain.install.plan import Plan
from maintain.lib.console import say
from maintain.lib.errors import Exit, ToolError
from maintain.lib.paths import LOCK
from maintain.lock.package import Package, Solution
from maintain.rehearse import beside, conda, culprit, gate, perform, services, trial
from maintain.rehearse.agenda import POSTGRESQL, Act, agenda
from maintain.rehearse.book import Book
from maintain.rehearse.culprit import Culprit
from maintain.rehearse.hunt import verdict
from maintain.rehearse.page import GENUINE
from maintain.rehearse.perform import Trial
from maintain.rehearse.prefix import HOME
from maintain.rehearse.trial import Step, Subject

HERE = str(Subdir.current())
STAND_IN = "stand-in"
"""The stage of what a stand-in channel gave: Debian's libraries and wheels, whatever they are called there."""


@dataclass(frozen=True)
class Source:
    """Where the packages come from."""

    choice: Choice
    lock: Path
    stage: str
    """``conda-forge SUBDIR`` only for what is locked of conda-forge's, by hash, wherever it is fetched."""

    @property
    def genuine(self) -> bool:
        """Whether it is conda-forge's."""
        return self.stage.startswith(GENUINE)


def source(channel: str | None, lock: Path, solution: Solution) -> Source:
    """The channel to take, as ``scripts/install`` would, and what may be said of its packages.

    Raises ``bad-usage`` for a stand-in and another lock than the clone's, and as :func:`choices.choose`.
    """
    choice = choices.choose(channel, genuine=True)
    if choice.stand_in:
        if lock != LOCK:
            raise ToolError("bad-usage", "a stand-in has the versions of pixi.lock alone", where=str(lock))
        return Source(choice, lock, STAND_IN)
    here = chain.from_iterable(packages for (_, subdir), packages in solution.items() if subdir == HERE)
    theirs = all(package.url.startswith(f"{CONDA_FORGE}/") for package in here)
    return Source(choice, lock, f"{GENUINE if theirs else 'another channel '}{HERE}")


def acts_here(solution: Solution, named: Collection[str] = (), wanted: Collection[str] = ()) -> list[Act]:
    """One act for each environment of this host's platform, those with an older Prefect first.

    Environments that share their Python part are apart: the rest of their packages differs. Raises
    ``unsupported-host`` if there is none.
    """
    places = [(place, packages) for place, packages in solution.items() if place[1] == HERE]
    acts = [act for place, packages in places for act in agenda({place: packages}, named, wanted)]
    if not acts:
        raise ToolError("unsupported-host", f"none of these environments is locked for {HERE}")
    return sorted(acts, key=lambda act: (Version(act.prefect or "999"), act.title))


def rehearse(acts: Sequence[Act], of: Source, scratch: Path) -> Iterator[Trial]:
    """Install and try each environment in turn; raises what keeps it from being fetched or installed on this host."""
    pip = perform.pip_wheel(scratch)
    found: list[Trial] = []
    for act in acts:
        one = _try(act, of, scratch, pip, older(found, act))
        found.append(one)
        yield one


def older(found: Sequence[Trial], act: Act) -> Path | None:
    """The database that the newest Prefect before the act's left, of those that ran well."""
    left = [
        (Version(one.act.prefect), one.database)
        for one in found
        if one.database and one.run.ok and one.act.prefect and act.prefect
        if Version(one.act.prefect) < Version(act.prefect)
    ]
    return max(left)[1] if left else None


def _try(act: Act, of: Source, scratch: Path, pip: Path, former: Path | None) -> Trial:
    ((environment, _),) = act.places
    (database,) = act.databases
    say(f"  {act.title}: {database}, {of.stage} ...")

    def planner(choice: Choice, config: Config) -> Plan:
        if choice.stand_in:
            return plan.make(choice, config, environment=environment, line=None)
        return plan.locked(choice, environment, of.lock)

    try:
        place = HOME / f"genuine-{environment}"
        install(place, of.choice, planner=planner)
        one = perform.attempt(act, _subject(act, place, scratch, act.prefect), of.stage, database, pip, former=former)
    except ToolError as error:
        if error.exit_code != Exit.CHECK_FAILED or error.id == "unsatisfiable":  # nothing was there to be tried
            raise
        # Packages that cannot be linked, a Python or a PostgreSQL that does not start: the environment's own fault.
        step = Step("start", False, f"{error.what}: {error.why}")
        one = Trial(act, perform.ran(of.stage, database, {"python": act.part.python}, [step]), (step,), None)
    genuine = act.wholes[0] if of.stage != STAND_IN else ""
    return replace(one, run=replace(one.run, packages=genuine))


def _subject(act: Act, place: Path, scratch: Path, prefect: str | None) -> Subject:
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=scratch))
    subject = Subject(place, prefect or "", folder)
    if POSTGRESQL not in act.databases:
        return subject
    subject = replace(subject, postgresql=services.programs_of(place))
    messaging = _messaging(act, folder)
    if messaging is None:
        return subject
    return replace(subject, redis=True, settings={"PYTHONPATH": str(messaging)})


def _messaging(act: Act, folder: Path) -> Path | None:
    """A folder with prefect-redis, which conda-forge has not; None where no Redis, or no wheel for it, is at hand."""
    known = Book().pins
    pins = [known[item] for item in beside.of(act.part) if item in known]
    if not pins or not shutil.which("redis-server"):
        return None
    target = folder / "beside"
    for wheel in fetch(pins).values():
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(target)
    return target


@dataclass
class Hunt:
    """The search for the package that made a set dead, by mixtures that the solver makes of the channel's packages."""

    red: Trial
    of: Source
    scratch: Path
    former: Path | None = None
    unsolved: int = 0
    """How many mixtures the channel has no set for."""

    @property
    def note(self) -> str:
        """What has to be said beside the result."""
        return f"mixtures that could not be installed, which says nothing: {self.unsolved}" if self.unsolved else ""

    def culprit(self, good: Sequence[Package], bad: Sequence[Package]) -> tuple[Culprit | None, frozenset[str]]:
        """What moved from ``good`` to ``bad`` and is to blame, in the index's names, and those that are conda's.

        None if ``good`` fails too, or if ``bad`` does not fail again: then it is a build, or chance.
        """
        old, new = conda.versions(good), conda.versions(bad)
        if not self.red.act.prefect or old == new:
            return None, frozenset()
        say(f"bisecting over {sum(old.get(name) != new.get(name) for name in {*old, *new})} packages that moved ...")
        known = conda.Metadata.of(good, bad)
        pip = perform.pip_wheel(self.scratch)

        def dead(versions: dict[str, str]) -> bool:
            return self._dead(sorted(spec for item in versions.items() for spec in known.specs[item]), versions, pip)

        if not dead(new) or dead(old):
            return None, frozenset()
        return conda.named(culprit.find(old, new, dead, known.requires), good, bad)

    def _dead(self, specs: Sequence[str], versions: dict[str, str], pip: Path) -> bool:
        """Whether the set of these ``specs`` fails on the way to the step that failed.

        One that has no solution counts as running. The search narrows down to what was seen dead alone, so that a set
        which says nothing can make its answer wider, never wrong.
        """

        def planner(choice: Choice, config: Config) -> Plan:
            return asyncio.run(plan.solved(choice, config, "a mixture", specs, ()))

        place = HOME / "genuine-hunt"
        wanted = self.red.failed()[0].name
        try:
            install(place, self.of.choice, planner=planner)
            subject = _subject(self.red.act, place, self.scratch, versions.get("prefect"))
            former = self.former if wanted == "upgrade" else None
            wrong = trial.failure(subject, wanted, self.red.run.database, pip, former)
        except ToolError as error:
            if error.id == "unsatisfiable":
                self.unsolved += 1
                say("  no such set can be installed")
                return False
            if error.exit_code != Exit.CHECK_FAILED:
                raise
            wrong = Step("start", False, f"{error.what}: {error.why}")
        return verdict(wrong)


def refused(found: Sequence[Trial], before: Solution, after: Solution, of: Source, scratch: Path) -> ToolError | None:
    """What to say of the first environment that is red, None if none is.

    The package to blame is found if it moved since the lock ``before``.
    """
    red = next((one for one in found if not one.run.ok), None)
    if red is None:
        return None
    ((environment, _),) = red.act.places
    place = (environment, HERE)
    hunt = Hunt(red, of, scratch, older(found, red.act))
    blamed, native = hunt.culprit(before[place], after[place]) if place in before else (None, frozenset[str]())
    return gate.refusal(red, blamed, native, hunt.note)
