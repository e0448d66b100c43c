"""``scripts/rehearse``: run what is locked, and record what ran."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from maintain.channel.release import RELEASES, named
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import atomic_write
from maintain.lib.paths import BUILD, LOCK, ROOT
from maintain.lock import lockfile
from maintain.lock.package import solution
from maintain.manifest import load
from maintain.rehearse import gate, perform, prefix
from maintain.rehearse.agenda import agenda, requested
from maintain.rehearse.book import Book
from maintain.rehearse.perform import Trial


@click.command(epilog="Example: scripts/rehearse default server --release trixie")
@click.argument("environments", nargs=-1)
@click.option("--release", "releases", multiple=True, type=click.Choice(list(RELEASES)), help="Only on this Debian.")
@click.option(
    "--lock", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=LOCK, help="Another lock."
)
@click.option("--jobs", type=click.IntRange(1), default=perform.default_jobs(), show_default=True, help="Runs at once.")
@click.option("--no-write", is_flag=True, help="Record nothing in envs/; say only what was seen.")
@tool
def cli(
    *, environments: tuple[str, ...], releases: tuple[str, ...], lock: Path, jobs: int, no_write: bool, as_json: bool
) -> int:
    """Build the locked ENVIRONMENTS (all without any) of every platform from wheels and Debian's libraries; run.

    Each set of Python packages gets a real server on SQLite or PostgreSQL and Redis, a flow with tasks, a subflow and a
    retry, a deployment through a worker, an automation, every command, pip check and the upgrade of an older database.
    What was seen goes to envs/rehearsed.json and the pages; exit code 1 if anything failed.
    """
    manifest = load()
    if unknown := set(environments) - set(manifest.environments):
        raise ToolError(
            "bad-usage", f"there is no environment {min(unknown)}", why=f"there are: {', '.join(manifest.environments)}"
        )
    acts = agenda(solution(lockfile.read(lock).records), requested(manifest), environments)
    book = Book()
    fresh = book.complete(act.part for act in acts)
    stages = [prefix.stage(named(name)) for name in releases or RELEASES]
    found = []
    for trial in perform.perform(acts, stages, book.of, jobs):
        found.append(trial)
        if not as_json:
            show(trial)
    report(lock, found)
    if not no_write and lock == LOCK:
        for path in gate.save(ROOT, found, fresh):
            say(f"wrote {path}")
    emit([perform.as_dict(trial) for trial in found], lambda: summarise(found), as_json=as_json)
    return int(Exit.CHECK_FAILED if any(not trial.run.ok for trial in found) else Exit.DONE)


def report(lock: Path, found: list[Trial]) -> Path:
    """Write all that was seen, by the lock's hash; the file."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    path = BUILD / "rehearsal" / f"{digest[:16]}.json"
    data: dict[str, Any] = {"lock": digest, "runs": [perform.as_dict(trial) for trial in found]}
    atomic_write(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    say(f"all that was seen: {path}")
    return path


def show(trial: Trial) -> None:
    """One run for a terminal."""
    part = trial.act.part
    out.print(f"[bold]{'ok  ' if trial.run.ok else 'RED '}[/] ", end="")
    out.print(trial.label, markup=False)
    differs = ", ".join(f"{name} {version}" for name, version in trial.run.versions.items())
    out.print(
        f"     equal to the lock: {len(part.projects)} Python packages; not: {differs} (lock: Python {part.python})",
        markup=False,
    )
    for name, why in part.left_out.items():
        out.print(f"     nothing stands for {name}: {why}", markup=False)
    for step in trial.steps:
        text = " ".join(step.found.split())
        out.print(
            f"     {'ok  ' if step.ok else 'FAIL'} {step.name}: {text[: 1500 if not step.ok else 160]}", markup=False
        )


def summarise(found: list[Trial]) -> None:
    """The last line."""
    red = [trial for trial in found if not trial.run.ok]
    out.print(f"{len(found) - len(red)} of {len(found)} runs are green", markup=False)
    for trial in red:
        out.print(f"red: {trial.label}: {', '.join(step.name for step in trial.failed())}", markup=False)


if __name__ == "__main__":
    main(cli)
