"""``scripts/recipe``: fetch the wheels, render the recipes, build and test the packages."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.errors import ToolError
from maintain.lib.paths import LOCK, ROOT
from maintain.manifest import load

line_option = click.option("--line", "names", multiple=True, metavar="LINE", help="Only this line; may be repeated.")
channel_option = click.option(
    "--channel",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="An indexed channel folder to build against and into [the stand-in, made now].",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Generate, build and test the recipes of our packages.

    \b
    Example, after a change of pixi.toml, recipe/lines.toml or recipe/bounds.toml:
      scripts/recipe render
      scripts/recipe build --line 3
      scripts/recipe test --line 3
    """


@cli.command()
@line_option
@tool
def fetch(names: tuple[str, ...], as_json: bool) -> None:
    """Download the pinned wheels that recipes package; update what is committed of their metadata."""
    from maintain.recipes.fetch import fetch_line

    files = [str(path) for name in _lines(names) for path in fetch_line(name)]
    emit(files, lambda: out.print("\n".join(files), markup=False), as_json=as_json)


@cli.command()
@click.option("--check", is_flag=True, help="Change nothing; print what differs and exit 1.")
@tool
def render(check: bool, as_json: bool) -> None:
    """Write recipes, tables and the doctor's bounds, from pixi.toml, recipe/*.toml and the wheels' metadata."""
    from maintain.recipes.render import REPAIR, stale, write

    if not check:
        changed = [str(path.relative_to(ROOT)) for path in write()]
        say(f"{len(changed)} files written" if changed else "nothing to do")
        emit(changed, lambda: out.print("\n".join(changed), markup=False), as_json=as_json)
        return
    differing = stale()
    if not differing:
        emit([], lambda: say("the recipes are what the data says"), as_json=as_json)
        return
    if not as_json:
        for path, text in differing:
            out.print("".join(_diff(path, text)), markup=False, end="")
    names = ", ".join(str(path.relative_to(ROOT)) for path, _ in differing)
    raise ToolError("check-failed", f"not what the data says: {names}", fix=REPAIR)


@cli.command()
@tool
def bounds(as_json: bool) -> None:
    """Write the bounds into pixi.toml that the locked Prefects have and their environments lack; then: scripts/lock."""
    from maintain import bounds as data
    from maintain.check import held
    from maintain.lib.files import atomic_write
    from maintain.lock import lockfile

    manifest = load()
    old = manifest.path.read_text(encoding="utf-8")
    text, left = held.amended(manifest, lockfile.read(LOCK), data.load())
    if text != old:
        atomic_write(manifest.path, text)
    added = "".join(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "pixi.toml", "pixi.toml"))
    emit({"diff": added}, lambda: out.print(added or "nothing to do", markup=False), as_json=as_json)
    if left:
        lines = "\n".join(sorted({f"{lack.where}: {lack.bound.conda}" for lack in left}))
        raise ToolError("check-failed", "pixi.toml has no place of their own for some bounds", why=lines, fix=PLACE)


PLACE = "give these platforms a table with prefect ([feature.NAME.target.PLATFORM.dependencies]), then run it again"


@cli.command()
@line_option
@channel_option
@tool
def build(names: tuple[str, ...], channel: Path | None, as_json: bool) -> None:
    """Build our packages of the lines and put them into the channel."""
    from maintain.channel.index import index
    from maintain.recipes.build import build_line

    folder = _channel(channel, _lines(names))
    files = sorted({str(path) for name in _lines(names) for path in build_line(name, folder)})
    index(folder)
    emit(files, lambda: out.print("\n".join(files), markup=False), as_json=as_json)


@cli.command()
@line_option
@channel_option
@tool
def test(names: tuple[str, ...], channel: Path | None, as_json: bool) -> None:
    """Build, then run the recipes' own tests on each package that the channel can install."""
    from maintain.recipes.test import test_line

    folder = _channel(channel, _lines(names))
    results = [result for name in _lines(names) for result in test_line(name, folder)]

    def table() -> None:
        for result in results:
            out.print(f"{result.outcome:8} {result.package}  {result.note}".rstrip(), markup=False)

    emit([vars(result) for result in results], table, as_json=as_json)
    if failed := [result.package for result in results if result.outcome == "failed"]:
        raise ToolError("check-failed", f"the tests of {', '.join(failed)} failed", fix="see the output above")


@cli.command()
@line_option
@click.argument("pythons", nargs=-1, required=True, metavar="PYTHON...")
@tool
def pythons(names: tuple[str, ...], pythons: tuple[str, ...], as_json: bool) -> None:
    """Run the lines on these Pythons (paths, or versions that uv finds): for `ran` in recipe/lines.toml."""
    from maintain.recipes.lines import load_lines
    from maintain.recipes.pythons import try_line

    chosen = _lines(names)
    runs = [try_line(line, python) for line in load_lines() if line.name in chosen for python in pythons]

    def table() -> None:
        for run in runs:
            say(run.log)
            out.print(f"{run.line:8} {run.python:8} {f'failed: {run.failed}' if run.failed else 'ran'}", markup=False)

    emit([vars(run) for run in runs], table, as_json=as_json)
    if failed := [f"{run.line} on {run.python}" for run in runs if run.failed]:
        raise ToolError("check-failed", f"did not run: {', '.join(failed)}", fix="see the output above")


def _lines(names: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(load().lines)
    if unknown := [name for name in names if name not in known]:
        raise ToolError("bad-usage", f"there is no line {unknown[0]}", why=f"lines: {', '.join(known)}")
    return names or known


def _channel(given: Path | None, names: tuple[str, ...]) -> Path:
    if given is None:
        from maintain.channel.build import build_channel

        return build_channel(names)
    if not (given / "linux-64" / "repodata.json").is_file():
        raise ToolError("bad-usage", f"{given} is no indexed channel for linux-64", fix="leave --channel out")
    return given


def _diff(path: Path, text: str) -> list[str]:
    name = str(path.relative_to(ROOT))
    old = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return list(difflib.unified_diff(old.splitlines(True), text.splitlines(True), name, f"{name} (as rendered)"))


if __name__ == "__main__":
    main(cli)
