"""Run a plan, finish what a kill left, and go back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timezone
from pathlib import Path

from prefect_env.console import CommandError, say
from prefect_env.db import backup, durable
from prefect_env.db.backup import Backup
from prefect_env.db.base import Database, Session
from prefect_env.db.postgres import Postgres
from prefect_env.db.prefix import Prefix
from prefect_env.db.sqlite import Sqlite, remove, settle
from prefect_env.upgrade import journal as status
from prefect_env.upgrade import link as links
from prefect_env.upgrade import trial
from prefect_env.upgrade.journal import Entry, Journal
from prefect_env.upgrade.plan import Plan

SHRINKING = {
    "block": "renamed in 2.0b6",
    "block_data": "renamed after 2.0a10",
    "block_spec": "renamed in 2.0b6",
    "block_type": "Debug Print Notification is deleted in 2.0b8",
    "block_document_reference": "blocks that refer to themselves are deleted on the way to 3.8.3",
    "concurrency_limit": "moved to concurrency_limit_v2 in 3.4.19",
    "flow_run_alert_policy": "renamed in 2.0b6",
    "flow_run_alert_queue": "renamed in 2.0b6",
    "flow_run_notification_policy": "dropped in 3.4.0",
    "flow_run_notification_queue": "dropped in 3.4.0",
    "work_pool_queue": "merged into work_queue before 2.8.6",
    "worker": "workers register again",
    "worker_pool": "renamed before 2.8.6",
    "worker_pool_queue": "renamed before 2.8.6",
}
"""Tables from which Prefect's own migrations take rows (``DELETE``, ``DROP``, ``RENAME`` in its migration files)."""


def lock(home: Path) -> AbstractContextManager[None]:
    """Keep other upgrades of this ``PREFECT_HOME`` away."""
    return durable.exclusive(home / "prefect-env" / "lock", what=str(home))


def run(plan: Plan) -> Entry:
    """Do what ``plan`` says; on failure all is as before. Raises the failure as :class:`CommandError`."""
    with lock(plan.home):
        journal = Journal(plan.home)
        situation = plan.situation
        finished = recover(journal)
        if finished and (finished.old, finished.new) == (str(situation.old.path), str(situation.new.path)):
            return finished
        if plan.trial:
            trial.run(situation.new)
        entry = Entry(
            id=f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}Z",
            status=status.STARTED,
            old=str(situation.old.path),
            old_version=str(situation.old.version),
            new=str(situation.new.path),
            new_version=str(situation.new.version),
            revision=situation.state.revision,
            new_revision=plan.revision,
            link=str(plan.link) if plan.link else None,
            old_link=links.target(plan.link) if plan.link else None,
        )
        if plan.revision and situation.source:
            entry.kind, entry.where = situation.source.kind, situation.source.where
            if isinstance(situation.source, Sqlite):
                _sqlite(plan, situation.source, journal, entry)
            else:
                _postgres(plan, situation.source, journal, entry)
        else:
            journal.save(entry, status.SWITCHING)
        _finish(journal, entry)
        return entry


def _sqlite(plan: Plan, source: Sqlite, journal: Journal, entry: Entry) -> None:
    """Migrate a copy under the lock of the original, and put it in place."""
    target = plan.target
    assert isinstance(target, Sqlite)  # noqa: S101 - the plan refuses another kind
    entry.source, entry.target = str(source.path), str(target.path)
    target.path.parent.mkdir(parents=True, exist_ok=True)
    work = target.work_file("upgrade")
    entry.work = str(work)
    journal.save(entry, status.STARTED)
    try:
        with source.session(exclusive=True) as session:
            kept = _back_up(plan, source, session, entry)
            copy = Sqlite(work)
            durable.private(work)
            if not plan.starts_empty:
                shutil.copyfile(kept.content, work)
            say(f"migrating a copy with Prefect {plan.situation.new.version} ...")
            plan.situation.new.migrate(copy, down_to=plan.revision if plan.down else None)
            settle(work)
            _check(plan, copy, kept.counts)
            journal.save(entry, status.SWITCHING)
            if os.name != "nt":  # under the lock, but Windows does not rename onto a file that is open
                target.place(work)
        if work.exists():
            target.place(work)
    except BaseException:
        if entry.status == status.STARTED or work.exists():  # else it is in place, and only the link is missing
            remove(work)
            _unchanged(journal, entry)
        raise


def _postgres(plan: Plan, source: Database, journal: Journal, entry: Entry) -> None:
    """Dump, then migrate in place; on failure restore the dump."""
    journal.save(entry, status.STARTED)
    try:
        with source.session(exclusive=True) as session:
            kept = _back_up(plan, source, session, entry)
        journal.save(entry, status.MIGRATING)
        say(f"migrating the database with Prefect {plan.situation.new.version} ...")
        plan.situation.new.migrate(source, down_to=plan.revision if plan.down else None)
        _check(plan, source, kept.counts)
        journal.save(entry, status.SWITCHING)
    except BaseException as failure:
        if entry.status == status.MIGRATING and entry.backup:
            say(f"restoring the database: {failure or 'interrupted'} ...")
            source.restore(backup.read(Path(entry.backup)).content, lambda _: None)
        _unchanged(journal, entry)
        raise


def _unchanged(journal: Journal, entry: Entry) -> None:
    with suppress(OSError):  # the disk may be full, which must not hide why this failed; recover() comes to the same
        journal.save(entry, status.UNDONE)


def _back_up(plan: Plan, source: Database, session: Session, entry: Entry) -> Backup:
    session.check()
    say(f"backing up {source.where} ...")
    made = backup.create(
        source, session, plan.backups, prefect=entry.old_version, reason=f"before Prefect {entry.new_version}"
    )
    entry.backup, entry.revision = str(made.folder), made.revision
    return made


def _check(plan: Plan, database: Database, before: Mapping[str, int]) -> None:
    """Raise ``check-failed`` unless the migrated ``database`` is whole, at its revision and has all rows."""
    with database.session() as session:
        session.check()
        state, after = session.state(), session.counts()
    if state.revision != plan.revision:
        _failed(database, f"it is at revision {state.revision}, expected {plan.revision}")
    if plan.starts_empty or plan.down:
        return
    for table, rows in before.items():
        lost = rows - after.get(table, 0)
        if lost > 0 and table not in SHRINKING:
            _failed(database, f"{lost:,} of {rows:,} rows of the table {table} are gone")
        if lost > 0:
            say(f"{lost:,} rows of {table} are in the backup only: {SHRINKING[table]}")


def _failed(database: Database, why: str) -> None:
    raise CommandError(
        "check-failed",
        "the migrated database is not as it should be",
        where=database.where,
        why=why,
        fix="all is as before; report it with the output of prefect-env upgrade plan",
    )


def _finish(journal: Journal, entry: Entry) -> None:
    """The database is the new one: switch the link."""
    if entry.link:
        links.switch(Path(entry.link), entry.new)
    journal.save(entry, status.DONE)


def finish(home: Path) -> None:
    """:func:`recover` what is unfinished in this ``PREFECT_HOME``."""
    journal = Journal(home)
    if journal.last and journal.last.status in status.UNFINISHED:
        with lock(home):
            recover(journal)


def recover(journal: Journal) -> Entry | None:
    """Bring what a kill interrupted to the old or the new state, where that changes nobody's data.

    Returns the upgrade if it is done now. Raises ``check-failed`` where it takes a rollback.
    """
    entry = journal.last
    if entry is None or entry.status not in status.UNFINISHED:
        return None
    work = Path(entry.work) if entry.work else None
    if entry.status in (status.MIGRATING, status.RETURNING):
        raise CommandError(
            "check-failed",
            f"an upgrade was interrupted: {entry}",
            where=entry.where,
            why="the database may be neither the old nor the new one",
            fix="prefect-env upgrade rollback",
        )
    if entry.status == status.SWITCHING and not (work and work.exists()):
        say(f"finishing an interrupted upgrade: {entry}")
        _finish(journal, entry)
        return entry
    say(f"cleaning up after an interrupted upgrade that had changed nothing: {entry}")
    if work:
        remove(work)
    journal.save(entry, status.UNDONE)
    return None


def undoable(journal: Journal) -> Entry:
    """The upgrade that a rollback would undo. Raises ``bad-usage`` if there is none or its old environment is gone."""
    entry = journal.last
    if entry is None:
        raise CommandError(
            "bad-usage", "there is no upgrade to undo", where=str(journal.path), fix="prefect-env db status"
        )
    if not Path(entry.old).is_dir():
        raise CommandError(
            "bad-usage",
            "the environment to go back to is gone",
            where=entry.old,
            why=f"it had Prefect {entry.old_version}",
            fix="install it there again, then run this command again",
        )
    return entry


def rollback(home: Path, url: str | None = None) -> Entry:
    """Put back the link and the database of before the newest upgrade; the database that is replaced is backed up.

    ``url`` replaces the old environment's setting for a PostgreSQL server. Raises ``bad-usage``, ``busy``.
    """
    with lock(home):
        journal = Journal(home)
        entry = undoable(journal)
        if entry.status in (status.STARTED, status.SWITCHING):
            recover(journal)
        if entry.status == status.UNDONE:  # it had changed nothing
            return entry
        database = _database(entry, url)
        if database and not _is_back(entry, database):
            _put_back(journal, entry, database)
        if entry.link:
            links.switch(Path(entry.link), entry.old_link)
        journal.save(entry, status.UNDONE)
        return entry


def _put_back(journal: Journal, entry: Entry, database: Database) -> None:
    kept = backup.read(Path(entry.backup or ""))
    kept.verify()

    def before(session: Session) -> None:
        reason = f"before the rollback to Prefect {entry.old_version}"
        made = backup.create(database, session, kept.folder.parent, prefect=entry.new_version, reason=reason)
        say(f"the database as it is now is kept in {made.folder}")
        entry.after = str(made.folder)
        journal.save(entry, status.RETURNING)
        if entry.link:
            links.switch(Path(entry.link), entry.old_link)

    say(f"restoring {database.where} ...")
    if entry.source == entry.target:
        database.restore(kept.content, before)
    else:  # the old file was left as it is, and counts again when the new one is gone
        assert isinstance(database, Sqlite)  # noqa: S101 - only SQLite's file changes its name
        with database.session(exclusive=True) as session:
            before(session)
        remove(database.path)


def _is_back(entry: Entry, database: Database) -> bool:
    """Whether the database is the old one already, perhaps with runs of after an interrupted rollback."""
    if entry.status == status.MIGRATING:
        return False
    if entry.source != entry.target:
        return not database.exists()
    return database.exists() and database.state().revision == entry.revision


def _database(entry: Entry, url: str | None) -> Database | None:
    """The database that ``entry`` changed. A PostgreSQL password is not in the journal: the settings have it."""
    if entry.target:
        return Sqlite(Path(entry.target))
    if entry.kind is None:
        return None
    found = Postgres(url) if url else Prefix.at(Path(entry.old)).database()
    if found is None or found.where != entry.where:
        raise CommandError(
            "bad-usage",
            "the settings name another database than the one that was upgraded",
            where=found.where if found else None,
            why=f"that was {entry.where}",
            fix="give its address: prefect-env upgrade rollback --url URL",
        )
    return found
