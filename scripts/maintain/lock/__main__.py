"""``scripts/lock``: solve, write pixi.lock and envs/, say what changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from maintain.lib.console import emit, main, out, tool
from maintain.lib.errors import ToolError
from maintain.lib.paths import ROOT
from maintain.lock import diff, lockfile, plan, store, tools
from maintain.lock.package import solution
from maintain.manifest import load


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
@click.option("--tools", "only_tools", is_flag=True, help="Pin the tools' own requirements anew instead (needs uv).")
@tool
def cli(
    *, names: tuple[str, ...], update: bool, repodata: Path | None, check: bool, only_tools: bool, as_json: bool
) -> None:
    """Solve every environment of pixi.toml on every platform; write pixi.lock, envs/ and the README's table.

    Without --update it keeps whatever is locked and still satisfies the manifest.
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
    result = run(ROOT, repodata, plan.Update(update and not names, frozenset(names)), write=not check)
    emit(result.as_dict(), lambda: out.print("\n".join(result.lines()), markup=False), as_json=as_json)
    if check and result.files:
        raise ToolError("check-failed", "pixi.lock and envs/ are not up to date", fix="scripts/lock")


class Result:
    """What a run of scripts/lock did, or would do."""

    def __init__(self, made: plan.Plan, changes: diff.Changes, files: list[str]) -> None:
        self.plan = made
        self.changes = changes
        self.files = files

    def lines(self) -> list[str]:
        """The result for a terminal."""
        return [*diff.lines(self.changes), *(f"wrote {file}" for file in self.files)] or ["up to date"]

    def as_dict(self) -> dict[str, object]:
        """The result for ``--json``; seconds of reading records and of solving them."""
        return {
            "changes": {"/".join(key): [change.as_dict() for change in group] for key, group in self.changes.items()},
            "files": self.files,
            "solved": ["/".join(key) for key in self.plan.solved],
            "load_seconds": round(self.plan.load_seconds, 3),
            "solve_seconds": round(self.plan.solve_seconds, 3),
        }


def run(root: Path, repodata: Path | None, update: plan.Update, *, write: bool = True) -> Result:
    """Lock the clone at ``root``; raise ``unsatisfiable`` and leave everything as it was if a spec cannot be met."""
    manifest = load(root / "pixi.toml")
    old = None
    if (root / "pixi.lock").is_file():
        try:
            old = lockfile.read(root / "pixi.lock")
        except ToolError:
            if not update.everything:
                raise
    made = asyncio.run(plan.make(manifest, old, update, repodata, trusted=store.trusted(root)))
    before = solution(old.records) if old else {}
    wanted = store.outputs(manifest, made.records, store.read_text(root / "README.md"))
    files = store.write(root, wanted) if write else store.stale(root, wanted)
    return Result(made, diff.compare(before, solution(made.records)), files)


if __name__ == "__main__":
    main(cli)
