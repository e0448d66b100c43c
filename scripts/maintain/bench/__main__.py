"""``scripts/bench``: measure against peers in the same run and print the ratios."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Sequence

import click
from rich.table import Table

from maintain.bench import install
from maintain.install.choice import Choice, choose
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.measure import Row

SUITES: dict[str, str] = {
    "lock": "maintain.lock.bench",
    "activation": "maintain.bench.activation",
    "demo": "maintain.bench.demo",
    "doctor": "maintain.bench.doctor",
    "bundle": "maintain.bundle.bench",
}
"""Suite -> module whose ``rows()`` measures it; ``install`` is measured here."""


@click.command(epilog="Example: scripts/bench install lock")
@click.option("--channel", metavar="URL|DIR", help="The channel to install from [found].")
@click.option("--pip", "with_pip", is_flag=True, help="Measure pip too; that takes a minute more.")
@click.argument("suites", nargs=-1, type=click.Choice(["install", *SUITES]))
@tool
def cli(channel: str | None, with_pip: bool, suites: Sequence[str], as_json: bool) -> None:
    """Measure SUITES (all, unless named) beside their peers; figures mean something only as ratios of one run."""
    choice = choose(channel)
    say(str(choice))
    rows: list[Row] = []
    for name in suites or ["install", *SUITES]:
        say(f"measuring {name} ...")
        rows += _measure(name, choice, with_pip)
    result = {"machine": platform.platform(), "rows": [row.as_dict() for row in rows]}
    emit(result, lambda: out.print(_table(rows)), as_json=as_json)


def _measure(name: str, choice: Choice, with_pip: bool) -> list[Row]:
    if name == "install":
        return install.rows(choice, with_pip=with_pip)
    measure: Callable[[], list[Row]] = importlib.import_module(SUITES[name]).rows
    return measure()


def _table(rows: Sequence[Row]) -> Table:
    table = Table("what", "ours", "peer", "theirs", "ratio", "aim")
    for row in rows:
        aim = "" if row.aim is None else f"<= {row.aim:g}"
        table.add_row(
            row.name, f"{row.ours:.2f} {row.unit}", row.peer, f"{row.theirs:.2f} {row.unit}", f"{row.ratio:.2f}", aim
        )
    return table


if __name__ == "__main__":
    main(cli)
