"""What the kinds of database have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from prefect_env.console import CommandError


@dataclass(frozen=True)
class State:
    """Where a database stands: alembic's ``revision``, or None with ``tables`` of before alembic (2.0a9), or empty."""

    revision: str | None
    tables: frozenset[str]

    @property
    def alpha(self) -> bool:
        """Made by 2.0a9 or earlier, which no later Prefect migrates."""
        return self.revision is None and {"flow", "flow_run"} <= self.tables

    @property
    def empty(self) -> bool:
        """No Prefect has made its tables here."""
        return self.revision is None and not self.alpha


class Session(ABC):
    """A database that is open; see :meth:`Database.session`."""

    @abstractmethod
    def state(self) -> State:
        """Where the database stands."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``check-failed`` if the database is damaged."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Rows of each table."""

    @abstractmethod
    def dump(self, file: Path) -> None:
        """Write a consistent copy to ``file``, which exists and is empty; writers may go on meanwhile."""


class Database(ABC):
    """A database that Prefect uses. ``kind`` is the dialect's name, ``where`` names it without its password."""

    kind: str
    url: str
    where: str
    backup_name: str

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything to open."""

    @abstractmethod
    def size(self) -> int:
        """Its size in bytes."""

    @abstractmethod
    def users(self) -> list[str]:
        """The other processes that have it open, as far as the system tells, one line each."""

    @abstractmethod
    def session(self, *, exclusive: bool = False) -> AbstractContextManager[Session]:
        """Open it to read; ``exclusive`` raises ``busy`` if somebody else has it open, and for SQLite keeps it so."""

    @abstractmethod
    def restore(self, file: Path, before: Callable[[Session], None]) -> None:
        """Replace its content by that of ``file``, which :meth:`Session.dump` wrote, in one step.

        ``before`` is called when nobody else has it open and nothing is changed yet; not for a damaged SQLite file,
        which is renamed instead.
        """

    def state(self) -> State:
        """Where it stands; empty if it does not exist."""
        if not self.exists():
            return State(None, frozenset())
        with self.session() as session:
            return session.state()

    def busy(self, users: list[str]) -> NoReturn:
        """Raise the error for a database that ``users`` have open."""
        raise CommandError(
            "busy",
            "the database is in use",
            where=self.where,
            why=f"open in {', '.join(users)}" if users else "another process has it open",
            fix="stop the Prefect server, workers, agents and flows that use it, then run the same command again",
        )

    def damaged(self, why: str) -> NoReturn:
        """Raise the error for a database that cannot be read."""
        raise CommandError(
            "check-failed",
            "the database is damaged",
            where=self.where,
            why=why,
            fix="restore a backup: prefect-env db restore (prefect-env db status lists them)",
        )
