"""Files that survive a crash, and a lock that does not."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect_env.console import CommandError


def fsync(path: Path) -> None:
    """Have what was written to ``path``, or renamed in the folder ``path``, survive a power cut."""
    if os.name == "nt" and path.is_dir():
        return  # no such call there
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private(path: Path) -> None:
    """Make the empty file ``path`` that only its owner may read. Raises OSError if it is there."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def sha256(path: Path) -> str:
    """The file's SHA-256 as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def need_space(folder: Path, size: int) -> None:
    """Raise ``disk-full`` unless ``size`` bytes are free where ``folder`` is or will be."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise CommandError(
            "disk-full",
            f"{_mib(size)} are needed, {_mib(free)} are free",
            where=str(folder),
            why="a backup and a copy to work on need room beside the database",
            fix="free some space, or keep the backups on another disk with --backups FOLDER",
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


@contextmanager
def exclusive(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file ``path``, or raise ``busy``; the system drops the lock when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            if sys.platform == "win32":
                import msvcrt

                stream.seek(0)
                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(
                "busy", f"another prefect-env is at work on {what}", where=str(path), fix="wait until it has ended"
            ) from None
        yield
