"""Where package records come from: a folder of repodata, or the channel itself."""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rattler import Channel, Gateway, RepoDataRecord, SparseRepoData, Subdir

from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lib.files import explained
from maintain.lib.paths import ROOT, cache_dir
from maintain.manifest import Manifest

SHARED = ROOT.parent / "shared" / "conda-forge"
"""Where maintainers keep a copy of conda-forge's records beside the clone."""
REACHABLE_SECONDS = 5.0


@dataclass
class Source:
    """Records to solve from: opened folders by subdir, or the channels and a gateway to them."""

    label: str
    folders: dict[str, SparseRepoData] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    gateway: Gateway | None = None

    def repodata(self, subdir: str) -> list[SparseRepoData]:
        """The opened repodata of ``subdir`` and noarch; raise ``bad-file`` if the folder has none."""
        try:
            return [self.folders[subdir], self.folders["noarch"]]
        except KeyError as error:
            raise ToolError(
                "bad-file",
                f"there are no records for {error.args[0]}",
                where=self.label,
                fix="add the subdir's repodata.json",
            ) from error

    async def knows(self, record: RepoDataRecord) -> bool:
        """Whether the source lists the package at this URL with this SHA-256."""
        if self.folders:
            sparse = self.folders.get(record.subdir)
            candidates = sparse.load_records(record.name) if sparse else []
        else:
            assert self.gateway is not None  # a source has folders or a gateway  # noqa: S101
            answer = await self.gateway.query(
                list(self.channels), [Subdir(record.subdir)], [record.name.normalized], recursive=False
            )
            candidates = [found for group in answer for found in group]
        return any(found.url == record.url and found.sha256 == record.sha256 for found in candidates)


@contextmanager
def open_source(manifest: Manifest, folder: Path | None) -> Iterator[Source]:
    """The records to solve from: ``folder``, else the live channel, else the maintainers' copy beside the clone.

    Raises ``network`` if there is none of them, ``bad-file`` for a folder that is no channel's records.
    """
    if folder is None and not _reachable(manifest.channels[0]):
        if not SHARED.is_dir():
            raise ToolError(
                "network",
                "the channel cannot be reached",
                where=manifest.channels[0],
                fix="check HTTPS_PROXY and SSL_CERT_FILE, or name a folder of records: scripts/lock --repodata DIR",
            )
        say(f"{manifest.channels[0]} cannot be reached; solving from {SHARED}")
        folder = SHARED
    if folder is None:
        channels = tuple(Channel(url) for url in manifest.channels)
        yield Source(manifest.channels[0], channels=channels, gateway=Gateway(cache_dir=cache_dir() / "repodata"))
        return
    if len(manifest.channels) != 1:
        raise ToolError(
            "bad-usage", "--repodata serves one channel, the manifest has several", where=str(manifest.path)
        )
    with tempfile.TemporaryDirectory(prefix="prefect-env-records-") as temporary:
        yield Source(str(folder), folders=_open_folder(folder, Channel(manifest.channels[0]), Path(temporary)))


def _open_folder(folder: Path, channel: Channel, temporary: Path) -> dict[str, SparseRepoData]:
    files = sorted(folder.glob("*/repodata.json"))
    if not files:
        raise ToolError(
            "bad-file",
            "this folder holds no channel records",
            where=str(folder),
            why="expected SUBDIR/repodata.json, for example linux-64/repodata.json",
        )
    opened = {}
    for file in files:
        subdir = file.parent.name
        opened[subdir] = SparseRepoData(channel, subdir, _complete(file, temporary))
    return opened


def _complete(file: Path, temporary: Path) -> Path:
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
    copy = temporary / f"{file.parent.name}.json"
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
