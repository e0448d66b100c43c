"""The command line of ``scripts/mirror``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from maintain.channel.index import write
from maintain.install import fetch
from maintain.install.network import configuration
from maintain.install.plan import Package
from maintain.lib.console import emit, main, out, progress, tool
from maintain.lib.errors import ToolError
from maintain.lib.files import exclusive, explained
from maintain.lib.paths import LOCK
from maintain.lock import lockfile
from maintain.lock.package import megabytes
from maintain.mirror.selection import channel, select, size_of


@click.command(epilog="Example: scripts/mirror ./mirror --env default --platform linux-64 --rate 5M")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--env", "environments", multiple=True, metavar="NAME", help="An environment; may be repeated [all].")
@click.option("--platform", "platforms", multiple=True, metavar="SUBDIR", help="A platform; may be repeated [all].")
@click.option("--lock", "locks", type=click.Path(path_type=Path), multiple=True, help="A lock file [pixi.lock].")
@click.option("--source", metavar="URL|DIR", help="The channel or mirror to fetch from [the lock's].")
@click.option("--rate", metavar="SIZE", help="The most to download a second: 500K, 5M.")
@click.option("--prune", is_flag=True, help="Remove what none of the lock files needs.")
@tool
def cli(
    folder: Path,
    environments: tuple[str, ...],
    platforms: tuple[str, ...],
    locks: tuple[Path, ...],
    source: str | None,
    rate: str | None,
    prune: bool,
    as_json: bool,
) -> None:
    """Mirror exactly what environments of the lock need, into FOLDER/CHANNEL, every file verified by its SHA-256.

    A second run fetches what is new, an interrupted one goes on. The channel is for pixi, conda and mamba,
    scripts/install --channel and scripts/pack --source.
    """
    needed: dict[str, Package] = {}
    for path in locks or (LOCK,):
        for packages in select(lockfile.read(path), environments, platforms, source).values():
            needed |= {package.record.url: package for package in packages}
    channels: dict[str, list[Package]] = {}
    for package in needed.values():
        channels.setdefault(channel(package), []).append(package)
    result: dict[str, Any] = {"channels": {}, "packages": len(needed), "fetched": 0, "removed": []}
    for url, own in sorted(channels.items()):
        home = folder.absolute() / url.rpartition("/")[2]
        with explained(home), exclusive(home / ".mirror.lock", what=f"the mirror {home}"):
            result["fetched"] += _fill(home, own, size_of(rate) if rate else None)
            result["removed"] += _index(home, own, prune=prune)
        result["channels"][url] = str(home)
    result["bytes"] = sum(package.record.size or 0 for package in needed.values())
    emit(result, lambda: _show(result), as_json=as_json)


def _fill(home: Path, packages: list[Package], rate: float | None) -> int:
    """Have every package in the channel folder ``home``; returns how many were not there."""
    before = {path for path in home.glob("*/*") if path.suffix in (".conda", ".bz2")}
    with progress() as bar:
        task = bar.add_task("fetching", total=len(packages))
        asyncio.run(fetch.fetch(packages, configuration(), lambda _: bar.advance(task), store=home, rate=rate))
    return sum(home / package.record.subdir / package.record.file_name not in before for package in packages)


def _index(home: Path, packages: Iterable[Package], *, prune: bool) -> list[str]:
    """Write the repodata of every subdir; returns what ``prune`` has removed.

    The records are the lock's: a channel's corrections of dependencies are in there, not in the archives. Repodata is
    written before files are removed and after they are fetched, so it never lists a file that is not there.
    """
    wanted: dict[str, dict[str, Any]] = {"noarch": {}}
    for package in packages:
        record = json.loads(package.record.to_json())
        kept = {key: value for key, value in record.items() if key not in ("url", "channel", "fn")}
        wanted.setdefault(package.record.subdir, {})[package.record.file_name] = kept
    removed = []
    for subdir in sorted({*wanted, *(path.parent.name for path in home.glob("*/repodata.json"))}):
        place = home / subdir
        place.mkdir(parents=True, exist_ok=True)
        records = wanted.get(subdir, {})
        if not prune:
            records = {fn: one for fn, one in _listed(place).items() if (place / fn).is_file()} | records
        write(place, records)
        if prune:
            for path in sorted(place.iterdir()):
                if path.name not in records and re.search(r"\.(conda|tar\.bz2)(\.part)?$", path.name):
                    path.unlink()
                    removed.append(f"{subdir}/{path.name}")
    return removed


def _listed(place: Path) -> dict[str, Any]:
    """The records that the repodata in ``place`` has; none where there is none."""
    try:
        content = json.loads((place / "repodata.json").read_bytes())
        return {**content["packages"], **content["packages.conda"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(
            "bad-file",
            "the mirror's repodata cannot be read",
            where=str(place / "repodata.json"),
            why=str(error),
            fix="remove that file and run the same command again",
        ) from error


def _show(result: dict[str, Any]) -> None:
    size = f"{result['packages']} packages, {megabytes(result['bytes'])} MB"
    out.print(f"{size}; {result['fetched']} fetched, {len(result['removed'])} removed", markup=False)
    for url, home in result["channels"].items():
        local = Path(home).as_uri()
        name = url.removeprefix("https://conda.anaconda.org/")
        out.print(f"\n{url} is mirrored in {home}. To use it:", markup=False)
        out.print("pixi   (~/.pixi/config.toml)   [mirrors]", markup=False)
        out.print(f'                               "{url}" = ["{local}"]', markup=False)
        out.print(f"conda  (~/.condarc)            channels: [{local}]", markup=False)
        out.print(f"mamba  (~/.mambarc)            mirrored_channels: {{{name}: [{local}]}}", markup=False)
        out.print(f"ours                           scripts/install --channel {home}", markup=False)


if __name__ == "__main__":
    main(cli)
