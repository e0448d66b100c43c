"""The command line of ``scripts/install``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click

from maintain.install.choice import choose
from maintain.install.engine import Result, default_prefix, install
from maintain.lib.console import emit, main, say, tool
from maintain.lib.errors import ToolError


@click.command(epilog="Example: scripts/install --env default --prefix ~/envs/prefect")
@click.option("--env", "environment", metavar="NAME", help="An environment of pixi.toml [default].")
@click.option("--line", metavar="LINE", help="A release line instead (3, 2.20, 2.8.6), as the prefect-env package.")
@click.option(
    "--prefix", type=click.Path(path_type=Path), metavar="DIR", help="Where to [~/.local/share/prefect-env/NAME]."
)
@click.option("--channel", metavar="URL|DIR", help="conda-forge, a mirror of it, or a stand-in [found; see below].")
@click.option("--no-compile", is_flag=True, help="Leave out byte code: smaller, but every first start is slower.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@tool
def cli(
    environment: str | None,
    line: str | None,
    prefix: Path | None,
    channel: str | None,
    no_compile: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install an environment into a prefix of its own, without pixi or conda, or bring it up to date.

    Packages come from pixi.lock, or from the solver where the channel is a stand-in or a line is asked for. The channel
    is --channel, else PREFECT_ENV_CHANNEL, else the mirror in pixi's configuration, else conda-forge when it answers,
    else the stand-in, built on the spot. Every package is verified; the prefix is the old one or the new one, whatever
    happens; run again what was interrupted.
    """
    if environment and line:
        raise ToolError("bad-usage", "--env and --line exclude each other", fix="give one of them")
    name = line or environment or "default"
    chosen = choose(channel, lines=(line,) if line else (), environments=() if line else (name,))
    say(str(chosen))
    result = install(
        prefix or default_prefix(name),
        chosen,
        environment=environment or "default",
        line=line,
        compile_bytecode=not no_compile,
        dry_run=dry_run,
    )
    emit(result.as_dict(), lambda: _show(result), as_json=as_json)


def _show(result: Result) -> Any:
    if result.dry_run:
        for sign, names in (("-", result.removed), ("+", result.added)):
            for name in names:
                click.echo(f"{sign} {name}")
        return
    done = "is up to date" if not result.changed else f"holds {result.packages} packages"
    click.echo(f"{result.prefix} {done}")
    script = Path(result.prefix) / ("activate.bat" if os.name == "nt" else "activate")
    say(f"next: {'' if os.name == 'nt' else '. '}{shlex.quote(str(script))} && prefect version")


if __name__ == "__main__":
    main(cli)
