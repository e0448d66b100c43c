"""Read and write pixi.lock (format v7) by rattler, the library pixi itself uses for it."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rattler import LockChannel, LockFile, LockPlatform, RepoDataRecord, Subdir

from maintain.lib.errors import ToolError
from maintain.lock.package import Records
from maintain.manifest import Manifest


@dataclass(frozen=True)
class Row:
    """A platform of the lock file."""

    name: str
    subdir: str
    virtual_packages: tuple[str, ...]


@dataclass(frozen=True)
class LockedEnvironment:
    """An environment of the lock file."""

    channels: tuple[str, ...]
    records: dict[str, tuple[RepoDataRecord, ...]]
    """By the name of the platform row."""
    foreign: int
    """How many packages are no conda packages."""


@dataclass(frozen=True)
class Lock:
    """A lock file as it was read."""

    path: Path
    rows: dict[str, Row]
    environments: dict[str, LockedEnvironment]

    @property
    def records(self) -> Records:
        """The records by (environment, conda subdir)."""
        return {
            (name, self.rows[row].subdir): records
            for name, environment in self.environments.items()
            for row, records in environment.records.items()
        }


def read(path: Path) -> Lock:
    """Read a lock file; raise ``bad-file`` with the line where it is none."""
    fix = "restore it (git checkout pixi.lock) or make it anew: scripts/lock --update"
    if not path.is_file():
        raise ToolError("bad-file", "there is no lock file", where=str(path), fix="make it: scripts/lock")
    try:
        parsed = LockFile.from_path(path)
        rows = {row.name: Row(row.name, str(row.subdir), tuple(row.virtual_packages)) for row in parsed.platforms()}
        environments = {}
        for name, environment in parsed.environments():
            found = {}
            foreign = 0
            for row in environment.platforms():
                records = environment.conda_repodata_records_for_platform(row) or []
                found[row.name] = tuple(sorted(records, key=lambda record: str(record.name.normalized)))
                foreign += len(environment.packages(row) or []) - len(records)
            environments[name] = LockedEnvironment(tuple(map(str, environment.channels())), found, foreign)
    # rattler's parser reports by exceptions of several types, and by a panic (a BaseException) on some broken input.
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}:{line[1] if line else 1}"
        raise ToolError(
            "bad-file", f"{path.name} is no valid lock file", where=where, why=str(error), fix=fix
        ) from error
    return Lock(path, rows, environments)


def text(manifest: Manifest, records: Records) -> str:
    """The lock file of a solution, byte for byte the same for the same records."""
    rows = {
        subdir: LockPlatform(platform.name, Subdir(subdir), list(platform.virtual_packages))
        for subdir, platform in manifest.platforms.items()
    }
    lock = LockFile(list(rows.values()))
    for name, environment in sorted(manifest.environments.items()):
        lock.set_channels(name, [LockChannel(f"{channel}/") for channel in manifest.channels])
        for subdir in environment.platforms:
            for record in sorted(records[name, subdir], key=lambda record: str(record.name.normalized)):
                lock.add_conda_package(name, rows[subdir], record)
    with tempfile.TemporaryDirectory(prefix="prefect-env-lock-") as folder:
        path = Path(folder) / "pixi.lock"
        lock.to_path(path)
        return path.read_text(encoding="utf-8")
