"""``scripts/bump``: re-lock from new records, regenerate everything, note it in CHANGELOG.md."""

from __future__ import annotations

from pathlib import Path

import click

from maintain.bump import changelog
from maintain.lib.console import emit, main, out, tool
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
@tool
def cli(*, names: tuple[str, ...], repodata: Path | None, as_json: bool) -> None:
    """Move the packages NAMES, or every package, as far as pixi.toml allows; write the changelog's package list."""
    result = relock(ROOT, repodata, Update(not names, frozenset(names)))
    if result.changes:
        path = ROOT / "CHANGELOG.md"
        atomic_write(
            path, changelog.with_packages(store.read_text(path) or changelog.EMPTY, diff.markdown(result.changes))
        )
        result.files.append(path.name)
    emit(result.as_dict(), lambda: out.print("\n".join(result.lines()), markup=False), as_json=as_json)


if __name__ == "__main__":
    main(cli)
