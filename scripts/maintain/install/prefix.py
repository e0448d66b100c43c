"""A prefix that is the old one or the new one at any moment, and nobody's but ours.

The protocol: the new environment is made whole in a folder beside the prefix, with the prefix's own path written into
its files, and takes the prefix's place by a rename. An update starts from a copy made of hard links, so it costs what
changes, keeps what the user put there, and leaves the old environment untouched until the rename; where the system
can swap two folders (Linux, macOS) there is no moment without an environment, elsewhere the next run
puts the old one back. The state file (``conda-meta/prefect-env``) is written last: a folder without it is nothing.
A killed run leaves a hidden folder beside the prefix, which the next run removes. The data is not forced to
the disk (no conda tool does): after a power cut, run the install again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, exclusive, existing_parent, explained, fsync_dir

STATE = "conda-meta/prefect-env"
"""JSON without the suffix: conda takes every ``conda-meta/*.json`` for a package."""


def check_place(prefix: Path) -> None:
    """Raise ``not-writable`` or ``unsupported-host`` if no environment can be made at ``prefix``."""
    parent = existing_parent(prefix.parent)
    if os.path.ismount(prefix):
        raise ToolError(
            "not-writable",
            "the prefix is a mount point, which cannot be replaced as a whole",
            where=str(prefix),
            fix=f"install below it: --prefix {prefix / 'env'}",
        )
    if hasattr(os, "statvfs"):
        flags = os.statvfs(parent).f_flag
        if flags & os.ST_RDONLY:
            raise _not_writable(parent, "the file system is read-only")
        if flags & getattr(os, "ST_NOEXEC", 0):
            raise ToolError(
                "unsupported-host",
                "programs cannot be run there",
                where=str(parent),
                why="the file system is mounted noexec",
                fix="choose a prefix on another file system",
            )
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise _not_writable(parent, "no permission to make a folder beside the prefix")


def _not_writable(where: Path, why: str) -> ToolError:
    return ToolError(
        "not-writable",
        "the prefix cannot be made",
        where=str(where),
        why=why,
        fix="choose a prefix whose parent folder you may write to",
    )


def state(prefix: Path) -> dict[str, Any] | None:
    """What we installed at ``prefix``, None where nothing is; ``not-ours`` for anything else that is there."""
    try:
        content = json.loads((prefix / STATE).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    except (OSError, ValueError):
        with suppress(FileNotFoundError):
            if prefix.is_dir() and next(prefix.iterdir(), None) is None:
                return None
        if not os.path.lexists(prefix):
            return None
    raise ToolError(
        "not-ours",
        "the prefix holds something that scripts/install did not make",
        where=str(prefix),
        why="an environment of another tool" if (prefix / "conda-meta").is_dir() else "it is not empty",
        fix="choose another --prefix, or move that folder away",
    )


def write_state(folder: Path, content: dict[str, Any]) -> None:
    """Declare the environment in ``folder`` whole: the last thing written before it takes its place."""
    atomic_write(folder / STATE, json.dumps(content, indent=2) + "\n")


@contextmanager
def held(prefix: Path, wait: float = 0) -> Iterator[None]:
    """Be the only install at ``prefix``, after mending what a killed one left; ``busy`` if another is at work."""
    check_place(prefix)
    with explained(prefix):
        prefix.parent.mkdir(parents=True, exist_ok=True)
        lock = _beside(prefix, "lock")
        with exclusive(lock, what=f"the prefix {prefix}", wait=wait):
            try:
                _recover(prefix)
                yield
            finally:
                with suppress(OSError):  # Windows keeps an open file
                    lock.unlink()


def staging(prefix: Path) -> Path:
    """The folder in which the next environment at ``prefix`` is made."""
    return _beside(prefix, "new")


def _beside(prefix: Path, role: str) -> Path:
    return prefix.with_name(f".{prefix.name}.prefect-env.{role}")


def _recover(prefix: Path) -> None:
    old = _beside(prefix, "old")
    if old.exists() and not prefix.exists():  # killed between two renames
        old.rename(prefix)
    for leftover in (staging(prefix), old):
        _remove(leftover)


def commit(prefix: Path) -> None:
    """Put the staged environment in the prefix's place, then remove what was there."""
    new, old = staging(prefix), _beside(prefix, "old")
    if not prefix.exists():
        new.rename(prefix)
        fsync_dir(prefix.parent)
        return
    if _exchange(new, prefix):
        new.rename(old)
    else:
        prefix.rename(old)
        new.rename(prefix)
    fsync_dir(prefix.parent)
    _remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    if os.name != "posix":
        return False
    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # glibc >= 2.28
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return bool(libc.renameat2(here, names[0], here, names[1], exchange) == 0)
    if sys.platform == "darwin":
        return bool(libc.renamex_np(*names, 2) == 0)  # RENAME_SWAP
    return False


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def copy(prefix: Path, target: Path, recorded: Set[str]) -> None:
    """Make ``target`` a copy of the environment at ``prefix`` out of hard links.

    conda-meta is copied for real, because records are rewritten in place, and without the state file. Byte code
    that no record has is left out: Python made it, and it may outlive its source. ``recorded`` holds the
    relative paths of all records.
    """

    def walk(source: str, destination: str, relative: str) -> None:
        os.mkdir(destination)  # noqa: PTH102 - os functions throughout: an environment has ten thousand files
        cached = relative.endswith("__pycache__/")
        with os.scandir(source) as entries:
            for entry in entries:
                here = relative + entry.name
                there = f"{destination}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    walk(entry.path, there, here + "/")
                elif not (cached and here not in recorded) and here != STATE:
                    _link(entry, there, real=relative == "conda-meta/")
        shutil.copystat(source, destination)

    walk(str(prefix), str(target), "")


def _link(entry: os.DirEntry[str], target: str, *, real: bool) -> None:
    if not real:
        try:
            os.link(entry.path, target, follow_symlinks=False)
            return
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
    shutil.copy2(entry.path, target, follow_symlinks=False)
