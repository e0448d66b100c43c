"""The link by which services find the environment, switched in one step."""

from __future__ import annotations

import os
from pathlib import Path

from prefect_env.console import CommandError
from prefect_env.db.durable import fsync


def check(link: Path) -> None:
    """Raise ``bad-usage`` if ``link`` is there and is no link."""
    if os.path.lexists(link) and not link.is_symlink():
        raise CommandError(
            "bad-usage",
            "it is there and is no link",
            where=str(link),
            why="switching would delete it",
            fix="name a link, for example /opt/prefect/current beside the environments",
        )


def target(link: Path) -> str | None:
    """What ``link`` says, or None if it is not there."""
    return str(link.readlink()) if link.is_symlink() else None


def switch(link: Path, to: str | None) -> None:
    """Have ``link`` lead to ``to`` (None: remove it); at any moment it leads to the old or the new target."""
    check(link)
    if target(link) == to:
        return
    if to is None:
        link.unlink()
    else:
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(to, target_is_directory=True)
        new.replace(link)
    fsync(link.parent)
