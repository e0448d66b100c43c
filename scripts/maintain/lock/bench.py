"""How long a lock takes beside its peers: one environment on one platform, from the same records."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rattler import Channel, Gateway, Subdir, solve

from maintain.lib.console import say
from maintain.lib.measure import Row, alternate
from maintain.lock.records import SHARED, open_source, virtual_packages
from maintain.lock.solve import match_spec, solve_environment
from maintain.manifest import Manifest, load

ENVIRONMENT, SUBDIR = "default", "linux-64"
CONDA = ("micromamba", "mamba", "conda")
"""conda-lock has no solver of its own; it runs the first of these that is on PATH."""


def rows(records: Path = SHARED) -> list[Row]:
    """Solve the default environment for linux-64 from ``records``: ours, rattler's gateway, conda-lock.

    Each includes reading the records. Empty if there are no records; conda-lock is left out, and that is said,
    where it has no program to solve with.
    """
    if not records.is_dir():
        say(f"lock is not measured: there are no records in {records}")
        return []
    manifest = load()

    def ours() -> None:
        asyncio.run(_ours(manifest, records))

    peers = {"py-rattler's gateway": lambda: asyncio.run(_gateway(manifest, records))}
    if conda := next(filter(None, map(shutil.which, CONDA)), None):
        peers["conda-lock"] = lambda: _conda_lock(conda, records)
    else:
        say(f"conda-lock is not measured: it needs {' or '.join(CONDA)}")
    found = []
    for name, peer in peers.items():
        mine, theirs = alternate(ours, peer)
        found.append(Row(f"lock {ENVIRONMENT} on {SUBDIR}", mine, name, theirs))
    return found


async def _ours(manifest: Manifest, records: Path) -> None:
    with open_source(manifest, records) as source:
        await solve_environment(source, manifest, manifest.environments[ENVIRONMENT], SUBDIR)


async def _gateway(manifest: Manifest, records: Path) -> None:
    specs = [match_spec(spec) for spec in manifest.environments[ENVIRONMENT].requirements(SUBDIR)]
    with tempfile.TemporaryDirectory() as cache:
        await solve(
            [Channel(records.resolve().as_uri())],
            specs,
            gateway=Gateway(cache_dir=Path(cache)),
            platforms=[Subdir(SUBDIR), Subdir("noarch")],
            virtual_packages=virtual_packages(manifest.platforms[SUBDIR]),
        )


def _conda_lock(conda: str, records: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        virtual = Path(folder) / "virtual.yml"
        virtual.write_text(
            f"subdirs:\n  {SUBDIR}:\n    packages:\n      __glibc: '2.17'\n      __linux: '3.10'\n", encoding="utf-8"
        )
        source = load().path.parent / "envs" / ENVIRONMENT / "environment.yml"
        program = str(Path(sys.executable).with_name("conda-lock"))
        command = [program, "lock", "--conda", conda, "--platform", SUBDIR, "--file", str(source)]
        command += ["--channel", records.resolve().as_uri(), "--virtual-package-spec", str(virtual)]
        command += ["--lockfile", str(Path(folder) / "conda-lock.yml")]
        subprocess.run(command, check=True, capture_output=True)
