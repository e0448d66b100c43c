"""``scripts/channel``: build, check and describe the stand-in channel, and pin what goes into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from maintain.channel import build as builder
from maintain.channel import sets
from maintain.channel.index import listed
from maintain.channel.pin import pin as pin_line
from maintain.channel.pin import pin_wheels
from maintain.channel.release import RELEASES, named
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import Exit, ToolError
from maintain.manifest import load


@click.group()
def cli() -> None:
    """The stand-in channel: conda-forge's package names where conda-forge cannot be reached.

    Made from Debian's packages and the Python index's wheels, for development and trial.

    Example: scripts/channel build --line 3
    """


def _known() -> list[str]:
    return list(load().lines)


@cli.command()
@click.option("--line", "lines", multiple=True, help="A Prefect line (repeatable).")
@click.option("--env", "environments", multiple=True, help="A locked environment, at its versions (repeatable).")
@click.option("--release", type=click.Choice([*RELEASES]), help="The Debian release to make it from; this machine's.")
@click.option("--output", type=click.Path(path_type=Path), help="The channel's folder; each release has its own.")
@click.option("--update", is_flag=True, help="Look for newer Debian packages though nothing else changed.")
@tool
def build(
    lines: tuple[str, ...],
    environments: tuple[str, ...],
    release: str | None,
    output: Path | None,
    update: bool,
    as_json: bool,
) -> None:
    """Build the channel, or bring it up to date, or add lines and environments to it.

    Without --line and --env it has all lines, and all environments with Prefect at the versions that are locked for
    linux-64.
    """
    if not lines and not environments:
        lines, environments = tuple(_known()), sets.environments()
    channel = builder.build_channel(
        lines,
        output.absolute() if output else None,
        environments=environments,
        release=named(release),
        update=update,
    )
    content = builder.marker(channel) or {}
    emit(
        {"channel": str(channel), **content},
        lambda: out.print(
            f"{channel}: {content['packages']} packages of {content['release']}, "
            f"lines {', '.join(content['lines']) or '-'}, environments {', '.join(content['environments']) or '-'}",
            markup=False,
        ),
        as_json=as_json,
    )


def _channel(function: Callable[..., Any]) -> Callable[..., Any]:
    option = click.option(
        "--channel", type=click.Path(path_type=Path, exists=True), default=builder.OUTPUT, help="The channel's folder."
    )
    return option(function)


def _content(channel: Path) -> dict[str, Any]:
    content = builder.marker(channel)
    if content is None:
        raise ToolError(
            "bad-usage", "there is no whole stand-in channel", where=str(channel), fix="scripts/channel build"
        )
    return content


@cli.command()
@_channel
@tool
def info(channel: Path, as_json: bool) -> None:
    """Say what a channel was made from and for which lines."""
    content = _content(channel)
    text = "\n".join(f"{key}: {value}" for key, value in content.items())
    emit(content, lambda: out.print(text, markup=False), as_json=as_json)


@cli.command("list")
@_channel
@tool
def list_packages(channel: Path, as_json: bool) -> None:
    """List a channel's packages with version, build, licence and size in bytes."""
    _content(channel)
    records = [
        {key: record[key] for key in ("name", "version", "build", "subdir", "license", "size", "sha256")}
        for _, record in sorted(listed(channel).items(), key=lambda item: item[1]["name"])
    ]

    def text() -> None:
        for record in records:
            out.print(
                f"{record['name']:28} {record['version']:16} {record['build']:20} {record['license']}", markup=False
            )

    emit(records, text, as_json=as_json)


@cli.command()
@click.option("--line", "lines", multiple=True, help="A Prefect line (repeatable); all of the channel without it.")
@_channel
@tool
def test(lines: tuple[str, ...], channel: Path, as_json: bool) -> int:
    """Install each line's packages into a temporary prefix and check that they stand on their own; 1 if not."""
    from maintain.channel import check  # imports py-rattler, which the other commands do not need

    whole = check.Check("packages", builder.whole(channel), "as the repodata lists them, with their hashes")
    results = {"all": [whole]}
    for line in lines or _content(channel)["lines"]:
        say(f"installing and checking line {line} ...")
        results[line] = check.check_line(line, channel)

    def text() -> None:
        for line, found in results.items():
            for item in found:
                out.print(f"{'ok  ' if item.ok else 'FAIL'} {line}: {item.name}: {item.found}", markup=False)

    emit({line: [asdict(item) for item in found] for line, found in results.items()}, text, as_json=as_json)
    return int(Exit.DONE if all(item.ok for found in results.values() for item in found) else Exit.CHECK_FAILED)


@cli.command()
@click.option("--hashes", is_flag=True, help="Keep the versions; add the wheels of Pythons that have none yet.")
@click.argument("lines", nargs=-1)
@tool
def pin(lines: tuple[str, ...], hashes: bool, as_json: bool) -> None:
    """Resolve LINES (all without any) anew with uv and write recipe/lines/LINE.txt."""
    paths = []
    for line in lines or _known():
        say(f"{'looking for wheels of' if hashes else 'resolving'} line {line} ...")
        paths.append(str(pin_wheels(line) if hashes else pin_line(line)))
    emit(paths, lambda: out.print("\n".join(paths), markup=False), as_json=as_json)


if __name__ == "__main__":
    main(cli)
