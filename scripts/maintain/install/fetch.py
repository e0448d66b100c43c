"""Fetch archives: in parallel, resumed, retried, and each one verified whatever its URL's scheme.

py-rattler's own download is not used because it takes a ``file://`` archive without looking at its sha256, starts a
broken download from the beginning, and trusts what lies in its cache by name. Here an archive lies under its
sha256 (``CACHE/pkgs/archives/SHA256/NAME``), is hashed again before every use, and only then given to py-rattler.
Where what was unpacked from verified archives has not been touched since (:func:`pristine`), that is linked, and no
archive is looked at.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from rattler import Config
from rattler.networking import Client
from rattler.package_streaming import download_to_writer

from maintain.install.choice import folder_of
from maintain.install.network import client, masked, status
from maintain.install.plan import Package
from maintain.lib.errors import ToolError
from maintain.lib.files import exclusive, explained, sha256_file, verify_sha256
from maintain.lib.paths import cache_dir

ATTEMPTS = 5
STALL = 30.0
"""Seconds without a byte after which a download is given up and taken up again."""
PATIENCE = 3600.0
"""Seconds to wait for another install that fetches into the same cache."""
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


def package_cache() -> Path:
    """The folder of archives and extracted packages; ``unsafe-cache`` if others could have written into it."""
    folder = cache_dir() / "pkgs"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        found = folder.stat()
    if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o002):
        raise ToolError(
            "unsafe-cache",
            "the package cache can be changed by others",
            where=str(folder),
            why=f"owner {found.st_uid}, mode {found.st_mode & 0o777:o}, you are {os.geteuid()}",
            fix="set PREFECT_ENV_CACHE to a folder of your own",
        )
    return folder


def archive(package: Package) -> Path:
    """Where the verified archive of ``package`` lies."""
    return package_cache() / "archives" / package.sha256 / package.record.file_name


def pristine(packages: Sequence[Package]) -> bool:
    """Whether no unpacked file was touched since :func:`remember`; then neither they nor the archives are needed again.

    Prefixes share the unpacked files by hard links, so who edits a file in a prefix edits it here. py-rattler's own
    note beside each folder counts too: without it an archive would be unpacked once more.
    """
    for package in packages:
        note = _note(package.sha256)
        try:
            folder = note.read_text(encoding="utf-8")
            if max(_newest(folder), os.stat(f"{folder}.lock").st_mtime_ns) >= note.stat().st_mtime_ns:  # noqa: PTH116
                return False
        except OSError:
            return False
    return True


def remember(unpacked: Iterable[tuple[str, str]]) -> None:
    """Note that the files of archives (by sha256) were just verified in the folders where they are unpacked."""
    for sha256, folder in unpacked:
        _note(sha256).write_text(folder, encoding="utf-8")


def _note(sha256: str) -> Path:
    return package_cache() / "archives" / sha256 / "unpacked"


def _newest(folder: str) -> int:
    """The latest modification below ``folder`` in nanoseconds; folders count, so that a lost file shows."""
    newest = os.stat(folder).st_mtime_ns  # noqa: PTH116 - a set of packages has ten thousand files
    with os.scandir(folder) as entries:
        for entry in entries:
            deep = entry.is_dir(follow_symlinks=False)
            newest = max(newest, _newest(entry.path) if deep else entry.stat(follow_symlinks=False).st_mtime_ns)
    return newest


async def fetch(
    packages: Sequence[Package],
    config: Config,
    done: Callable[[Package], None],
    *,
    store: Path | None = None,
    rate: float | None = None,
) -> None:
    """Have a verified archive of every package in the cache; ``done`` is called after each.

    With ``store`` they are put into that folder instead, as a channel has them (``SUBDIR/NAME``). ``rate`` is the most
    bytes a second to download.
    Raises ``hash-mismatch``, ``network``, ``bad-file`` (no such file in a ``file://`` channel) or ``disk-full``.
    """
    where = {package.sha256: _place(package, store) for package in packages}
    intact = await asyncio.gather(*(asyncio.to_thread(_intact, package, where[package.sha256]) for package in packages))
    missing = [package for package, whole in zip(packages, intact, strict=True) if not whole]
    for package, whole in zip(packages, intact, strict=True):
        if whole:
            done(package)
    if not missing:
        return
    turn = asyncio.Semaphore(config.concurrency_downloads)
    pace = _Pace(rate)
    home = store or package_cache()
    plain = client(config)

    async def one(package: Package) -> None:
        async with turn:
            place = where[package.sha256]
            if not await asyncio.to_thread(_intact, package, place):  # another install may have fetched it meanwhile
                await _fetch(package, place, config, plain, pace)
        done(package)

    with explained(home), exclusive(home / ".fetch.lock", what=str(home), wait=PATIENCE):
        try:
            async with asyncio.TaskGroup() as group:
                for package in missing:
                    group.create_task(one(package))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors


def _place(package: Package, store: Path | None) -> Path:
    return store / package.record.subdir / package.record.file_name if store else archive(package)


def _intact(package: Package, path: Path) -> bool:
    return path.is_file() and sha256_file(path) == package.sha256


async def _fetch(package: Package, target: Path, config: Config, plain: Client, pace: _Pace) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    folder = folder_of(package.location)
    if folder:
        await asyncio.to_thread(_copy, folder, part)
        _verify(part, package)
    else:
        await _download(package, part, config, plain, pace)
    part.replace(target)


def _verify(part: Path, package: Package) -> None:
    """Raise ``hash-mismatch``, and leave nothing of the wrong bytes, unless ``part`` is the package's archive."""
    try:
        verify_sha256(part, package.sha256, source=masked(package.location))
    except ToolError:
        part.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    """Copy, so that what was verified cannot change with the channel's file."""
    with explained(source):
        stream = source.open("rb")
    with stream, explained(target), target.open("wb") as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)


class _Pace:
    """What all downloads together may take a second: who is ahead of time sleeps."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self.next = 0.0
        self.turn = threading.Lock()

    def take(self, size: int) -> None:
        if self.rate:
            with self.turn:
                now = time.monotonic()
                self.next = max(self.next, now) + size / self.rate
                wait = self.next - now
            time.sleep(wait)


class _Sink:
    """The part file as py-rattler writes to it; ``received`` tells a slow download from a dead one."""

    def __init__(self, stream: BinaryIO, pace: _Pace) -> None:
        self.stream = stream
        self.pace = pace
        self.received = 0

    def write(self, chunk: bytes) -> int:
        self.received += len(chunk)
        self.pace.take(len(chunk))
        return self.stream.write(chunk)


async def _download(package: Package, part: Path, config: Config, plain: Client, pace: _Pace) -> None:
    """Leave the verified archive in ``part``, going on from what an earlier attempt or run left there."""
    why = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(0.1 * 2**attempt)
        have = part.stat().st_size if part.exists() else 0
        try:
            # py-rattler has no argument for a range, but a client of its own takes any header.
            agent = client(config, {"Range": f"bytes={have}-"}) if have else plain
            await _receive(agent, package.location, part, pace)
            await asyncio.to_thread(_verify, part, package)
        except ToolError:
            if not have:
                raise  # the server says that this is all of it
            # A server without ranges sends all of it again; and what was there may have been wrong.
        except (RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the network
            why = masked(str(error)) or f"no data for {STALL:.0f} s"
            code = status(error)
            if code == 416:  # as long as the archive already, and not the archive
                part.unlink(missing_ok=True)
            elif code is not None and code not in TEMPORARY:
                break
        else:
            return
    raise ToolError(
        "network",
        f"{part.name.removesuffix('.part')} cannot be downloaded",
        where=masked(package.location),
        why=why,
        fix="run the same command again, it goes on where it stopped; else check HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE",
    )


async def _receive(agent: Client, url: str, part: Path, pace: _Pace) -> None:
    """Append the body of ``url`` to ``part``; TimeoutError when nothing comes for :data:`STALL` seconds."""
    with part.open("ab") as stream:
        sink = _Sink(stream, pace)
        task = asyncio.ensure_future(download_to_writer(agent, url, sink))
        seen = -1
        try:
            while not task.done():
                if sink.received == seen:
                    raise TimeoutError
                seen = sink.received
                await asyncio.wait({task}, timeout=STALL)
            await task
        finally:
            task.cancel()
