"""``scripts/check``: manifest, lock, envs/, recipes and README agree, and the locks hold what the project promises."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from maintain import bounds
from maintain.check import drift, held, hosts, rules, satisfy
from maintain.check.finding import Finding
from maintain.lib.console import emit, main, out, tool
from maintain.lib.errors import Exit
from maintain.lib.paths import ROOT
from maintain.lock import lockfile, store
from maintain.manifest import load


@click.command(epilog="Example: scripts/check --json")
@tool
def cli(*, as_json: bool) -> None:
    """Check, without a network, that manifest, lock, envs/, recipes and README agree and hold what is promised.

    Each finding says where, what, and the command that mends it. Exit code 1 if there is any.
    """
    found = findings(ROOT)
    emit({"findings": [finding.as_dict() for finding in found]}, lambda: show(found), as_json=as_json)
    if found:
        raise click.exceptions.Exit(int(Exit.CHECK_FAILED))


def findings(root: Path) -> list[Finding]:
    """Everything that is wrong below ``root``; raise ``bad-file`` (file and line) for what cannot be read at all."""
    manifest = load(root / "pixi.toml")
    lock = lockfile.read(root / "pixi.lock")
    found = [*satisfy.findings(manifest, lock), *satisfy.options(store.read_text(lock.path) or "", lock.path.name)]
    if not found:
        found += drift.generated(root, manifest, lock)
    if root == ROOT or (root / "recipe" / bounds.FILE).is_file():
        found += held.findings(manifest, lock, bounds.load(root / "recipe"))
    found += rules.packages(lock)
    found += rules.linux_floor(manifest)
    found += asyncio.run(rules.solves_again(manifest, lock))
    found += rules.policy(root)
    found += hosts.findings(root)
    if root == ROOT:
        found += [*drift.recipes(), *drift.lines(manifest), *drift.rehearsals(root, manifest, lock)]
    return found


def show(found: list[Finding]) -> None:
    """The findings for a terminal, one block each."""
    for finding in found:
        out.print(f"[bold red]{finding.rule}[/] ", end="")
        out.print(f"{finding.where}: {finding.what}", markup=False)
        if finding.diff:
            out.print(finding.diff, markup=False)
        out.print(f"  fix: {finding.fix}", markup=False)
    out.print(f"{len(found)} findings" if found else "all checks passed")


if __name__ == "__main__":
    main(cli)
