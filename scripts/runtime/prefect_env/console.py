"""How every command of prefect-env talks: results on stdout, talk on stderr, errors by id, secrets masked."""

from __future__ import annotations

import errno
import functools
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import click

EXITS: dict[str, int] = {
    "check-failed": 1,
    "bad-usage": 2,
    "bad-settings": 2,
    "command-failed": 1,
    "server-dead": 1,
    "network": 3,
    "certificate": 4,
    "hash-mismatch": 4,
    "disk-full": 5,
    "missing-program": 5,
    "not-writable": 5,
    "unsupported-host": 5,
    "busy": 6,
}
"""Every error id with its exit code: 1 a check failed, 2 usage or settings, 3 network, 4 verification, 5 this host
cannot, 6 the target is busy."""

INTERRUPTED = 130


class CommandError(Exception):
    """A failure that the user can act on; ``id`` is a key of :data:`EXITS`."""

    def __init__(
        self,
        id: str,  # noqa: A002 - the errors page's own word
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what)
        self.exit_code = EXITS[id]
        self.fields = {"error": id, "exit_code": EXITS[id], "what": what, "where": where, "why": why, "fix": fix}

    def show(self, *, as_json: bool) -> None:
        """Print what, where, why and the command that mends it; secrets are masked."""
        fields = {key: mask(value) if isinstance(value, str) else value for key, value in self.fields.items()}
        if as_json:
            click.echo(json.dumps(fields, indent=2, ensure_ascii=False))
            return
        click.echo(f"error: {fields['what']} [{fields['error']}]", err=True)
        for label in ("where", "why", "fix"):
            if fields[label]:
                click.echo(f"  {label}: {fields[label]}", err=True)


def mask(text: str) -> str:
    """``text`` with the user name and password of every URL in it replaced by ``***``."""
    return re.sub(r"(?<=://)[^/\s]+@", "***@", text)


def say(text: str) -> None:
    """One line of talk on stderr, dropped by ``--quiet``."""
    context = click.get_current_context(silent=True)
    if not (context and context.meta.get("quiet")):
        click.echo(mask(text), err=True)


def emit(result: Any, text: str, *, as_json: bool) -> None:
    """Print a command's result: ``result`` as JSON, or ``text``."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else text)


def from_oserror(error: OSError) -> CommandError:
    """The :class:`CommandError` for a full disk or a forbidden place; raises any other ``error`` again."""
    where = str(error.filename) if error.filename else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CommandError("disk-full", "the disk is full", where=where, why=error.strerror, fix="free some space")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CommandError(
            "not-writable",
            "this user may not do that there",
            where=where,
            why=error.strerror,
            fix="run the command as the owner of the file",
        )
    raise error


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json`` and ``--quiet`` to a click callback; pass ``as_json`` on and show its :class:`CommandError`.

    A full disk and a place where this user may not write are shown in the same form.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("--quiet", "-q", is_flag=True, help="Print results and errors only.")
    @functools.wraps(function)
    def wrapper(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        click.get_current_context().meta["quiet"] = quiet
        try:
            return function(*args, as_json=as_json, **kwargs)
        except CommandError as error:
            failure = error
        except OSError as error:
            failure = from_oserror(error)
        failure.show(as_json=as_json)
        sys.exit(failure.exit_code)

    return wrapper
