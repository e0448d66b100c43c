"""``prefect-env show``: every variable that activation sets, and the file and line it comes from."""

from __future__ import annotations

from typing import Any

import click

from prefect_env import console, effective, session
from prefect_env.settings import shown


def values(current: session.Session) -> dict[str, dict[str, str]]:
    """Every managed variable that is set: its value (credentials masked) and its source."""
    found = {}
    for name in effective.MANAGED:
        if name in current.plan.variables:
            value, source = current.plan.variables[name]
            found[name] = {"value": console.mask(value or ""), "source": source if value else f"unset: {source}"}
        elif name in current.environ:
            found[name] = {"value": console.mask(current.environ[name]), "source": effective.USER}
    return found


def table(rows: dict[str, dict[str, str]]) -> str:
    """One line a variable: name, value, source."""
    width = max((len(name) for name in rows), default=0)
    return "\n".join(
        f"{name:<{width}}  {row['value']}\n{'':<{width}}  from {row['source']}" for name, row in rows.items()
    )


@click.command()
@console.command
def show(*, as_json: bool) -> None:
    """Show what activation sets, and the file and line each value comes from; passwords are masked.

    \b
    Example:
      prefect-env show --json
    """
    current = session.current()
    plan = current.plan
    result: dict[str, Any] = {
        "prefix": str(current.prefix),
        "variables": values(current),
        "ca": [{"path": str(path), "source": source} for path, source in plan.ca_sources],
        "warnings": plan.warnings,
        "notes": plan.notes,
    }
    lines = [table(result["variables"]) or "nothing is set"]
    lines += [f"CA: {shown(path)}\n    from {source}" for path, source in plan.ca_sources]
    lines += [f"warning: {text}" for text in plan.warnings] + [f"note: {text}" for text in plan.notes]
    console.emit(result, "\n".join(lines), as_json=as_json)
