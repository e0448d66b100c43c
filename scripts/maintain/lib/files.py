"""Files that are whole or not there: atomic writes, hashes, locks. Standard library only: a bundle carries it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from maintain.lib.errors import ToolError


def sha256_file(path: Path) -> str:
    """The file's SHA-256 as 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify_sha256(path: Path, expected: str, *, source: str) -> None:
    """Raise ``hash-mismatch`` unless ``path`` has the SHA-256 ``expected``; ``source`` says where it came from."""
    found = sha256_file(path)
    if found != expected.lower():
        raise ToolError(
            "hash-mismatch",
            f"{path.name} is not the file that is locked",
            where=source,
            why=f"sha256 is {found}, expected {expected}",
            fix="delete the file and fetch it again; if it stays so, the source serves other bytes: report it",
        )


def fsync_dir(path: Path) -> None:
    """Make a rename in ``path`` survive a power cut (no such call on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: str | bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` so that ``path`` is the old file or the new one at any moment, even after SIGKILL."""
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


@contextmanager
def exclusive(path: Path, *, what: str, wait: float = 0) -> Iterator[None]:
    """Hold the lock file ``path`` (made beside what it guards), or raise ``busy`` after ``wait`` seconds.

    The operating system drops the lock when the process dies, so a killed run never blocks the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait
    while (held := _locked(path)) is None:
        if time.monotonic() >= deadline:
            raise ToolError(
                "busy",
                f"{what} is in use by another process",
                where=str(path),
                fix="wait for the other command to end, then run this one again",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        held.close()


def _locked(path: Path) -> BinaryIO | None:
    """``path``, open and locked for this process; None if another has it."""
    stream = path.open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return None
        raise
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    stream.close()  # the last holder removed the file after we had opened it
    return _locked(path)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's errors on ``path`` into errors a user can act on."""
    try:
        yield
    except OSError as error:
        raise from_oserror(error, path) from error


def from_oserror(error: OSError, path: Path) -> ToolError:
    """The :class:`ToolError` for a failed file operation on or below ``path``."""
    where = str(error.filename or path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = ""
        with suppress(OSError):
            free = f"; {shutil.disk_usage(existing_parent(path)).free // 2**20} MiB are free there"
        return ToolError(
            "disk-full",
            "the disk is full",
            where=where,
            why=f"{error.strerror}{free}",
            fix="free some space or choose another place, then run the same command again",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ToolError(
            "not-writable",
            "cannot write there",
            where=where,
            why=error.strerror,
            fix="choose a place that you may write to, or have its owner run the command",
        )
    return ToolError("bad-file", f"cannot use {where}", where=where, why=error.strerror)


def existing_parent(path: Path) -> Path:
    """``path`` or its nearest ancestor that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
