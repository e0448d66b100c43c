"""``scripts/sbom``: a CycloneDX SBOM and a licence list for every environment on every platform."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from maintain.lib.console import emit, main, out, tool
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write
from maintain.lib.paths import LOCK, ROOT
from maintain.lock import lockfile
from maintain.lock.lockfile import Lock
from maintain.lock.package import Package, solution


@click.command(epilog="Example: scripts/sbom --output dist/sbom")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / "dist" / "sbom",
    help="The folder to write to; dist/sbom by default.",
)
@tool
def cli(*, output: Path, as_json: bool) -> None:
    """Write ENVIRONMENT-PLATFORM.cdx.json and .licences.csv for everything in pixi.lock, by pixi-sbom.

    The same lock file gives the same bytes; the documents carry the time of its newest package.
    """
    lock = lockfile.read(LOCK)
    files = [*documents(lock, output), *_licences(lock, output)]
    emit(
        {"files": [str(file) for file in files]},
        lambda: out.print("\n".join(map(str, files)), markup=False),
        as_json=as_json,
    )


def documents(lock: Lock, output: Path) -> list[Path]:
    """Write a CycloneDX document for every environment and platform of ``lock`` into ``output``; returns the paths.

    Raises ``missing-program`` and ``command-failed``.
    """
    program = shutil.which("pixi-sbom", path=str(Path(sys.executable).parent)) or shutil.which("pixi-sbom")
    if program is None:
        raise ToolError("missing-program", "pixi-sbom is not installed", fix="run scripts/sbom, which brings it")
    stamps = [record.timestamp.timestamp() for group in lock.records.values() for record in group if record.timestamp]
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(int(max(stamps, default=0)))}
    written = []
    with tempfile.TemporaryDirectory(prefix="prefect-env-sbom-") as folder:
        command = [
            program,
            "--quiet",
            "--lockfile",
            str(lock.path),
            "--all-environments",
            "--all-platforms",
            "--output",
            folder,
        ]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError("command-failed", "pixi-sbom failed", where=str(lock.path), why=done.stderr.strip())
        for name, environment in lock.environments.items():
            for row in environment.records:
                text = (Path(folder) / f"sbom-{name}-{row}.cdx.json").read_text(encoding="utf-8")
                target = output / f"{name}-{lock.rows[row].subdir}.cdx.json"
                atomic_write(target, text)
                written.append(target)
    return sorted(written)


def _licences(lock: Lock, output: Path) -> list[Path]:
    written = []
    for (name, subdir), packages in sorted(solution(lock.records).items()):
        target = output / f"{name}-{subdir}.licences.csv"
        atomic_write(target, _table(packages))
        written.append(target)
    return written


def _table(packages: tuple[Package, ...]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "version", "build", "licence", "bytes", "sha256", "url"])
    for package in packages:
        row = [package.name, package.version, package.build, package.license or "", package.size or ""]
        writer.writerow([*row, package.sha256 or "", package.url])
    return stream.getvalue()


if __name__ == "__main__":
    main(cli)
