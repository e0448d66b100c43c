"""Change settings files: only the lines that are meant, and the file is the old one or the new one at any moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable

import click

from prefect_env.console import CommandError
from prefect_env.files import atomic_write
from prefect_env.settings import MAX_VALUE, printable

LAYERS = ("user", "project", "site")


def where_option(function: Callable[..., object]) -> Callable[..., object]:
    """Add ``--where``: the layer whose file is changed."""
    option = click.option("--where", type=click.Choice(LAYERS), default="user", help="The settings file to change.")
    return option(function)


def update(
    path: Path, changes: Mapping[str, str | None], *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> None:
    """Set keys (None: take out), add ``CA_FILE`` lines and remove those that name ``remove``.

    A file that may hold a password is the user's to read only, but one in a prefix is for everybody.
    Raises CommandError ``bad-settings`` and ``not-writable``.
    """
    for key, value in changes.items():
        if value is not None and (not printable(value) or len(value) > MAX_VALUE):
            raise CommandError("bad-settings", f"{key} holds a control character or is too long")
    try:
        old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        lines = [line for line in old if not _goes(line, changes, remove)]
        lines += [f"{key}={value}" for key, value in changes.items() if value is not None]
        lines += [f"CA_FILE={name}" for name in add]
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644 if "site.d" in path.parts else 0o600
        atomic_write(path, ("\n".join(lines) + "\n").encode(), mode=mode)
    except OSError as error:
        raise CommandError("not-writable", "cannot change the settings", where=str(path), why=error.strerror) from error
    except UnicodeDecodeError as error:
        raise CommandError("bad-settings", "the settings file is not UTF-8", where=str(path)) from error


def _goes(line: str, changes: Mapping[str, str | None], remove: Sequence[str]) -> bool:
    """Whether a line is replaced or removed."""
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or key.startswith("#"):
        return False
    return key in changes or (key == "CA_FILE" and value.strip("\"'") in remove)
