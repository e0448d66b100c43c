"""``prefect-env upgrade``: plan, run, rollback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from prefect_env.console import CommandError, command, emit, say
from prefect_env.db import servers
from prefect_env.db.prefix import Prefix, running
from prefect_env.upgrade import run as engine
from prefect_env.upgrade.journal import Journal
from prefect_env.upgrade.plan import Plan, make

FOLDER = click.Path(path_type=Path, file_okay=False, resolve_path=True)

url_option = click.option("--url", help="The database's URL, in place of what Prefect's settings say.")
backups_option = click.option(
    "--backups", type=FOLDER, help="Where backups go; default: PREFECT_HOME/prefect-env/backups."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
server_option = click.option("--ignore-server", is_flag=True, help="The server that answers uses another database.")
untried_option = click.option("--untried", is_flag=True, help="Do not start the new environment's server first.")
empty_option = click.option("--start-empty", is_flag=True, help="Agree that data of 2.0a9 or earlier are left behind.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def upgrade() -> None:
    """Move to another environment and take the database along, or go back.

    \b
    Example:
      prefect-env upgrade plan --to /opt/prefect/3
      prefect-env upgrade run --to /opt/prefect/3 --link /opt/prefect/current
      prefect-env upgrade rollback
    """


def _where(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say from where to where."""
    options = [
        click.option("--to", "new", type=FOLDER, required=True, help="The prefix of the new environment."),
        click.option(
            "--from", "old", type=FOLDER, help="The prefix of the old one; default: the link's, else this one."
        ),
        click.option("--link", type=click.Path(path_type=Path), help="A link to the environment, to be switched, too."),
        url_option,
        backups_option,
        server_option,
        untried_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _plan(new: Path, old: Path | None, link: Path | None, **options: Any) -> Plan:
    before = old or (link if link and link.is_symlink() else running())
    return make(Prefix.at(before), Prefix.at(new), link=link and link.absolute(), **options)


@upgrade.command()
@_where
@command
def plan(as_json: bool, **options: Any) -> None:
    """Show what an upgrade does; exits 1 if something is in its way.

    \b
    Example:
      prefect-env upgrade plan --to /opt/prefect/3
    """
    found = _plan(**options)
    emit(found.as_dict(), found.text(), as_json=as_json)
    if found.problems:
        sys.exit(1)


@upgrade.command()
@_where
@dry_option
@yes_option
@empty_option
@command
def run(dry_run: bool, yes: bool, start_empty: bool, as_json: bool, **options: Any) -> None:
    """Try the new server, back up, migrate, check, switch.

    \b
    A failure or a kill at any time loses nothing; `rollback` goes back.
    Example:
      prefect-env upgrade run --to /opt/prefect/3 --link /opt/prefect/current
    """
    perform(_plan(**options), dry_run=dry_run, yes=yes, start_empty=start_empty, as_json=as_json)


def perform(plan: Plan, *, dry_run: bool, yes: bool, start_empty: bool, as_json: bool) -> None:
    """Show ``plan``, ask, run it, say what was done. Raises the plan's first problem."""
    if dry_run:
        emit(plan.as_dict(), plan.text(), as_json=as_json)
        return
    if plan.problems:
        raise plan.problems[0]
    if plan.starts_empty and not start_empty:
        raise CommandError(
            "check-failed",
            "the database is of 2.0a9 or earlier and cannot be migrated",
            where=plan.target.where,
            why="DATA WILL BE LOST in the new database, which starts empty; the old one is backed up and set aside",
            fix="add --start-empty to agree",
        )
    if not plan.actions():
        engine.finish(plan.home)
        emit(plan.as_dict(), plan.text(), as_json=as_json)
        return
    say(plan.text())
    if not yes:
        click.confirm("Go on?", abort=True, err=True)
    entry = engine.run(plan)
    lines = [f"done: {entry}"]
    if entry.backup:
        lines.append(f"backup: {entry.backup}")
    lines.append("back: prefect-env upgrade rollback")
    emit(asdict(entry), "\n".join(lines), as_json=as_json)


@upgrade.command()
@click.option("--home", type=FOLDER, help="The PREFECT_HOME of the upgrade; default: what Prefect's settings say.")
@url_option
@server_option
@dry_option
@yes_option
@command
def rollback(home: Path | None, url: str | None, ignore_server: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Put back the environment and database of before.

    \b
    Undoes the newest upgrade; the database as it is now is backed up first.
    Example:
      prefect-env upgrade rollback --dry-run
    """
    settings = Prefix.at(running()).settings()
    home = home or settings.home
    entry = engine.undoable(Journal(home))
    lines = [f"Undo {entry}", f"  environment: {entry.old}"]
    if entry.link:
        lines.append(f"  link: {entry.link} to {entry.old_link or 'nothing, as before'}")
    if entry.backup:
        lines.append(f"  database: {entry.where} from {entry.backup}; what it has now is backed up first")
    if dry_run:
        emit(asdict(entry), "\n".join(lines), as_json=as_json)
        return
    say("\n".join(lines))
    if entry.where and not ignore_server:
        servers.none_answers(settings, entry.where)
    if not yes:
        click.confirm("Runs of after the upgrade will be in that backup only. Go on?", abort=True, err=True)
    entry = engine.rollback(home, url)
    emit(asdict(entry), f"undone: {entry}\nuse the environment {entry.old}", as_json=as_json)
