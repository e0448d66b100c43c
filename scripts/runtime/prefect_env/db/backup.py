"""Backups: a folder each, with the database's content and a manifest; readable by their owner only."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from prefect_env.console import CommandError
from prefect_env.db.base import Database, Session
from prefect_env.db.durable import fsync, need_space, private, sha256
from prefect_env.files import atomic_write

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Backup:
    """A backup in ``folder``. ``size`` in bytes, ``counts`` in rows by table, ``made`` in UTC."""

    folder: Path
    made: str
    kind: str
    where: str
    revision: str | None
    prefect: str
    reason: str
    file: str
    size: int
    sha256: str
    counts: dict[str, int]

    @property
    def content(self) -> Path:
        """The SQLite file or PostgreSQL dump."""
        return self.folder / self.file

    def as_dict(self) -> dict[str, object]:
        """The backup as ``--json`` prints it."""
        return {**asdict(self), "folder": str(self.folder)}

    def verify(self) -> None:
        """Raise ``hash-mismatch`` unless the content is what was written."""
        if not self.content.is_file() or sha256(self.content) != self.sha256:
            raise CommandError(
                "hash-mismatch",
                "the backup is not what was written",
                where=str(self.content),
                why="its SHA-256 differs from the manifest's",
                fix="use another backup: prefect-env db status lists them",
            )


def folder_of(home: Path) -> Path:
    """Where the backups of a ``PREFECT_HOME`` are kept unless the user names another place."""
    return home / "prefect-env" / "backups"


def create(database: Database, session: Session, parent: Path, *, prefect: str, reason: str) -> Backup:
    """Back up ``database`` into a new folder in ``parent``, which is whole or not there.

    Raises ``disk-full``, ``check-failed`` (the database or its copy is damaged).
    """
    need_space(parent, database.size() + (64 << 10))
    state = session.state()
    now = datetime.now(timezone.utc)
    stem = f"{now:%Y%m%dT%H%M%S.%f}Z-{state.revision or 'none'}"
    partial = parent / f".{stem}.partial"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in parent.glob(".*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        content = partial / database.backup_name
        private(content)
        session.dump(content)
        fsync(content)
        backup = Backup(
            folder=parent / stem,
            made=f"{now:%Y-%m-%dT%H:%M:%SZ}",
            kind=database.kind,
            where=database.where,
            revision=state.revision,
            prefect=prefect,
            reason=reason,
            file=content.name,
            size=content.stat().st_size,
            sha256=sha256(content),
            counts=session.counts(),
        )
        manifest = {"format": FORMAT, **{key: value for key, value in backup.as_dict().items() if key != "folder"}}
        atomic_write(partial / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n", mode=0o600)
        fsync(partial)
        partial.rename(backup.folder)
        fsync(parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return backup


def read(folder: Path) -> Backup:
    """The backup in ``folder``. Raises ``bad-usage`` if there is none."""
    try:
        fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise ValueError("made by a newer prefect-env")
        if os.sep in fields["file"]:
            raise ValueError("it names a file elsewhere")
        return Backup(folder=folder, **fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError("bad-usage", "that is no backup", where=str(folder), why=str(error)) from None


def listing(parent: Path) -> list[Backup]:
    """The backups in ``parent``, oldest first."""
    return [read(path.parent) for path in sorted(parent.glob(f"[!.]*/{MANIFEST}"))]
