"""What a check is, what it finds, and the list of all checks."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Callable

from prefect_env.doctor.checks import MODULES

if TYPE_CHECKING:
    from prefect_env.doctor.context import Context


class Status(str, Enum):
    """How a check ended; only ``fail`` makes the command exit 1."""

    OK = "ok"
    SKIP = "skip"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Result:
    """``evidence`` is what was seen, ``cause`` why that matters, ``fix`` the command or change that mends it."""

    status: Status
    evidence: str
    cause: str = ""
    fix: str = ""


def ok(evidence: str) -> Result:
    """Nothing to mend."""
    return Result(Status.OK, evidence)


def skip(why: str) -> Result:
    """The check does not apply here, or could not look."""
    return Result(Status.SKIP, why)


def warn(evidence: str, cause: str = "", fix: str = "") -> Result:
    """It works, but something will go wrong in the end."""
    return Result(Status.WARN, evidence, cause, fix)


def fail(evidence: str, cause: str = "", fix: str = "") -> Result:
    """Something does not work, or loses data."""
    return Result(Status.FAIL, evidence, cause, fix)


def merged(results: Iterable[Result], fine: Result) -> Result:
    """Several findings of one check as one result of the worst status; ``fine`` if there are none."""
    found = list(results)
    if not found:
        return fine
    worst = max(found, key=lambda result: list(Status).index(result.status)).status
    causes, fixes = (
        "; ".join(dict.fromkeys(text for text in texts if text))
        for texts in ([result.cause for result in found], [result.fix for result in found])
    )
    return Result(worst, "; ".join(result.evidence for result in found), causes, fixes)


class Needs(str, Enum):
    """What a check looks at, which decides when it is left out."""

    FACTS = "facts"
    """What :class:`~prefect_env.doctor.host.Host` has; also on a recorded host."""
    FILES = "files"
    """Files of this host."""
    NETWORK = "network"
    """The API server; not with ``--offline``."""
    DEEP = "deep"
    """Time: only with ``--deep``."""
    PROBE = "probe"
    """A flow run on the server: only with ``--probe``."""


@dataclass(frozen=True)
class Check:
    """One check. ``fixer`` mends what :attr:`run` found and says what it did; it is called only when the user agrees.

    ``fixer`` raises OSError, or :class:`prefect_env.console.Failure`.
    """

    id: str
    title: str
    group: str
    needs: Needs
    run: Callable[[Context], Result]
    fixer: Callable[[Context], str] | None = None
    question: str = ""


_CHECKS: dict[str, Check] = {}


def check(
    id: str,  # noqa: A002 - the issue's word
    title: str,
    needs: Needs = Needs.FACTS,
    *,
    fixer: Callable[[Context], str] | None = None,
    question: str = "",
) -> Callable[[Callable[[Context], Result]], Callable[[Context], Result]]:
    """Register the decorated function; its group is the ``GROUP`` of its module."""

    def register(function: Callable[[Context], Result]) -> Callable[[Context], Result]:
        assert id not in _CHECKS, id  # noqa: S101 - two checks of one id
        group = function.__globals__["GROUP"]
        _CHECKS[id] = Check(id, title, group, needs, function, fixer, question)
        return function

    return register


def checks() -> dict[str, Check]:
    """All checks by id, in the order of the report."""
    for module in MODULES:
        importlib.import_module(f"prefect_env.doctor.checks.{module}")
    return _CHECKS
