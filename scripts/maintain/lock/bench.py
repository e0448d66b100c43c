"""How long a lock takes beside its peers: one environment on one platform, from the same records."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rattler import Channel, Gateway, Subdir, solve

from maintain.lock.records import SHARED, open_source, virtual_packages
from maintain.lock.solve import match_spec, solve_environment
from maintain.manifest import Manifest, load

ENVIRONMENT, SUBDIR = "default", "linux-64"
CONDA = ("micromamba", "mamba", "conda")
"""conda-lock has no solver of its own; it runs the first of these that is on PATH."""


@dataclass(frozen=True)
class BenchRow:
    """Our time beside a peer's for the same work, in seconds; no time where the peer cannot run here."""

    name: str
    ours_seconds: float
    peer_name: str
    peer_seconds: float | None


def rows(records: Path = SHARED) -> list[BenchRow]:
    """Solve the default environment for linux-64 from ``records``: ours, rattler's gateway, conda-lock.

    Each includes reading the records. Empty if there are no records.
    """
    if not records.is_dir():
        return []
    manifest = load()
    name = f"lock {ENVIRONMENT} on {SUBDIR}"
    ours = _seconds(lambda: asyncio.run(_ours(manifest, records)))
    found = [BenchRow(name, ours, "py-rattler's gateway", _seconds(lambda: asyncio.run(_gateway(manifest, records))))]
    conda = next(filter(None, map(shutil.which, CONDA)), None)
    peer = _seconds(lambda: _conda_lock(conda, records)) if conda else None
    return [*found, BenchRow(name, ours, "conda-lock" if conda else f"conda-lock (needs {' or '.join(CONDA)})", peer)]


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


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
