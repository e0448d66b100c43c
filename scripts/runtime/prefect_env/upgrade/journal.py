"""What was done and what was about to be done, in one file that is rewritten whole before each step."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from prefect_env.console import CommandError
from prefect_env.files import atomic_write

STARTED = "started"
"""The database is untouched; a SQLite copy may be at ``work``."""
MIGRATING = "migrating"
"""A PostgreSQL database is being migrated in place."""
SWITCHING = "switching"
"""The database is the new one, or the finished copy at ``work`` is about to be; then comes the link."""
DONE = "done"
RETURNING = "rolling-back"
"""The old link is being put back, then the old database."""
UNDONE = "rolled-back"

UNFINISHED = (STARTED, MIGRATING, SWITCHING, RETURNING)


@dataclass
class Entry:
    """One upgrade. Paths are text; a ``source`` that is not ``target`` was left as it is (``orion.db``).

    ``backup`` is of the database before, ``after`` of the one that a rollback replaced.
    """

    id: str
    status: str
    old: str
    old_version: str
    new: str
    new_version: str
    kind: str | None = None
    where: str | None = None
    source: str | None = None
    target: str | None = None
    revision: str | None = None
    new_revision: str | None = None
    link: str | None = None
    old_link: str | None = None
    work: str | None = None
    backup: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        return f"Prefect {self.old_version} to {self.new_version} ({self.id}, {self.status})"


class Journal:
    """The upgrades of one ``PREFECT_HOME``, oldest first."""

    def __init__(self, home: Path) -> None:
        """Raises ``bad-settings`` if the file is not one of ours."""
        self.path = home / "prefect-env" / "upgrades.json"
        self.entries: list[Entry] = []
        if self.path.exists():
            known = {field.name for field in fields(Entry)}
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                self.entries = [Entry(**{key: item[key] for key in item if key in known}) for item in found]
            except (ValueError, TypeError) as error:
                raise CommandError(
                    "bad-settings", "the journal of upgrades cannot be read", where=str(self.path), why=str(error)
                ) from None

    def save(self, entry: Entry, status: str) -> None:
        """Record ``entry`` as being at ``status``, on the disk when this returns."""
        entry.status = status
        if entry not in self.entries:
            self.entries.append(entry)
        text = json.dumps([asdict(item) for item in self.entries], indent=1) + "\n"
        atomic_write(self.path, text.encode(), mode=0o600)
        if os.name != "nt":
            from prefect_env.db.durable import fsync

            fsync(self.path.parent)

    @property
    def last(self) -> Entry | None:
        """The newest upgrade that has not been undone."""
        return next((entry for entry in reversed(self.entries) if entry.status != UNDONE), None)
