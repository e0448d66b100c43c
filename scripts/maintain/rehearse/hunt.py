"""Find the package that made a set dead, by trying mixtures of it and of one that runs; and the bound to write."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from maintain.channel.release import Release
from maintain.channel.sets import PinSet
from maintain.channel.wheels import Pin, fetch
from maintain.lib.console import say
from maintain.rehearse import culprit, perform, prefix, trial
from maintain.rehearse.beside import MESSAGING
from maintain.rehearse.book import Book
from maintain.rehearse.culprit import Culprit, Versions
from maintain.rehearse.trial import Step, Subject

HOME = prefix.HOME / "hunt"
"""The prefix that each mixture is made in, in its turn."""


@dataclass(frozen=True)
class Case:
    """What failed, and where."""

    step: str
    """The step of the trial."""
    database: str
    release: Release
    beside: tuple[Pin, ...] = ()
    """What runs beside the set; it does not move."""


def culprit_of(good: Versions, bad: Versions, case: Case, book: Book, *, proven: bool = False) -> Culprit | None:
    """Which of the projects that moved from ``good`` to ``bad`` is to blame.

    None if ``good`` fails as well, or ``bad`` does not fail again in the few steps that lead to the one that failed.
    ``proven`` says that ``good`` is known to run. ``book`` must have the pins of both.
    """
    moved = {*good.items()} ^ {*bad.items()}
    say(f"bisecting over {len({name for name, _ in moved})} projects that moved ...")
    with tempfile.TemporaryDirectory(prefix="prefect-env-hunt-", ignore_cleanup_errors=True) as name:
        dead = prober(case, book, Path(name))
        if not dead(dict(bad)) or (not proven and dead(dict(good))):
            return None
        return culprit.find(good, bad, dead, requirements(book, case.release))


def prober(case: Case, book: Book, scratch: Path) -> Callable[[dict[str, str]], bool]:
    """What tells whether a set fails: the steps that lead to the one that failed, and no more."""
    stage = prefix.stage(case.release)
    pip = perform.pip_wheel(scratch) if case.step == "pip check" else None

    def dead(versions: dict[str, str]) -> bool:
        pins = tuple(book.pins[item] for item in versions.items())
        place = prefix.make(PinSet("a mixture", pins + case.beside, ours=False, where=str(book.path)), stage, HOME)
        folder = Path(tempfile.mkdtemp(dir=scratch))
        redis = any(pin.name == MESSAGING for pin in case.beside)
        subject = Subject(place, versions.get("prefect", ""), folder, stage.inside, redis=redis)
        return verdict(trial.failure(subject, case.step, case.database, pip))

    return dead


def verdict(wrong: Step | None) -> bool:
    """Whether a mixture is dead, by the step that went wrong in it; said for who waits."""
    say(f"  {'dead: ' + ' '.join(wrong.found.split())[:160] if wrong else 'runs'}")
    return wrong is not None


def requirements(book: Book, release: Release) -> culprit.Requires:
    """The metadata of the book's wheels, as the marker variables of ``release`` choose from it."""
    memory: dict[tuple[str, str], list[str]] = {}

    def requires(name: str, version: str) -> list[str]:
        item = (name, version)
        if item not in memory:
            (wheel,) = fetch([book.pins[item]], release).values()
            plain = {**release.markers, "extra": ""}
            lines = [Requirement(line) for line in wheel.requires]
            memory[item] = [str(line) for line in lines if line.marker is None or line.marker.evaluate(plain)]
        return memory[item]

    return requires


def told(blamed: Culprit) -> str:
    """``fastapi 0.136.3 -> 0.141.1``"""
    return ", ".join(f"{name} {old or 'absent'} -> {new or 'absent'}" for name, (old, new) in blamed.moved.items())


def bound(blamed: Culprit, prefect: str, seen: str, native: Collection[str] = ()) -> str:
    """The lines for ``recipe/bounds.toml``: the version that was seen dead and all above it are left out.

    ``native`` are those that go by conda's name, as the Python index has no such package.
    """
    major, minor = prefect.split(".")[:2]
    # What is already known to be to blame is no reason for another bound.
    last = ([line for line in seen.strip().splitlines() if " is to blame: " not in line] or ["dead"])[-1]
    reason = json.dumps(last[:200], ensure_ascii=False)  # a string of TOML as well
    lines = []
    for name, (_, new) in blamed.moved.items():
        if new is not None:
            lines += [
                "[[bound]]",
                f'prefect = ">={major}.{minor},<{major}.{int(minor) + 1}"',
                f'conda = "{name} <{new}"' if name in native else f'spec = "{name}<{new}"',
                f"reason = {reason}",
                f'source = "scripts/rehearse: Prefect {prefect} with {name} {new}"',
                *([] if name in native else [f'dead = ["{new}"]']),  # `dead` goes with `spec` alone
            ]
    return "\n".join(lines)
