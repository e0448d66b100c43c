"""``prefect-env doctor``: choose checks, run them, show the report, mend what the user agrees to."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from prefect_env.console import CommandError, command, emit, say
from prefect_env.doctor import host as hosts
from prefect_env.doctor.context import Context, Options
from prefect_env.doctor.registry import Check, Result, Status, checks
from prefect_env.doctor.run import examined, failed, run

COLORS = {Status.OK: "green", Status.SKIP: "dim", Status.WARN: "yellow", Status.FAIL: "bold red"}

WIDE = 10_000
"""Columns where nobody looks: a file or a pipe gets whole lines."""


@click.command()
@click.option("--only", metavar="ID", multiple=True, help="Run this check only; may be repeated.")
@click.option("--list", "listed", is_flag=True, help="List the checks.")
@click.option("--offline", is_flag=True, help="Leave out the checks that use the network.")
@click.option("--deep", is_flag=True, help="Also hash every file, and import Prefect.")
@click.option("--probe", is_flag=True, help="Also run a small flow on the API server and count its task runs.")
@click.option("--fix", is_flag=True, help="Mend what can be mended; asks before each change.")
@click.option("--all", "everything", is_flag=True, help="Show what is in order, too.")
@click.option("--replay", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              help="Check a recorded host instead: the folder host/ of a support bundle.")  # fmt: skip
@command
def doctor(
    only: tuple[str, ...],
    listed: bool,
    offline: bool,
    deep: bool,
    probe: bool,
    fix: bool,
    everything: bool,
    replay: Path | None,
    as_json: bool,
) -> None:
    """Find what is wrong with this environment, its host, proxy, certificates and database.

    \b
    Nothing is changed without --fix. Exits 0 if nothing failed, 1 if something did, 2 for wrong usage.
    Examples:
      prefect-env doctor --offline
      prefect-env doctor --only database-revision --json
    """
    if fix and as_json:
        raise CommandError("bad-usage", "--fix asks, which --json has no place for", fix="give one of them")
    chosen = choose(only)
    if listed:
        emit(
            [{"id": check.id, "group": check.group, "title": check.title} for check in chosen],
            _list(chosen),
            as_json=as_json,
        )
        return
    context = Context(subject(replay), Options(offline, deep, probe))
    results = list(run(chosen, context))
    if fix:
        results = [(check, _mended(check, result, context)) for check, result in results]
    if as_json:
        emit(as_data(results), "", as_json=True)
    else:
        show(results, everything=everything or bool(only))
    if failed(result for _, result in results):
        sys.exit(1)


def choose(only: Iterable[str]) -> list[Check]:
    """The checks of these ids; all if there are none. Raises ``bad-usage`` for an id that is none."""
    known = checks()
    unknown = [name for name in only if name not in known]
    if unknown:
        raise CommandError("bad-usage", f"no such check: {', '.join(unknown)}", fix="prefect-env doctor --list")
    return [check for name, check in known.items() if name in only or not only]


def subject(replay: Path | None) -> hosts.Host:
    """This host, or the recorded one in ``replay``. Raises ``bad-usage`` if that is none."""
    if replay is None:
        return hosts.live()
    try:
        return hosts.replay(replay)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError("bad-usage", "no recorded host there", where=str(replay), why=str(error)) from error


def as_data(results: Iterable[tuple[Check, Result]]) -> list[dict[str, Any]]:
    """The report as JSON prints it."""
    return [
        {
            "id": check.id,
            "title": check.title,
            "group": check.group,
            "status": result.status.value,
            "evidence": result.evidence,
            "cause": result.cause,
            "fix": result.fix,
            "fixable": check.fixer is not None,
        }
        for check, result in results
    ]


def show(results: list[tuple[Check, Result]], *, everything: bool) -> None:
    """The report as a table: what is wrong, with cause and fix below the evidence; then one line that counts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("status", "check"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", overflow="fold")
    for check, result in results:
        if not everything and result.status in (Status.OK, Status.SKIP):
            continue
        text = Text(result.evidence)
        for label, value in (("why", result.cause), ("fix", result.fix)):
            if value:
                text.append(f"\n{label}: {value}", style="bold" if label == "fix" else "dim")
        table.add_row(Text(result.status.value, style=COLORS[result.status]), check.id, text)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    with console.capture() as drawn:
        if table.row_count:
            console.print(table)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())
    counts = {status: sum(result.status is status for _, result in results) for status in Status}
    click.echo(", ".join(f"{counts[status]} {status.value}" for status in reversed(Status) if counts[status]))


def _list(chosen: Iterable[Check]) -> str:
    lines, group = [], ""
    for check in chosen:
        if check.group != group:
            group = check.group
            lines.append(f"{group}:")
        lines.append(f"  {check.id:<22} {check.title}" + (" (--fix)" if check.fixer else ""))
    return "\n".join(lines)


def _mended(check: Check, result: Result, context: Context) -> Result:
    """The result after the fixer, if there is one, the user agrees and it can do something."""
    if check.fixer is None or result.status not in (Status.WARN, Status.FAIL):
        return result
    say(f"{check.id}: {result.evidence}")
    if not click.confirm(check.question, default=False, err=True):
        return result
    try:
        done = check.fixer(context)
    except OSError as error:
        raise CommandError("not-writable", f"{check.id} cannot be mended", why=str(error)) from error
    say(done or "nothing could be done")
    return examined(check, Context(context.host, context.options)) if done else result
