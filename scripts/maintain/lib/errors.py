"""The errors a tool may end with: one table of ids and exit codes, one exception.

Every id has an entry on the errors page (``scripts/ERRORS.md``); a test compares the two.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command of the house."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    NETWORK = 3
    VERIFICATION = 4
    HOST = 5
    BUSY = 6
    INTERRUPTED = 130


ERRORS: dict[str, Exit] = {
    "check-failed": Exit.CHECK_FAILED,
    "command-failed": Exit.CHECK_FAILED,
    "server-dead": Exit.CHECK_FAILED,
    "unsatisfiable": Exit.CHECK_FAILED,
    "bad-usage": Exit.USAGE,
    "bad-file": Exit.USAGE,
    "network": Exit.NETWORK,
    "hash-mismatch": Exit.VERIFICATION,
    "no-hash": Exit.VERIFICATION,
    "unsafe-cache": Exit.VERIFICATION,
    "signature": Exit.VERIFICATION,
    "unsupported-host": Exit.HOST,
    "disk-full": Exit.HOST,
    "not-writable": Exit.HOST,
    "missing-program": Exit.HOST,
    "busy": Exit.BUSY,
    "not-ours": Exit.BUSY,
}


class ToolError(Exception):
    """A failure that the user can act on: shown as a message, never as a traceback.

    ``id`` is a key of :data:`ERRORS` and decides the exit code. ``what`` says what was wrong, ``where``
    the file:line, URL or package, ``why`` the cause, ``fix`` the command that mends it.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's own word, and the errors page's
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what)
        self.id = id
        self.exit_code = ERRORS[id]
        self.what = what
        self.where = where
        self.why = why
        self.fix = fix

    def as_dict(self) -> dict[str, str | int | None]:
        """The error as ``--json`` prints it."""
        return {
            "error": self.id,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "fix": self.fix,
        }
