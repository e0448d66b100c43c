"""``scripts/bump``: move locked packages or lines, regenerate everything, note it in CHANGELOG.md."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from maintain.bump import changelog
from maintain.lib.console import emit, main, out, tool
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write
from maintain.lib.paths import ROOT
from maintain.lock import diff, store
from maintain.lock.plan import Update
from maintain.lock.relock import relock


@click.command(epilog="Example: scripts/bump --repodata ../shared/conda-forge")
@click.argument("names", nargs=-1)
@click.option(
    "--repodata",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Solve from this folder of channel records instead of the channel.",
)
@click.option("--lines", "of_lines", is_flag=True, help="Move the lines NAMES of recipe/ instead (needs uv).")
@tool
def cli(*, names: tuple[str, ...], repodata: Path | None, of_lines: bool, as_json: bool) -> None:
    """Move the packages NAMES, or every package, as far as pixi.toml allows; write the changelog's package list.

    With --lines: ask the configured Python index for the newest Prefect of each line's series, pin it, render what
    follows, and say which of its companions do not go with it, and how far each line is behind.
    """
    if of_lines:
        if repodata:
            raise ToolError("bad-usage", "--repodata is for packages, lines come from the Python index")
        _lines(names, as_json=as_json)
        return
    result = relock(ROOT, repodata, Update(not names, frozenset(names)))
    if result.changes:
        path = ROOT / "CHANGELOG.md"
        atomic_write(
            path, changelog.with_packages(store.read_text(path) or changelog.EMPTY, diff.markdown(result.changes))
        )
        result.files.append(path.name)
    emit(result.as_dict(), lambda: out.print("\n".join(result.lines()), markup=False), as_json=as_json)


def _lines(names: tuple[str, ...], *, as_json: bool) -> None:
    from maintain.bump import lines  # reads wheels and recipes, which moving packages does not need

    report = lines.bump(names, datetime.now(UTC).date())
    if items := report.changelog():
        path = ROOT / "CHANGELOG.md"
        text = changelog.with_packages(store.read_text(path) or changelog.EMPTY, items, changelog.LINES)
        atomic_write(path, text)
        report.files.append(path.name)
    emit(report.as_dict(), lambda: out.print("\n".join(report.lines()), markup=False), as_json=as_json)


if __name__ == "__main__":
    main(cli)
