"""``scripts/edge``: install Prefect as it is at a revision of its repository."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path

import click
from rattler import Config

from maintain.edge.package import build_string, packages, write_channel
from maintain.edge.revision import build, checkout
from maintain.install.choice import Choice, choose
from maintain.install.engine import default_prefix, install
from maintain.install.network import masked
from maintain.install.plan import Plan, solved
from maintain.lib.console import emit, main, out, say, tool
from maintain.lib.files import exclusive
from maintain.lib.paths import BUILD
from maintain.manifest import load
from maintain.recipes.catalog import base_specs

PREFECT = "https://github.com/PrefectHQ/prefect"
HOME = BUILD / "edge"
"""A channel folder for each revision that was built."""


@click.command(epilog="Example: scripts/edge --git ~/src/prefect --rev my-branch --prefix ~/envs/edge")
@click.option("--git", "url", default=PREFECT, show_default=True, metavar="URL|DIR", help="The repository or a clone.")
@click.option("--rev", default="main", show_default=True, help="A branch, a tag or a commit.")
@click.option(
    "--prefix", type=click.Path(path_type=Path), metavar="DIR", help="Where to [~/.local/share/prefect-env/edge]."
)
@click.option("--channel", metavar="URL|DIR", help="conda-forge, a mirror of it, or a stand-in [found].")
@tool
def cli(url: str, rev: str, prefix: Path | None, channel: str | None, as_json: bool) -> None:
    """Build a conda package of Prefect at a revision and install it beside our SQLite and OpenSSL.

    The package has the revision's own version and dependencies. Building runs code of the repository. The user
    interface needs npm and is left out where the revision does not have it built; the server's API works without.
    """
    choice = choose(channel)
    say(str(choice))
    with exclusive(HOME / ".lock", what="the build of a revision", wait=600), tempfile.TemporaryDirectory() as name:
        say(f"cloning {masked(url)} ...")
        revision = checkout(url, rev, Path(name, "source"))
        home = HOME / f"{revision.commit[:12]}{'-lean' if choice.stand_in else ''}"
        if not (home / "noarch" / "repodata.json").is_file():
            say(f"building {revision.commit} {'with' if revision.has_ui else 'without'} the user interface ...")
            write_channel(packages(build(revision, Path(name)), revision.commit, lean=choice.stand_in), home)
    specs = [*base_specs(load()), f"prefect * {build_string(revision.commit)}_*"]
    result = install(prefix or default_prefix("edge"), choice, planner=partial(_plan, specs=specs, home=home))
    emit(
        {**result.as_dict(), "commit": revision.commit},
        lambda: out.print(f"{result.prefix} holds Prefect at {revision.commit}", markup=False),
        as_json=as_json,
    )


def _plan(choice: Choice, config: Config, *, specs: list[str], home: Path) -> Plan:
    """The revision's package from ``home``, all else from the chosen channel."""
    return asyncio.run(solved(choice, config, "edge", specs, ["prefect-env-runtime"], before=[home.as_uri()]))


if __name__ == "__main__":
    main(cli)
