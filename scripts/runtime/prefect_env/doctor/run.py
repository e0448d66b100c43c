"""Run checks: which ones apply, and what a check that itself fails means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prefect_env.doctor.context import Context
from prefect_env.doctor.registry import Check, Needs, Result, Status, skip, warn
from prefect_env.redact import masked


def run(checks: Iterable[Check], context: Context) -> Iterator[tuple[Check, Result]]:
    """Run ``checks`` in turn; one that breaks is reported and does not stop the others."""
    for check in checks:
        why = _left_out(check, context)
        yield check, skip(why) if why else examined(check, context)


def examined(check: Check, context: Context) -> Result:
    """What ``check`` finds, without the passwords that URLs hold."""
    found = _guarded(check, context)
    return Result(found.status, *(masked(text) for text in (found.evidence, found.cause, found.fix)))


def _guarded(check: Check, context: Context) -> Result:
    try:
        return check.run(context)
    except PermissionError as error:
        return skip(f"this user may not read {error.filename}")
    except Exception as error:  # the doctor must not fall ill of what it looks at
        return warn(
            f"the check itself failed: {type(error).__name__}: {error}",
            "the host has something that the check does not expect",
            "prefect-env support, and report it",
        )


def _left_out(check: Check, context: Context) -> str | None:
    """Why ``check`` is not run; None if it is."""
    options = context.options
    if check.needs is not Needs.FACTS and not context.host.live:
        return "not part of a recorded host"
    if check.needs in (Needs.NETWORK, Needs.PROBE) and options.offline:
        return "--offline"
    if check.needs is Needs.DEEP and not options.deep:
        return "only with --deep"
    if check.needs is Needs.PROBE and not options.probe:
        return "only with --probe, as it runs a flow on the server"
    return None


def failed(results: Iterable[Result]) -> bool:
    """Whether anything failed."""
    return any(result.status is Status.FAIL for result in results)
