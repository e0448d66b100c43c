"""``scripts/rehearse``: run what is locked, and record what ran."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from maintain.channel.release import RELEASES, named
from maintain.lib import console
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import Exit, ToolError
from maintain.lib.files import atomic_write, sha256_file
from maintain.lib.paths import LOCK, ROOT
from maintain.lock import lockfile
from maintain.lock.package import solution
from maintain.manifest import load
from maintain.rehearse import gate, genuine, merge, perform, prefix
from maintain.rehearse.agenda import agenda, requested
from maintain.rehearse.book import Book
from maintain.rehearse.perform import Trial

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TARGET = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example: scripts/rehearse default server --release trixie")
@click.argument("names", nargs=-1, metavar="[ENVIRONMENT|FILE]...")
@click.option("--release", "releases", multiple=True, type=click.Choice(list(RELEASES)), help="Only on this Debian.")
@click.option("--lock", type=FILE, default=LOCK, help="Another lock.")
@click.option("--jobs", type=click.IntRange(1), default=perform.default_jobs(), show_default=True, help="Runs at once.")
@click.option("--no-write", is_flag=True, help="Record nothing in envs/; say only what was seen.")
@click.option("--pins", "only_pins", is_flag=True, help="Run nothing; pin the wheels that the lock asks for.")
@click.option("--genuine", "is_genuine", is_flag=True, help="Install conda-forge's packages of this platform instead.")
@click.option("--channel", metavar="URL|DIR", help="With --genuine: a mirror of conda-forge.")
@click.option("--against", type=FILE, help="With --genuine: the lock before, to find what makes a set fail.")
@click.option("--result", type=TARGET, help="With --genuine: write the runs to this file and none to envs/.")
@click.option("--merge", "is_merge", is_flag=True, help="Run nothing; put the runs of these FILES into envs/.")
@tool
def cli(
    *,
    names: tuple[str, ...],
    releases: tuple[str, ...],
    lock: Path,
    jobs: int,
    no_write: bool,
    only_pins: bool,
    is_genuine: bool,
    channel: str | None,
    against: Path | None,
    result: Path | None,
    is_merge: bool,
    as_json: bool,
) -> int:
    """Build the locked ENVIRONMENTS (all without any) of every platform from wheels and Debian's libraries; run.

    Each set of Python packages gets a real server on SQLite or PostgreSQL and Redis, a flow with tasks, a subflow and a
    retry, a deployment through a worker, an automation, every command, pip check and the upgrade of an older database.
    What was seen goes to envs/rehearsed.json and the pages; exit code 1 if anything failed.

    With --genuine the same trial runs in conda-forge's own packages, for this host's platform alone, without Debian.
    """
    if not is_genuine and (channel or against or result):
        raise ToolError("bad-usage", "--channel, --against and --result need --genuine")
    if only_pins and (is_genuine or is_merge or lock != LOCK):
        raise ToolError("bad-usage", "--pins is for the clone's own lock, and takes no other mode")
    if releases and (is_genuine or is_merge):
        raise ToolError("bad-usage", "--release is for wheels")
    if is_merge:
        if is_genuine or no_write or lock != LOCK or not names:
            raise ToolError("bad-usage", "--merge takes files that --result wrote, and no other option")
        return merged([Path(name) for name in names], as_json=as_json)
    check_names(names)
    if is_genuine:
        return genuinely(names, channel, lock, against, result, record=not no_write, as_json=as_json)
    acts = agenda(solution(lockfile.read(lock).records), requested(load()), names)
    book = Book()
    fresh = book.complete(act.part for act in acts)
    if only_pins:
        files = gate.save(ROOT, [], fresh)
        emit(files, lambda: out.print("\n".join(files) or "nothing to pin", markup=False), as_json=as_json)
        return int(Exit.DONE)
    stages = [prefix.stage(named(name)) for name in releases or RELEASES]
    found = shown(perform.perform(acts, stages, book.of, jobs), as_json=as_json)
    report(lock, found)
    if not no_write and lock == LOCK:
        for path in gate.save(ROOT, found, fresh):
            say(f"wrote {path}")
    return ended(found, as_json=as_json)


def check_names(names: tuple[str, ...]) -> None:
    """Raise ``bad-usage`` for a name that is no environment's."""
    known = load().environments
    if unknown := set(names) - set(known):
        raise ToolError("bad-usage", f"there is no environment {min(unknown)}", why=f"there are: {', '.join(known)}")


def genuinely(
    names: tuple[str, ...],
    channel: str | None,
    lock: Path,
    against: Path | None,
    result: Path | None,
    *,
    record: bool,
    as_json: bool,
) -> int:
    """Rehearse the genuine packages; the exit code. What fails is hunted down last, with the runs on the disk."""
    locked = solution(lockfile.read(lock).records)
    before = solution(lockfile.read(against).records) if against else {}
    acts = genuine.acts_here(locked, requested(load()), names)
    of = genuine.source(channel, lock, locked)
    say(str(of.choice))
    with tempfile.TemporaryDirectory(prefix="prefect-env-rehearsal-", ignore_cleanup_errors=True) as name:
        found = shown(genuine.rehearse(acts, of, Path(name)), as_json=as_json)
        report(lock, found)
        if result:
            merge.write(result, lock, found, None)
        elif record and lock == LOCK and of.genuine:
            for path in gate.save(ROOT, found):
                say(f"wrote {path}")
        error = genuine.refused(found, before, locked, of, Path(name))
    if error:
        console.report(error, as_json=False)  # on stderr: the result alone is JSON
        if result:
            merge.write(result, lock, found, error)
    return ended(found, as_json=as_json)


def merged(files: list[Path], *, as_json: bool) -> int:
    """Merge the results of other hosts, and say what is red there and why; the exit code."""
    reports = [merge.read(path) for path in files]
    done = merge.merge(ROOT, reports)
    refused = [report.refused for report in reports if report.refused]

    def text() -> None:
        for one in done.taken:
            out.print(f"{'ok  ' if one.run.ok else 'RED '} {one.label}", markup=False)
        for error in refused:
            for label in ("what", "why", "fix"):
                out.print(f"{label}: {error.get(label, '-')}", markup=False)
        for line in [*(f"left out: {line}" for line in done.left), *(f"wrote {path}" for path in done.files)]:
            out.print(line, markup=False)

    runs = [perform.as_dict(one) for one in done.taken]
    emit({"runs": runs, "refused": refused, "left_out": done.left, "files": done.files}, text, as_json=as_json)
    return int(Exit.DONE if all(one.run.ok for one in done.taken) else Exit.CHECK_FAILED)


def shown(trials: Iterable[Trial], *, as_json: bool) -> list[Trial]:
    """The trials, each shown as it ends."""
    found = []
    for trial in trials:
        found.append(trial)
        if not as_json:
            show(trial)
    return found


def ended(found: list[Trial], *, as_json: bool) -> int:
    """Print the result; the exit code."""
    emit([perform.as_dict(trial) for trial in found], lambda: summarise(found), as_json=as_json)
    return int(Exit.CHECK_FAILED if any(not trial.run.ok for trial in found) else Exit.DONE)


def report(lock: Path, found: list[Trial]) -> Path:
    """Write all that was seen, by the lock's hash; the file."""
    digest = sha256_file(lock)
    path = prefix.HOME / f"{digest[:16]}.json"
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
    if trial.run.packages:
        out.print(f"     every package is the locked one: {differs}", markup=False)
    elif trial.run.stage == genuine.STAND_IN:
        out.print(f"     a stand-in's packages, at whatever versions it has: {differs}", markup=False)
    else:
        equal = f"equal to the lock: {len(part.projects)} Python packages; not: {differs} (lock: Python {part.python})"
        out.print(f"     {equal}", markup=False)
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
