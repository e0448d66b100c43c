"""``scripts/channel``: build, check and describe the stand-in channel, and pin what goes into it."""

from __future__ import annotations

from pathlib import Path

import click

from maintain.channel import build as builder
from maintain.channel.pin import pin as pin_line
from maintain.lib.console import emit, main, out, say, tool
from maintain.manifest import load


@click.group()
def cli() -> None:
    """The stand-in channel: conda-forge's package names where conda-forge cannot be reached.

    Made from Debian 12's packages and the Python index's wheels, for development and trial.

    Example: scripts/channel build --line 3
    """


def _known() -> list[str]:
    return list(load().lines)


@cli.command()
@click.option("--line", "lines", multiple=True, help="A Prefect line (repeatable); all without it.")
@click.option("--output", type=click.Path(path_type=Path), default=builder.OUTPUT, help="The channel's folder.")
@tool
def build(lines: tuple[str, ...], output: Path, as_json: bool) -> None:
    """Build the channel, or bring it up to date, or add lines to it."""
    channel = builder.build_channel(lines or _known(), output.absolute())
    content = builder.marker(channel) or {}
    emit(
        {"channel": str(channel), **content},
        lambda: out.print(
            f"{channel}: {content['packages']} packages, lines {', '.join(content['lines'])}", markup=False
        ),
        as_json=as_json,
    )


@cli.command()
@click.argument("lines", nargs=-1)
@tool
def pin(lines: tuple[str, ...], as_json: bool) -> None:
    """Resolve LINES (all without any) anew with uv and write recipe/lines/LINE.txt."""
    paths = []
    for line in lines or _known():
        say(f"resolving line {line} ...")
        paths.append(str(pin_line(line)))
    emit(paths, lambda: out.print("\n".join(paths), markup=False), as_json=as_json)


if __name__ == "__main__":
    main(cli)
