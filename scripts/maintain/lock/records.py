"""Where package records come from: a folder of repodata, or the channel itself."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from rattler import (
    BuildString,
    Channel,
    Gateway,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    SparseRepoData,
    Subdir,
    Version,
    solve,
    solve_with_sparse_repodata,
)

from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lib.files import explained
from maintain.lib.paths import ROOT, cache_dir
from maintain.manifest import Manifest, Platform

SHARED = ROOT.parent / "shared" / "conda-forge"
"""Where maintainers keep a copy of conda-forge's records beside the clone."""
REACHABLE_SECONDS = 5.0


class Source(Protocol):
    """Records to solve from."""

    label: str
    """Where they come from, for messages."""
    load_seconds: float
    """How long reading them has taken so far; 0 where the solver reads them itself."""

    async def solve(
        self, specs: list[MatchSpec], platform: Platform, keep: Collection[RepoDataRecord]
    ) -> list[RepoDataRecord]:
        """Solve with exactly the platform's virtual packages, preferring the records ``keep``."""
        ...

    async def find(self, record: RepoDataRecord) -> RepoDataRecord | None:
        """The source's own record of the package at this URL with this SHA-256, if it lists it."""
        ...


class FolderSource:
    """A folder of repodata (``SUBDIR/repodata.json``), taken as the records of ``channel``; each is opened once."""

    def __init__(self, folder: Path, channel: str, scratch: Path) -> None:
        self.label = str(folder)
        self.load_seconds = 0.0
        self._channel = Channel(channel)
        self._scratch = scratch
        self._files = {file.parent.name: file for file in folder.glob("*/repodata.json")}
        self._opened: dict[str, SparseRepoData] = {}
        if not self._files:
            raise ToolError(
                "bad-file",
                "this folder holds no channel records",
                where=self.label,
                why="expected SUBDIR/repodata.json, for example linux-64/repodata.json",
            )

    async def solve(
        self, specs: list[MatchSpec], platform: Platform, keep: Collection[RepoDataRecord]
    ) -> list[RepoDataRecord]:
        """Solve from the platform's subdir and noarch; raise ``bad-file`` if the folder does not have them."""
        return await solve_with_sparse_repodata(
            specs,
            [self._repodata(platform.subdir), self._repodata("noarch")],
            locked_packages=list(keep),
            virtual_packages=virtual_packages(platform),
        )

    async def find(self, record: RepoDataRecord) -> RepoDataRecord | None:
        """The folder's own record of the package at this URL with this SHA-256, if it lists it."""
        return _same(record, self._repodata(record.subdir).load_records(record.name))

    def _repodata(self, subdir: str) -> SparseRepoData:
        if subdir not in self._opened:
            if subdir not in self._files:
                raise ToolError("bad-file", f"there are no records for {subdir}", where=self.label)
            started = perf_counter()
            whole = _complete(self._files[subdir], self._scratch)
            self._opened[subdir] = SparseRepoData(self._channel, subdir, whole)
            self.load_seconds += perf_counter() - started
        return self._opened[subdir]


class ChannelSource:
    """The channels themselves; the user's cache keeps their repodata."""

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.label = ", ".join(channels)
        self.load_seconds = 0.0
        self._channels = [Channel(url) for url in channels]
        self._gateway = Gateway(cache_dir=cache_dir() / "repodata")

    async def solve(
        self, specs: list[MatchSpec], platform: Platform, keep: Collection[RepoDataRecord]
    ) -> list[RepoDataRecord]:
        """Solve from what the channels have now."""
        return await solve(
            self._channels,
            specs,
            gateway=self._gateway,
            platforms=[Subdir(platform.subdir), Subdir("noarch")],
            locked_packages=list(keep),
            virtual_packages=virtual_packages(platform),
        )

    async def find(self, record: RepoDataRecord) -> RepoDataRecord | None:
        """The channels' own record of the package at this URL with this SHA-256, if they list it."""
        listed = await self._gateway.query(self._channels, [Subdir(record.subdir)], [record.name], recursive=False)
        return _same(record, [found for group in listed for found in group])


@contextmanager
def open_source(manifest: Manifest, folder: Path | None) -> Iterator[Source]:
    """The records to solve from: ``folder``, else the live channel, else the maintainers' copy beside the clone.

    Raises ``network`` if there is none of them, ``bad-file`` for a folder that is no channel's records.
    """
    if folder is None and _reachable(manifest.channels[0]):
        yield ChannelSource(manifest.channels)
        return
    if folder is None:
        if not SHARED.is_dir():
            raise ToolError(
                "network",
                "the channel cannot be reached",
                where=manifest.channels[0],
                fix="check HTTPS_PROXY and SSL_CERT_FILE, or name a folder of records: scripts/lock --repodata DIR",
            )
        say(f"{manifest.channels[0]} cannot be reached; solving from {SHARED}")
        folder = SHARED
    if len(manifest.channels) != 1:
        what = "a folder of records serves one channel, the manifest has several"
        raise ToolError("bad-usage", what, where=str(manifest.path))
    # Windows cannot remove a file that is still mapped; the next cleaning of its temporary folder does.
    with tempfile.TemporaryDirectory(prefix="prefect-env-records-", ignore_cleanup_errors=True) as scratch:
        yield FolderSource(folder, manifest.channels[0], Path(scratch))


def _same(record: RepoDataRecord, listed: list[RepoDataRecord]) -> RepoDataRecord | None:
    return next((found for found in listed if (found.url, found.sha256) == (record.url, record.sha256)), None)


def virtual_packages(platform: Platform) -> list[GenericVirtualPackage]:
    """The virtual packages of a platform as the solver takes them."""
    found = []
    for text in platform.virtual_packages:
        name, version, build = (*text.split("=", 2), "")[:3]
        found.append(GenericVirtualPackage(PackageName(name), Version(version), BuildString.new_unchecked(build)))
    return found


def _complete(file: Path, scratch: Path) -> Path:
    """``file``, or a copy without the records that have neither size nor timestamp.

    Records collected from old lock files lack track_features too, and the solver would prefer them for that.
    """
    with explained(file):
        text = file.read_bytes()
    try:
        data: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
        parts = {part: data.get(part, {}) for part in ("packages", "packages.conda")}
        whole = {
            part: {name: record for name, record in records.items() if "size" in record or "timestamp" in record}
            for part, records in parts.items()
        }
    except json.JSONDecodeError as error:
        raise ToolError(
            "bad-file", "repodata is not valid JSON", where=f"{file}:{error.lineno}", why=error.msg
        ) from error
    except (UnicodeDecodeError, AttributeError, TypeError, RecursionError) as error:
        raise ToolError("bad-file", "this is no repodata.json", where=str(file), why=str(error)) from error
    if whole == parts:
        return file
    copy = scratch / f"{file.parent.name}.json"
    copy.write_text(json.dumps({**data, **whole}), encoding="utf-8")
    return copy


def _reachable(channel: str) -> bool:
    """Whether the channel answers within a few seconds; the host's proxy and CA settings apply."""
    if not channel.startswith(("https://", "http://")):
        return Path(channel.removeprefix("file://")).is_dir()
    request = urllib.request.Request(f"{channel}/noarch/repodata.json.zst", method="HEAD")  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=REACHABLE_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
