"""``scripts/lock``: solve, write pixi.lock and envs/, say what changed."""

from __future__ import annotations

from pathlib import Path

import click

from maintain.lib.console import emit, main, out, tool
from maintain.lib.errors import ToolError
from maintain.lib.paths import ROOT
from maintain.lock import tools
from maintain.lock.plan import Update
from maintain.lock.relock import relock


@click.command(
    epilog="Example: scripts/lock --repodata ../shared/conda-forge --update openssl ca-certificates",
    no_args_is_help=False,
)
@click.argument("names", nargs=-1)
@click.option("--update", is_flag=True, help="Move the packages NAMES, or every package if none is named.")
@click.option(
    "--repodata",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Solve from this folder of channel records (SUBDIR/repodata.json) instead of the channel.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if something would change.")
@click.option("--unrehearsed", is_flag=True, help="Write what nobody has run, marked so; scripts/check then fails.")
@click.option("--tools", "only_tools", is_flag=True, help="Pin the tools' own requirements anew instead (needs uv).")
@tool
def cli(
    *,
    names: tuple[str, ...],
    update: bool,
    repodata: Path | None,
    check: bool,
    unrehearsed: bool,
    only_tools: bool,
    as_json: bool,
) -> None:
    """Solve every environment of pixi.toml on every platform; write pixi.lock, envs/ and the README's table.

    Without --update it keeps whatever is locked and still satisfies the manifest. What nobody has run is rehearsed
    first (scripts/rehearse): a set of packages that is dead is not written, and the package to blame is named.
    """
    if names and not update:
        raise ToolError("bad-usage", "package names need --update", fix=f"scripts/lock --update {' '.join(names)}")
    if only_tools:
        changed = tools.compile_requirements()
        emit(
            {"changed": changed},
            lambda: out.print("\n".join(changed) or "nothing changed", markup=False),
            as_json=as_json,
        )
        return
    if check:
        gate = None
    else:
        from maintain.rehearse.gate import choose  # brings all that a rehearsal needs

        gate = choose(unrehearsed=unrehearsed)
    result = relock(ROOT, repodata, Update(update and not names, frozenset(names)), write=not check, gate=gate)
    emit(result.as_dict(), lambda: out.print("\n".join(result.lines()), markup=False), as_json=as_json)
    if check and result.files:
        raise ToolError("check-failed", "pixi.lock and envs/ are not up to date", fix="scripts/lock")


if __name__ == "__main__":
    main(cli)
