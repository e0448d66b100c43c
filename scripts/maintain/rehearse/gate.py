"""Between a solution and the lock file: nothing is written whose Python part was not run, and what is dead is named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

from maintain.channel.release import RELEASES, named
from maintain.channel.wheels import Pin
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lock import lockfile, store
from maintain.lock.package import Solution
from maintain.lock.relock import Gate
from maintain.lock.store import Evidence
from maintain.manifest import Manifest, load
from maintain.rehearse import beside, hunt, perform, prefix, results
from maintain.rehearse.agenda import Act, agenda, requested
from maintain.rehearse.book import Book
from maintain.rehearse.culprit import Culprit
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
        found = []
        with closing(perform.perform(acts, stages, book.of, perform.default_jobs())) as trials:
            for one in trials:
                found.append(one)
                if not one.run.ok:  # what is running ends, the rest is not tried
                    break
    except ToolError as error:
        if error.id in ("unsupported-host", "missing-program"):
            error.fix = f"{error.fix}; or write it unproven with {ANYWAY}, and scripts/check will say so"
        raise
    red = [one for one in found if not one.run.ok]
    if red:
        raise refused(red[0], agenda(before), known.results, book)
    return Evidence(noted(known.results, found), (*known.pins, *fresh))


def choose(*, unrehearsed: bool) -> Gate:
    """What is asked before a lock is written."""
    return marked if unrehearsed else rehearsed


def marked(manifest: Manifest, before: Solution, after: Solution, known: Evidence) -> Evidence:
    """Mark what of ``after`` nobody has run as just that."""
    del before
    found = dict(known.results)
    for act in agenda(after, requested(manifest)):
        if why := results.lacking(known.results, act):
            found.setdefault(act.part.digest, Record(act.prefect, 0, act.part.left_out, ()))
            say(f"written all the same: {act.title}: {why}")
    return Evidence(found, known.pins)


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


def refused(red: Trial, before: Sequence[Act], known: Results, book: Book) -> ToolError:
    """Why a lock is not written: what failed, the package to blame as far as it can be found, the line to add."""
    return refusal(red, blame(red, before, known, book))


def refusal(red: Trial, blamed: Culprit | None, native: Collection[str] = (), note: str = "") -> ToolError:
    """The error that names what is dead, and what is to blame for it; ``native`` as for :func:`hunt.bound`."""
    failed = red.failed()[0]
    why = f"{failed.name}: {failed.found}"
    what = f"{red.act.title}: this set of packages is dead"
    if blamed is None:
        why = f"{why}\n{note}" if note else why
        return ToolError("check-failed", what, why=why, fix=f"add a bound to recipe/bounds.toml, or {ANYWAY}")
    lines = hunt.bound(blamed, str(red.act.prefect), failed.found, native)
    return ToolError(
        "check-failed",
        what,
        where="recipe/bounds.toml",
        why=f"{why}\nto blame: {hunt.told(blamed)} (found by {blamed.tries} more runs{note and f'; {note}'})",
        fix=f"add these lines, then run scripts/recipe bounds && scripts/lock\n{lines}",
    )


def blame(red: Trial, before: Sequence[Act], known: Results, book: Book) -> Culprit | None:
    """Bisect from the act of ``before`` that is nearest to the red one; None if there is none, or if it fails too."""
    bad = red.act.part
    candidates = [act for act in before if act.prefect and act.part.digest != red.act.part.digest]
    if not candidates or not red.act.prefect:
        return None
    nearest = min(candidates, key=lambda act: len(set(act.part.projects.items()) ^ set(bad.projects.items())))
    book.complete([nearest.part])
    case = hunt.Case(
        red.failed()[0].name, red.run.database, named(red.run.stage), tuple(book.pins[item] for item in beside.of(bad))
    )
    proven = results.lacking(known, nearest) is None
    return hunt.culprit_of(nearest.part.projects, bad.projects, case, book, proven=proven)
