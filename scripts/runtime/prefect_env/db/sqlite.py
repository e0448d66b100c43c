# ruff: noqa: D102 - what a method does is said in the base class
"""A database in an SQLite file.

Its migration works on a copy that replaces the file by one rename, so that a kill leaves the old or the new file.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from prefect_env.console import CommandError
from prefect_env.db import servers
from prefect_env.db.base import Database, Session, State
from prefect_env.db.durable import fsync, private

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file that is open or was left by a crash."""


class SqliteSession(Session):
    """An open connection. All reads go through it: closing any other handle of the file would drop its lock."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def state(self) -> State:
        tables = frozenset(self._tables())
        row = (
            self._connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if "alembic_version" in tables
            else None
        )
        return State(row[0] if row else None, tables)

    def check(self) -> None:
        found = [row[0] for row in self._connection.execute("PRAGMA integrity_check(5)")]
        if found != ["ok"]:
            raise sqlite3.DatabaseError("; ".join(found))

    def counts(self) -> dict[str, int]:
        return {
            table: self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 - names from the schema
            for table in self._tables()
        }

    def dump(self, file: Path) -> None:
        with closing(sqlite3.connect(file)) as copy:
            self._connection.backup(copy)
        settle(file)

    def _tables(self) -> list[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        return [row[0] for row in self._connection.execute(query)]


class Sqlite(Database):
    """The database in ``path``."""

    kind = "sqlite"
    backup_name = "prefect.db"

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))  # a rename onto a link would replace the link
        self.url = f"sqlite+aiosqlite:///{self.path}"
        self.where = str(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    def size(self) -> int:
        return sum(file.stat().st_size for file in (self.path, self._beside("-wal")) if file.exists())

    def users(self) -> list[str]:
        wanted = {str(file): file.stat() for file in (self.path, *map(self._beside, COMPANIONS)) if file.exists()}
        found: dict[str, str] = {}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            process = link.parts[2]
            if process == str(os.getpid()) or process in found:
                continue
            with suppress(OSError):  # it ended, or it is another user's
                stat = wanted.get(str(link.readlink()))
                if stat and os.path.samestat(stat, link.stat()):
                    found[process] = Path("/proc", process, "comm").read_text(encoding="utf-8").strip()
        return [f"{name} (process {process})" for process, name in found.items()] + servers.of_file(self.path)

    @contextmanager
    def session(self, *, exclusive: bool = False) -> Iterator[SqliteSession]:
        try:
            with closing(self._hold() if exclusive else self._read()) as connection:
                yield SqliteSession(connection)
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                self.busy(self.users())
            if "disk is full" in str(error):
                raise CommandError("disk-full", "the disk is full", where=self.where, why=str(error)) from error
            if "readonly" in str(error) or "unable to open" in str(error):
                raise CommandError(
                    "not-writable", "cannot open the database", where=self.where, why=str(error)
                ) from error
            self.damaged(str(error))
        except sqlite3.DatabaseError as error:
            self.damaged(str(error))

    def _read(self) -> sqlite3.Connection:
        for parameters in ("mode=ro", "mode=ro&immutable=1"):  # the latter: a WAL file in a folder we may not write
            connection = sqlite3.connect(f"{self.path.as_uri()}?{parameters}", uri=True, timeout=10)
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except sqlite3.OperationalError as error:
                connection.close()
                if "unable to open" not in str(error) or "immutable" in parameters:
                    raise
            else:
                return connection
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _hold(self) -> sqlite3.Connection:
        if users := self.users():
            self.busy(users)
        connection = sqlite3.connect(self.path, timeout=1, isolation_level=None)
        try:
            # Only the sole connection may leave WAL mode, so this fails even for a server that is idle; Prefect
            # goes back to WAL when it connects. The lock is kept from the first transaction until close.
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchone()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def place(self, new: Path) -> None:
        """Put the settled file ``new`` (in the same folder) in the database's place.

        It keeps owner and mode; a first file gets the folder's owner, so that root may do this for a service.
        """
        model = (self.path if self.exists() else self.path.parent).stat()
        if self.exists():
            new.chmod(model.st_mode & 0o7777)
        if os.name != "nt" and (model.st_uid, model.st_gid) != (new.stat().st_uid, new.stat().st_gid):
            os.chown(new, model.st_uid, model.st_gid)
        fsync(new)
        new.replace(self.path)
        fsync(self.path.parent)

    def restore(self, file: Path, before: Callable[[Session], None]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.work_file("restore")
        try:
            private(new)
            shutil.copyfile(file, new)
            if self.exists():
                try:
                    with self.session(exclusive=True) as session:
                        before(session)
                        if os.name != "nt":  # Windows does not rename onto a file that is open
                            self.place(new)
                except CommandError as error:
                    if error.fields["error"] != "check-failed":
                        raise
                    self._set_aside()
            if new.exists():
                self.place(new)
        finally:
            new.unlink(missing_ok=True)

    def _set_aside(self) -> None:
        """Rename a damaged database and its log: left there, the log would be played into the new file."""
        stamp = datetime.now(timezone.utc)
        for suffix in (*COMPANIONS, ""):
            file = self._beside(suffix)
            if file.exists():
                file.rename(self.path.with_name(f"{self.path.name}.damaged-{stamp:%Y%m%dT%H%M%SZ}{suffix}"))

    def work_file(self, purpose: str) -> Path:
        """A name beside the database for a copy of it; what a killed command left there is removed."""
        stem = f".{self.path.name}.{purpose}"
        for left in self.path.parent.glob(f"{stem}-*"):
            left.unlink()
        return self.path.with_name(f"{stem}-{os.getpid()}")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def settle(path: Path) -> None:
    """Bring all of a database that is not in use into its one file. Raises ``sqlite3.Error``."""
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()


def remove(path: Path) -> None:
    """Delete a database file of ours and what SQLite keeps beside it."""
    for name in (path.name, *(path.name + suffix for suffix in COMPANIONS)):
        path.with_name(name).unlink(missing_ok=True)
