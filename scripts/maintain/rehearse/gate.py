"""Between a solution and the lock file: nothing is written whose Python part was not run, and what is dead is named."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement

from maintain.channel.locked import Part
from maintain.channel.release import RELEASES, Release, named
from maintain.channel.specs import conda_name
from maintain.channel.wheels import Pin, fetch
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lock import lockfile, store
from maintain.lock.package import Solution, solution
from maintain.lock.store import Evidence
from maintain.manifest import Manifest, load
from maintain.rehearse import culprit, perform, prefix, results, trial
from maintain.rehearse.agenda import POSTGRESQL, Act, agenda, requested
from maintain.rehearse.book import Book
from maintain.rehearse.culprit import Culprit, Versions
from maintain.rehearse.perform import Trial
from maintain.rehearse.results import Record, Results

ANYWAY = "--unrehearsed"
"""The option that writes a lock which nobody has run, marked as such."""


def rehearsed(manifest: Manifest, before: Solution, after: Solution, known: Evidence) -> Evidence:
    """Rehearse what of ``after`` nobody has run yet; the evidence with it.

    Raises ``check-failed`` if something is dead, with the package to blame and the bound to add, and what keeps a
    rehearsal from being made on this host.
    """
    acts = [act for act in agenda(after, requested(manifest)) if results.lacking(known.results, act)]
    if not acts:
        return known
    say(f"rehearsing {len(acts)} sets of Python packages that nobody has run yet ...")
    book = Book()
    try:
        fresh = book.complete(act.part for act in acts)
        stages = [prefix.stage(release) for release in RELEASES.values()]
        found = list(perform.perform(acts, stages, book.of, perform.default_jobs()))
    except ToolError as error:
        if error.id in ("unsupported-host", "missing-program"):
            error.fix = f"{error.fix}; or write it unproven with {ANYWAY}, and scripts/check will say so"
        raise
    red = [one for one in found if not one.run.ok]
    if red:
        raise refused(red[0], _parts(before), book)
    return Evidence(noted(known.results, found), (*known.pins, *fresh))


def unrehearsed(manifest: Manifest, before: Solution, after: Solution, known: Evidence) -> Evidence:
    """Mark what of ``after`` nobody has run as just that."""
    del before
    marked = dict(known.results)
    pins: tuple[Pin, ...] = ()
    for act in agenda(after, requested(manifest)):
        if results.lacking(known.results, act):
            old = marked.get(act.part.digest)
            marked[act.part.digest] = old or Record(act.prefect, 0, act.part.left_out, ())
            say(f"unrehearsed: {act.title}")
    return Evidence(marked, (*known.pins, *pins))


def noted(known: Results, found: Sequence[Trial]) -> Results:
    """``known`` with the runs ``found``."""
    for one in found:
        known = results.add(known, one.act, len(one.act.part.projects), [one.run])
    return known


def save(root: Path, found: Sequence[Trial], pins: Sequence[Pin] = ()) -> list[str]:
    """Put runs of the lock below ``root`` into its evidence and into the pages; the files that changed."""
    manifest = load(root / "pixi.toml")
    records = lockfile.read(root / "pixi.lock").records
    known = store.evidence(root)
    known = Evidence(noted(known.results, found), (*known.pins, *pins))
    return store.write(root, store.outputs(manifest, records, store.read_text(root / "README.md"), known))


def refused(red: Trial, before: Sequence[Part], book: Book) -> ToolError:
    """Why a lock is not written: what failed, the package to blame as far as it can be found, the line to add."""
    failed = red.failed()[0]
    why = f"{failed.name}: {failed.found}"
    what = f"{red.act.title}: this set of packages is dead"
    blamed = blame(red, before, book)
    if blamed is None:
        return ToolError("check-failed", what, why=why, fix=f"add a bound to recipe/bounds.toml, or {ANYWAY}")
    return ToolError(
        "check-failed",
        what,
        where="recipe/bounds.toml",
        why=f"{why}\nto blame: {told(blamed)} (found in {blamed.tries} tries)",
        fix="add these lines, then run scripts/recipe bounds && scripts/lock\n"
        + bound(blamed, str(red.act.prefect), failed.found),
    )


def blame(red: Trial, before: Sequence[Part], book: Book) -> Culprit | None:
    """Bisect from the set of ``before`` that is nearest to the red one; None if there is none that runs."""
    bad = red.act.part
    candidates = [part for part in before if part.version("prefect") and part.digest != bad.digest]
    if not candidates:
        return None
    good = min(candidates, key=lambda part: len(set(part.projects.items()) ^ set(bad.projects.items())))
    book.complete([good])
    return bisect(good.projects, bad.projects, red, book)


def bisect(good: Versions, bad: Versions, red: Trial, book: Book) -> Culprit | None:
    """Find what makes ``bad`` fail as ``red`` did; None if ``good`` fails in the same way."""
    release = named(red.run.stage)
    requires = requirements(book, release)
    say(f"bisecting over {len({*good.items()} ^ {*bad.items()})} moved versions ...")
    with tempfile.TemporaryDirectory(prefix="prefect-env-bisect-", ignore_cleanup_errors=True) as name:
        dead = prober(red, release, book, Path(name))
        return None if dead(dict(good)) else culprit.find(good, bad, dead, requires)


def prober(red: Trial, release: Release, book: Book, scratch: Path) -> Callable[[dict[str, str]], bool]:
    """What tells whether a set fails as ``red`` did: the steps up to the one that failed there, and no more."""
    stage = prefix.stage(release)
    wanted = red.failed()[0].name

    def dead(versions: dict[str, str]) -> bool:
        beside = [pin for pin in book.of(red.act).pins if pin.name not in red.act.part.projects]
        pins = [*(book.pins[item] for item in versions.items()), *beside]
        place = prefix.make(replace(book.of(red.act), pins=tuple(pins)), stage, prefix.HOME / "bisect")
        folder = Path(tempfile.mkdtemp(dir=scratch))
        subject = trial.Subject(place, versions.get("prefect", ""), folder, stage.inside, redis=bool(beside))
        for step in trial.until(subject, wanted, red.run.database):
            if not step.ok:
                say(f"  dead: {step.name}: {' '.join(step.found.split())[:160]}")
                return True
        say("  runs")
        return False

    return dead


def requirements(book: Book, release: Release) -> culprit.Requires:
    """The metadata of the book's wheels, as the marker variables of ``release`` choose from it."""
    memory: dict[tuple[str, str], list[str]] = {}

    def requires(name: str, version: str) -> list[str]:
        item = (name, version)
        if item not in memory:
            (wheel,) = fetch([book.pins[item]], release).values()
            lines = map(Requirement, wheel.requires)
            memory[item] = [
                str(line)
                for line in lines
                if line.marker is None or line.marker.evaluate({**release.markers, "extra": ""})
            ]
        return memory[item]

    return requires


def told(blamed: Culprit) -> str:
    """``fastapi 0.136.3 -> 0.141.1``"""
    return ", ".join(f"{name} {old or 'absent'} -> {new or 'absent'}" for name, (old, new) in blamed.moved.items())


def bound(blamed: Culprit, prefect: str, seen: str) -> str:
    """The lines for ``recipe/bounds.toml``: the version that was seen dead and all above it are left out."""
    series = ".".join(prefect.split(".")[:2])
    after = f"{series.partition('.')[0]}.{int(series.partition('.')[2]) + 1}"
    last = seen.strip().splitlines()[-1] if seen.strip() else "dead"
    lines = []
    for name, (_, new) in blamed.moved.items():
        if new is not None:
            reason = last.replace("\\", "\\\\").replace('"', "'")[:200]
            lines += [
                "[[bound]]",
                f'prefect = ">={series},<{after}"',
                f'spec = "{name}<{new}"',
                f'reason = "{reason}"',
                f'source = "scripts/rehearse: Prefect {prefect} with {conda_name(name)} {new}"',
                f'dead = ["{new}"]',
            ]
    return "\n".join(lines)


def _parts(before: Solution) -> list[Part]:
    """The Python parts of the lock that is there."""
    return [act.part for act in agenda(before)]
