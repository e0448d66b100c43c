"""What is special about crossing a boundary between versions: one small class each, registered in version order."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from prefect_env.console import CommandError
from prefect_env.db.base import Database, State
from prefect_env.db.prefix import Prefix


@dataclass
class Situation:
    """What an upgrade starts from. ``source`` is the old environment's database, ``target`` the new one's.

    ``counts`` are the rows of each table; empty where there is no database.
    """

    old: Prefix
    new: Prefix
    source: Database | None
    target: Database | None
    state: State
    counts: dict[str, int] = field(default_factory=dict)

    def crosses(self, version: str) -> bool:
        """Whether the old Prefect is before ``version`` and the new one is not."""
        return self.old.version < version <= self.new.version

    def database_before(self, revision: str) -> bool:
        """Whether the SQLite database is older than the SQLite ``revision``, whatever Prefect is installed."""
        known = self.new.revisions("sqlite")
        at = self.state.revision
        return at in known and revision in known and known.index(at or "") < known.index(revision)


class Step(ABC):
    """One boundary. ``order`` sorts; ``starts_empty`` means that the database is set aside and a new one made."""

    order: int
    title: str
    starts_empty = False

    @abstractmethod
    def applies(self, situation: Situation) -> bool:
        """Whether this upgrade crosses the boundary."""

    def notes(self, situation: Situation) -> list[str]:  # noqa: ARG002 - a step without notes
        """What the user must know or do, a sentence each."""
        return []

    def refusal(self, situation: Situation) -> CommandError | None:  # noqa: ARG002 - most steps refuse nothing
        """Why this upgrade cannot be done, if so."""
        return None


_registered: list[type[Step]] = []


def register(step: type[Step]) -> type[Step]:
    """Class decorator: have plans ask ``step``."""
    _registered.append(step)
    return step


def applying(situation: Situation) -> list[Step]:
    """The steps that ``situation`` needs, in version order."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    steps = [step() for step in sorted(_registered, key=lambda step: step.order)]
    return [step for step in steps if step.applies(situation)]
