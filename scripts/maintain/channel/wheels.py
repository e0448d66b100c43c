"""The wheels of a line: fetched by their pins, verified, read."""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from maintain.channel.release import Release, of_host, tags
from maintain.lib.console import progress, say
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file
from maintain.lib.paths import RECIPES, cache_dir

BORROWED = {("pendulum", "2.1.2"): "3.9"}
"""Releases without a wheel for our Python whose C extensions are optional, and the Python whose wheel is taken
instead; ``convert`` leaves the extensions out. So neither a compiler nor an unpinned build backend is needed.
pendulum 2.1.2 falls back to Python code where its extensions are missing (pendulum/parsing, pendulum/helpers)."""

WITHDRAWN = re.compile(r"yanked version: '([^']+)' candidate \(version (\S+) .*\nReason for being yanked: (.*)")
"""What pip says of a wheel that its makers took back; by its exact version it is still to be had, and locked."""

SHARDS = 3
"""How many pips download at once; more only compete for two cores."""


class Pin(NamedTuple):
    """One project at one version, and the SHA-256 of each wheel that may be taken: one, or one for each Python."""

    name: str
    version: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Wheel:
    """A verified wheel file."""

    path: Path
    pin: Pin

    def _read(self, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, tuple[bytes, bool]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return {
                    item.filename: (archive.read(item), bool((item.external_attr >> 16) & 0o100))
                    for item in archive.infolist()
                    if not item.is_dir() and wanted(item.filename)
                }
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ToolError("bad-file", "a wheel cannot be read", where=str(self.path), why=str(error)) from error

    @cached_property
    def files(self) -> dict[str, tuple[bytes, bool]]:
        """Its files: path -> (data, executable)."""
        return self._read()

    @cached_property
    def _described(self) -> tuple[str, email.message.Message]:
        found = self._read(lambda path: path.endswith(".dist-info/METADATA") and path.count("/") == 1)
        if len(found) != 1:
            raise ToolError("bad-file", "a wheel must have one .dist-info folder", where=str(self.path))
        path, (data, _) = found.popitem()
        return path.partition("/")[0], email.parser.Parser().parsestr(data.decode())

    @cached_property
    def sha256(self) -> str:
        """Its hash, which is one of its pin's."""
        return sha256_file(self.path)

    @property
    def dist_info(self) -> str:
        """The name of its .dist-info folder."""
        return self._described[0]

    @property
    def metadata(self) -> email.message.Message:
        """Its core metadata."""
        return self._described[1]

    @property
    def requires(self) -> list[str]:
        """Its ``Requires-Dist`` lines."""
        return [str(line) for line in self.metadata.get_all("Requires-Dist", [])]

    def text(self, name: str) -> str | None:
        """A file of its .dist-info folder, or None."""
        found = self.files.get(f"{self.dist_info}/{name}")
        return found[0].decode() if found else None

    @property
    def pure(self) -> bool:
        """Whether it is for any Python and platform, or is borrowed (:data:`BORROWED`)."""
        return self.borrowed or self.path.name.endswith("-none-any.whl")

    @property
    def borrowed(self) -> bool:
        """Whether it was made for another Python (:data:`BORROWED`)."""
        return self.pin[:2] in BORROWED


def lines() -> set[str]:
    """The lines that have pins."""
    return {path.stem for path in (RECIPES / "lines").glob("*.txt")}


def pins(line: str) -> list[Pin]:
    """The pins of ``line``, read from ``recipe/lines/<line>.txt``."""
    path = RECIPES / "lines" / f"{line}.txt"
    if not path.exists():
        known = ", ".join(sorted(lines()))
        raise ToolError("bad-usage", f"there is no line {line!r}", where=str(path), why=f"lines with pins: {known}")
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, source: str) -> list[Pin]:
    """The pins of a requirements file; each line must read ``name==version --hash=sha256:HEX``, or have more hashes."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        body = line.partition("#")[0].strip()
        match = re.fullmatch(r"([\w.-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})+)", body)
        if match:
            hashes = tuple(word.rpartition(":")[2] for word in match[3].split())
            found.append(Pin(str(canonicalize_name(match[1])), match[2], hashes))
        elif body:
            raise ToolError(
                "bad-file",
                "a pin must read: name==version --hash=sha256:HEX [--hash=...]",
                where=f"{source}:{number}",
                why=f"found: {body}",
                fix="scripts/channel pin",
            )
    return found


def fetch(wanted: Iterable[Pin], release: Release | None = None) -> dict[Pin, Wheel]:
    """The wheels of ``wanted`` for ``release`` (the host's), downloaded where the cache lacks them, verified always."""
    release = release or of_host()
    _store().mkdir(parents=True, exist_ok=True)
    wanted = sorted(set(wanted))
    with ThreadPoolExecutor() as pool:
        there = dict(zip(wanted, pool.map(lambda pin: kept(pin, release), wanted), strict=True))
    missing = [pin for pin, path in there.items() if path is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=_store()) as folder:
            for path in download(missing, Path(folder), release):
                keep(path, sha256_file(path))
        there |= {pin: kept(pin, release) for pin in missing}
    lost = [f"{pin.name} {pin.version}" for pin, path in there.items() if path is None]
    if lost:
        raise ToolError(
            "hash-mismatch", f"the index gave another wheel of {', '.join(lost)}", fix="scripts/channel pin"
        )
    return {pin: Wheel(path, pin) for pin, path in there.items() if path}


def keep(path: Path, sha256: str) -> None:
    """Move a downloaded wheel into the cache, where its hash finds it."""
    home = _store() / sha256
    home.mkdir(parents=True, exist_ok=True)
    shutil.move(path, home / path.name)


def requirement(pin: Pin) -> str:
    """The line of a requirements file, with its end."""
    return f"{pin.name}=={pin.version}" + "".join(f" --hash=sha256:{sha256}" for sha256 in pin.hashes) + "\n"


def kept(pin: Pin, release: Release) -> Path | None:
    """The whole wheel of ``pin`` that serves ``release``, if the cache has one; a damaged one is dropped."""
    for sha256 in pin.hashes:
        for path in (_store() / sha256).glob("*.whl"):
            if sha256_file(path) != sha256:
                path.unlink()
            elif pin[:2] in BORROWED or serves(path.name, release):
                return path
    return None


def _store() -> Path:
    return cache_dir() / "stand-in" / "wheels"


def serves(file: str, release: Release) -> bool:
    """Whether the wheel of that file name runs on ``release``."""
    try:
        return not tags(release).isdisjoint(parse_wheel_filename(file)[3])
    except InvalidWheelFilename as error:
        raise ToolError("bad-file", "a wheel has no valid name", where=file, why=str(error)) from error


def download(wanted: Iterable[Pin], folder: Path, release: Release) -> list[Path]:
    """Download the wheels of ``wanted`` for ``release`` into ``folder`` with pip and return their paths.

    Several pips run at once. They take index, proxy and CA from the user's settings and check the hashes, where a pin
    has any. None is asked for two versions of a project: pip calls that a conflict.
    """
    groups: dict[tuple[str, int, int], list[str]] = {}
    versions: Counter[str] = Counter()
    wanted = sorted(wanted)
    for number, pin in enumerate(wanted):
        python = BORROWED.get(pin[:2], release.python)
        line = f"{pin.name}=={pin.version}" + "".join(f" --hash=sha256:{sha256}" for sha256 in pin.hashes)
        groups.setdefault((python, versions[pin.name] // SHARDS, number % SHARDS), []).append(line)
        versions[pin.name] += 1
    with ThreadPoolExecutor(max(len(groups), 1)) as pool, progress() as bar:
        task = bar.add_task("wheels", total=len(wanted))
        jobs = [pool.submit(_pip, lines, python, release, folder) for (python, *_), lines in groups.items()]
        pending = set(jobs)
        while pending:
            pending = wait(pending, timeout=0.2).not_done
            bar.update(task, completed=len(list(folder.glob("*.whl"))))
    for job in jobs:
        job.result()
    return sorted(folder.glob("*.whl"))


def _pip(lines: list[str], python: str, release: Release, folder: Path) -> None:
    tag = "cp" + python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += [word for abi in (tag, "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in release.platforms for word in ("--platform", platform)]
    command += ["--dest", str(folder)]
    with tempfile.TemporaryDirectory(prefix=".pins-", dir=folder) as scratch:
        file = Path(scratch, "pins.txt")  # closed before pip reads it: Windows lets nobody read an open one
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run(
            [*command, "--requirement", str(file)],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise _explain(done.stderr, release)
    for name, version, reason in WITHDRAWN.findall(done.stderr):
        say(f"withdrawn by its makers: {name} {version}: {reason.strip()}")


def _explain(text: str, release: Release) -> ToolError:
    """What pip's messages mean for the user."""
    lowered = text.lower()
    said = [line.strip() for line in text.splitlines() if line.strip()]
    why = "\n".join(said[-1:] if "traceback" in lowered else said[-8:])
    if "do not match the hashes" in lowered:
        return ToolError(
            "hash-mismatch",
            f"a wheel of the index for {release} is not a file that is pinned",
            why=why,
            fix="scripts/channel pin writes the hashes for each release that has all wheels; else check what your "
            "index or proxy serves",
        )
    if "no space left" in lowered:
        return ToolError("disk-full", "the disk is full", why=why, fix="free some space or set PREFECT_ENV_CACHE")
    return ToolError(
        "network",
        "the Python index cannot be reached or lacks a pinned wheel",
        why=why,
        fix="check the network, proxy (HTTPS_PROXY), CA (PIP_CERT) and index (pip config list), then run it again",
    )
