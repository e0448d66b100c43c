"""Pin a line's packages: resolve with uv, take each one's wheel, keep its hash."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from maintain import bounds
from maintain.bootstrap import uv_settings
from maintain.channel.release import BOOKWORM, RELEASES, Release
from maintain.channel.wheels import Pin, download, fetch, keep, kept, pins, requirement
from maintain.lib.console import say
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, sha256_file
from maintain.lib.paths import MANIFEST, RECIPES
from maintain.manifest import load

RUNTIME = ("click>=8.0", "cryptography>=36.0.1", "rich>=11.0")
"""What the prefect-env command needs beside Prefect; Prefect 1 does not bring all of it."""

RESOLVED = BOOKWORM
"""The release for whose Python versions are chosen first; another one's are the same, and what it needs beside them."""

UV_GLIBC = 40
"""The newest glibc, 2.40, that uv has a platform for."""


def pin(line: str) -> Path:
    """Write ``recipe/lines/<line>.txt`` for the line's Prefect and bounds as the index serves them today."""
    prefect = _prefect(line)
    added = bounds.requirements(bounds.applying(bounds.load(RECIPES), prefect))
    versions = _versions(f"line {line}", [f"prefect=={prefect}", *map(str, added), *RUNTIME, "pip"])
    return _write(line, [Pin(name, version, ()) for name, version in versions.items()])


def pin_wheels(line: str) -> Path:
    """Keep the versions and wheels that ``line`` is pinned to, and add the wheels of the Pythons that have none yet.

    Raises ``hash-mismatch`` where the index no longer has what is pinned.
    """
    _prefect(line)
    pinned = pins(line)
    fetch(pinned, RESOLVED)
    return _write(line, pinned)


def _write(line: str, wanted: list[Pin]) -> Path:
    found, pythons = hashed(wanted, f"line {line}")
    header = (
        f"# Line {line} of the stand-in channel: Prefect and all it needs on linux-64, each pinned to one wheel\n"
        f"# for Python {' and one for '.join(pythons)}. Made from pixi.toml and recipe/bounds.toml by:\n"
        f"# scripts/channel pin {line}\n"
    )
    path = RECIPES / "lines" / f"{line}.txt"
    atomic_write(path, header + "".join(map(requirement, sorted(found))))
    return path


def _versions(what: str, wanted: list[str]) -> dict[str, str]:
    """The versions for the first release's Python, and of what only another one needs beside these very versions."""
    versions: dict[str, str] = {}
    for release in RELEASES.values():
        chosen = [f"{name}=={version}" for name, version in versions.items()]
        try:
            versions = resolve([*wanted, *chosen], release=release) | versions
        except ToolError as error:
            if not versions:
                raise
            _not_pinned(what, release, error)
    return versions


def _not_pinned(what: str, release: Release, error: ToolError) -> None:
    say(f"{what} is not pinned for {release}: {(error.why or error.what).splitlines()[-1]}")


def hashed(wanted: Iterable[Pin], what: str, *, every: bool = False) -> tuple[list[Pin], list[str]]:
    """``wanted`` with the hashes of the wheels that the index has for each release, and the Pythons they are for.

    Only what no wheel of the cache serves is asked for: a pure one, or one for several Pythons, is pinned once.
    A release for which some wheel is not to be had is left out, and said so of ``what``; with ``every`` it is an error.
    Raises ``network`` and ``hash-mismatch``.
    """
    hashes: dict[tuple[str, str], list[str]] = {pin[:2]: list(pin.hashes) for pin in wanted}
    pythons: list[str] = []
    for release in RELEASES.values():
        left = [Pin(*item, ()) for item, known in hashes.items() if not kept(Pin(*item, tuple(known)), release)]
        with tempfile.TemporaryDirectory(prefix="prefect-env-pin-") as folder:
            try:
                found = download(left, Path(folder), release)
            except ToolError as error:
                if every or not pythons or "no matching distribution" not in (error.why or "").lower():
                    raise
                _not_pinned(what, release, error)
                continue
            pythons.append(release.python)
            for path in found:
                name, version = _identity(path, hashes)
                sha256 = sha256_file(path)
                if sha256 not in hashes[name, version]:
                    hashes[name, version].append(sha256)
                keep(path, sha256)
    return [Pin(*item, tuple(found)) for item, found in hashes.items()], pythons


def _identity(path: Path, wanted: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Which of the ``wanted`` (name, version) a wheel is; versions are written in several ways (1.0, 1.0.0)."""
    name, version, *_ = parse_wheel_filename(path.name)
    for item in wanted:
        if item[0] == name and Version(item[1]) == version:
            return item
    raise ToolError("check-failed", "the index gave a wheel that was not asked for", where=path.name)


def _prefect(line: str) -> str:
    lines = load().lines
    if line not in lines:
        raise ToolError(
            "bad-usage", f"there is no line {line!r}", where=str(MANIFEST), why=f"lines: {', '.join(lines)}"
        )
    return lines[line].prefect


def resolve(wanted: list[str], *options: str, release: Release = RESOLVED) -> dict[str, str]:
    """The newest versions that satisfy ``wanted`` on ``release``, normalised project name -> version.

    ``options`` go to uv.
    """
    uv = shutil.which("uv")
    if not uv:
        raise ToolError(
            "missing-program", "uv is not on PATH", why="it resolves the pins", fix="install uv, then run it again"
        )
    command = [uv, "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate", "--no-emit-index-url"]
    platform = f"x86_64-manylinux_2_{min(release.glibc, UV_GLIBC)}"
    command += ["--python-version", release.python, "--python-platform", platform, *options, "-"]
    done = subprocess.run(
        command, input="\n".join(wanted), env=uv_settings(dict(os.environ)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        unsolved = "no solution" in done.stderr.lower()
        raise ToolError(
            "unsatisfiable" if unsolved else "network",
            "uv cannot resolve the line's requirements",
            why=done.stderr.strip()[-1500:],
            fix="change recipe/bounds.toml"
            if unsolved
            else "check the network and the index settings, then run it again",
        )
    pairs = (line.split("==") for line in done.stdout.splitlines() if line.strip())
    return {str(canonicalize_name(name)): version for name, version in pairs}
