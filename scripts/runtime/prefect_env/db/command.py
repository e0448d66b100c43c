"""``prefect-env db``: status, backup, restore, upgrade, downgrade."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from prefect_env import revisions
from prefect_env.console import CommandError, command, emit, say
from prefect_env.db import backup as backups_
from prefect_env.db import servers
from prefect_env.db.base import Database, Session
from prefect_env.db.prefix import Prefix, newer_than, running
from prefect_env.upgrade import plan as planning
from prefect_env.upgrade.command import (
    FOLDER,
    backups_option,
    dry_option,
    empty_option,
    perform,
    server_option,
    url_option,
    yes_option,
)
from prefect_env.upgrade.journal import UNFINISHED, Journal
from prefect_env.upgrade.run import lock
from prefect_env.versions import Version


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def db() -> None:
    """Look at Prefect's database, back it up, move it between versions.

    \b
    Example:
      prefect-env db status
      prefect-env db backup
      prefect-env db restore ~/.prefect/prefect-env/backups/20261122T080000.000000Z-cf1159bd0d3c
    """


def _here(url: str | None) -> tuple[Prefix, Database]:
    prefix = Prefix.at(running())
    database = prefix.database(url)
    if database is None:
        raise CommandError("bad-usage", "Prefect 1 keeps its data in a container of its own", where=str(prefix.path))
    return prefix, database


@db.command()
@url_option
@backups_option
@command
def status(url: str | None, backups: Path | None, as_json: bool) -> None:
    """Show where the database stands, who uses it, its backups.

    \b
    Exits 1 if this environment cannot use it.
    Example:
      prefect-env db status --json
    """
    prefix, database = _here(url)
    home = prefix.settings().home
    state = database.state()
    error = newer_than(prefix, database.kind, state.revision, database.where) if state.revision else None
    unfinished = [str(entry) for entry in Journal(home).entries if entry.status in UNFINISHED]
    kept = backups_.listing(backups or backups_.folder_of(home))
    result: dict[str, Any] = {
        "database": database.where,
        "kind": database.kind,
        "exists": database.exists(),
        "size": database.size() if database.exists() else 0,
        "revision": state.revision,
        "written_by": revisions.written_by(database.kind, state.revision) if state.revision else None,
        "alpha": state.alpha,
        "prefect": str(prefix.version),
        "head": prefix.head(database.kind),
        "users": database.users() if database.exists() else [],
        "unfinished": unfinished,
        "backups": [item.as_dict() for item in kept],
        "problem": error.fields if error else None,
    }
    emit(result, _text(result), as_json=as_json)
    if error or state.alpha or unfinished:
        sys.exit(1)


def _text(result: dict[str, Any]) -> str:
    if result["alpha"]:
        stands = (
            "made by 2.0a9 or earlier: no later Prefect can migrate it (prefect-env db upgrade says what can be done)"
        )
    elif result["revision"] is None:
        stands = "empty: Prefect makes its tables at its first start"
    else:
        place = (
            "as this environment wants it"
            if result["revision"] == result["head"]
            else f"this environment: {result['head']}"
        )
        stands = f"{result['revision']}, {result['written_by'] or 'of an unknown Prefect'}; {place}"
    lines = [
        f"Database:  {result['database']} ({result['kind']}, {result['size'] / 2**20:.1f} MiB)",
        f"Revision:  {stands}",
        f"Prefect:   {result['prefect']}",
        f"Open in:   {', '.join(result['users']) or 'no other process that this user can see'}",
    ]
    lines += [f"Backup:    {item['folder']} ({item['made']}, {item['reason']})" for item in result["backups"]]
    lines += [f"Unfinished: {item}; prefect-env upgrade rollback" for item in result["unfinished"]]
    if problem := result["problem"]:
        lines += [f"Problem:   {problem['what']}", f"  why: {problem['why']}", f"  fix: {problem['fix']}"]
    return "\n".join(lines)


@db.command()
@url_option
@backups_option
@command
def backup(url: str | None, backups: Path | None, as_json: bool) -> None:
    """Make a checked backup; the server may go on working.

    \b
    Example:
      prefect-env db backup --backups /mnt/backups
    """
    prefix, database = _here(url)
    home = prefix.settings().home
    if not database.exists():
        raise CommandError("bad-usage", "there is no database yet", where=database.where)
    with lock(home), database.session() as session:
        session.check()
        made = backups_.create(
            database, session, backups or backups_.folder_of(home), prefect=str(prefix.version), reason="asked for"
        )
    emit(made.as_dict(), str(made.folder), as_json=as_json)


@db.command()
@click.argument("folder", type=FOLDER, metavar="BACKUP")
@url_option
@server_option
@dry_option
@yes_option
@command
def restore(folder: Path, url: str | None, ignore_server: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Replace the database by BACKUP, which is a folder.

    \b
    `backup` or `upgrade` made it; the present database is backed up first.
    Example:
      prefect-env db restore ~/.prefect/prefect-env/backups/20261122T080000.000000Z-cf1159bd0d3c
    """
    prefix, database = _here(url)
    kept = backups_.read(folder)
    if kept.kind != database.kind:
        raise CommandError(
            "bad-usage", f"the backup is of {kept.kind}, the database of {database.kind}", where=str(folder)
        )
    kept.verify()
    say(
        f"{database.where} will be as it was on {kept.made}:"
        f" revision {kept.revision}, {sum(kept.counts.values()):,} rows"
    )
    if dry_run:
        emit(kept.as_dict(), "", as_json=as_json)
        return
    if not ignore_server:
        servers.none_answers(prefix.settings(), database.where)
    if not yes:
        click.confirm("Go on?", abort=True, err=True)
    saved: list[str] = []

    def before(session: Session) -> None:
        made = backups_.create(database, session, folder.parent, prefect=str(prefix.version), reason="before a restore")
        saved.append(str(made.folder))

    with lock(prefix.settings().home):
        database.restore(kept.content, before)
    result = {"restored": str(folder), "database": database.where, "before": saved[0] if saved else None}
    emit(result, f"restored {database.where}" + (f"\nwhat it was: {saved[0]}" if saved else ""), as_json=as_json)


@db.command()
@url_option
@backups_option
@server_option
@dry_option
@yes_option
@empty_option
@command
def upgrade(
    url: str | None,
    backups: Path | None,
    ignore_server: bool,
    dry_run: bool,
    yes: bool,
    start_empty: bool,
    as_json: bool,
) -> None:
    """Bring the database up to this environment's Prefect.

    \b
    With a backup before and a check after.
    Example:
      prefect-env db upgrade --dry-run
    """
    prefix, _ = _here(url)
    found = planning.make(prefix, prefix, url=url, backups=backups, ignore_server=ignore_server)
    perform(found, dry_run=dry_run, yes=yes, start_empty=start_empty, as_json=as_json)


@db.command()
@click.option("--revision", help="The alembic revision to go down to.")
@click.option("--to", "release", help="The Prefect release to go down to, for example 2.20.27.")
@url_option
@backups_option
@server_option
@dry_option
@yes_option
@command
def downgrade(
    revision: str | None,
    release: str | None,
    url: str | None,
    backups: Path | None,
    ignore_server: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Bring the database down to an older Prefect's revision.

    \b
    To be run in the environment of the newer Prefect.
    Example:
      prefect-env db downgrade --to 2.20.27
    """
    prefix, database = _here(url)
    known = prefix.revisions(database.kind)
    goal = revision or (_head(database.kind, release) if release else None)
    current = database.state().revision
    if goal not in known or (current in known and known.index(goal) > known.index(current or "")):
        raise CommandError(
            "bad-usage",
            f"not a revision below the database's: {goal or release or 'none given'}",
            where=database.where,
            why=f"it is at {current}",
            fix=f"--to {' | '.join(revisions.table(database.kind)[1])}, or --revision, for example {known[-2]}",
        )
    found = planning.make(prefix, prefix, url=url, backups=backups, down_to=goal, ignore_server=ignore_server)
    perform(found, dry_run=dry_run, yes=yes, start_empty=False, as_json=as_json)


def _head(kind: str, release: str) -> str | None:
    try:
        return revisions.head_of(kind, Version(release))
    except ValueError:
        return None
