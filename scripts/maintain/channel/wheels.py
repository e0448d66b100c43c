"""The wheels of a line: fetched by their pins, verified, read."""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from packaging.utils import canonicalize_name

from maintain.channel.base import PYTHON
from maintain.lib.console import progress
from maintain.lib.errors import ToolError
from maintain.lib.files import sha256_file
from maintain.lib.paths import RECIPES, cache_dir

TAG = "cp" + PYTHON.replace(".", "")

BORROWED = {("pendulum", "2.1.2"): "3.9"}
"""Releases without a wheel for our Python whose C extensions are optional, and the Python whose wheel is taken
instead; ``convert`` leaves the extensions out. So neither a compiler nor an unpinned build backend is needed.
pendulum 2.1.2 falls back to Python code where its extensions are missing (pendulum/parsing, pendulum/helpers)."""

PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + [
    f"manylinux{year}_x86_64" for year in ("2014", "2010", "1")
]
"""Wheel platforms that run on Debian 12 (glibc 2.36)."""

SHARDS = 3
"""How many pips download at once; more only compete for two cores."""


class Pin(NamedTuple):
    """One project at one version, and the SHA-256 of the wheel that is taken."""

    name: str
    version: str
    sha256: str


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
    """The pins of a requirements file; each line must read ``name==version --hash=sha256:HEX``."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        body = line.partition("#")[0].strip()
        match = re.fullmatch(r"([\w.-]+)==(\S+) +--hash=sha256:([0-9a-f]{64})", body)
        if match:
            found.append(Pin(str(canonicalize_name(match[1])), match[2], match[3]))
        elif body:
            raise ToolError(
                "bad-file",
                "a pin must read: name==version --hash=sha256:HEX",
                where=f"{source}:{number}",
                why=f"found: {body}",
                fix="scripts/channel pin",
            )
    return found


def fetch(wanted: Iterable[Pin]) -> dict[Pin, Wheel]:
    """The wheels of ``wanted``, downloaded where the cache lacks them, verified in any case."""
    store = cache_dir() / "stand-in" / "wheels"
    store.mkdir(parents=True, exist_ok=True)
    wanted = sorted(set(wanted))
    with ThreadPoolExecutor() as pool:
        kept = dict(zip(wanted, pool.map(lambda pin: _kept(store, pin.sha256), wanted), strict=True))
    missing = [pin for pin, path in kept.items() if path is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=store) as folder:
            for path in download([(pin.name, pin.version, pin.sha256) for pin in missing], Path(folder)):
                home = store / sha256_file(path)
                home.mkdir(exist_ok=True)
                path.replace(home / path.name)
        kept |= {pin: _kept(store, pin.sha256) for pin in missing}
    lost = [f"{pin.name} {pin.version}" for pin, path in kept.items() if path is None]
    if lost:
        raise ToolError(
            "hash-mismatch", f"the index gave another wheel of {', '.join(lost)}", fix="scripts/channel pin"
        )
    return {pin: Wheel(path, pin) for pin, path in kept.items() if path}


def _kept(store: Path, sha256: str) -> Path | None:
    """The whole wheel with that hash in the cache, if there is one; a damaged one is dropped."""
    for path in (store / sha256).glob("*.whl"):
        if sha256_file(path) == sha256:
            return path
        path.unlink()
    return None


def download(wanted: Sequence[tuple[str, str, str | None]], folder: Path) -> list[Path]:
    """Download wheels, each (name, version, SHA-256 or None), into ``folder`` with pip and return their paths.

    Several pips run at once. They take index, proxy and CA from the user's settings and check the hashes. None is
    asked for two versions of a project: pip calls that a conflict.
    """
    groups: dict[tuple[str, int, int], list[str]] = {}
    versions: Counter[str] = Counter()
    for number, (name, version, sha256) in enumerate(sorted(wanted)):
        python = BORROWED.get((name, version), PYTHON)
        line = f"{name}=={version}" + (f" --hash=sha256:{sha256}" if sha256 else "")
        groups.setdefault((python, versions[name] // SHARDS, number % SHARDS), []).append(line)
        versions[name] += 1
    with ThreadPoolExecutor(len(groups)) as pool, progress() as bar:
        task = bar.add_task("wheels", total=len(wanted))
        jobs = [pool.submit(_pip, lines, python, folder) for (python, *_), lines in groups.items()]
        pending = set(jobs)
        while pending:
            pending = wait(pending, timeout=0.2).not_done
            bar.update(task, completed=len(list(folder.glob("*.whl"))))
    for job in jobs:
        job.result()
    return sorted(folder.glob("*.whl"))


def _pip(lines: list[str], python: str, folder: Path) -> None:
    tag = "cp" + python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += [word for abi in (tag, "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command += ["--dest", str(folder)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=folder) as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        done = subprocess.run(
            [*command, "--requirement", file.name],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise _explain(done.stderr)


def _explain(text: str) -> ToolError:
    """What pip's messages mean for the user."""
    lowered = text.lower()
    said = [line.strip() for line in text.splitlines() if line.strip()]
    why = "\n".join(said[-1:] if "traceback" in lowered else said[-8:])
    if "do not match the hashes" in lowered:
        return ToolError(
            "hash-mismatch",
            "a wheel of the index is not the file that is pinned",
            why=why,
            fix="check what your index or proxy serves; scripts/channel pin makes new pins",
        )
    if "no space left" in lowered:
        return ToolError("disk-full", "the disk is full", why=why, fix="free some space or set PREFECT_ENV_CACHE")
    return ToolError(
        "network",
        "the Python index cannot be reached or lacks a pinned wheel",
        why=why,
        fix="check the network, proxy (HTTPS_PROXY), CA (PIP_CERT) and index (pip config list), then run it again",
    )
