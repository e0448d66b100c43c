"""Pin a line's packages: resolve with uv, take each one's wheel, keep its hash."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from packaging.utils import canonicalize_name

from maintain import bounds
from maintain.bootstrap import uv_settings
from maintain.channel.base import PYTHON
from maintain.channel.wheels import download
from maintain.lib.errors import ToolError
from maintain.lib.files import atomic_write, sha256_file
from maintain.lib.paths import MANIFEST, RECIPES
from maintain.manifest import load

RUNTIME = ("click>=8.0", "cryptography>=36.0.1", "rich>=11.0")
"""What the prefect-env command needs beside Prefect; Prefect 1 does not bring all of it."""


def pin(line: str) -> Path:
    """Write ``recipe/lines/<line>.txt`` for the line's Prefect and bounds as the index serves them today."""
    prefect = _prefect(line)
    added = bounds.requirements(bounds.applying(bounds.load(RECIPES), prefect))
    versions = resolve([f"prefect=={prefect}", *map(str, added), *RUNTIME, "pip"])
    with tempfile.TemporaryDirectory(prefix="prefect-env-pin-") as folder:
        hashes = {
            str(canonicalize_name(path.name.partition("-")[0])): sha256_file(path)
            for path in download([(name, version, None) for name, version in versions.items()], Path(folder))
        }
    header = (
        f"# Line {line} of the stand-in channel: Prefect and all it needs for Python {PYTHON} on linux-64,\n"
        f"# each pinned to one wheel. Made from pixi.toml and recipe/bounds.toml by: scripts/channel pin {line}\n"
    )
    lines = [f"{name}=={version} --hash=sha256:{hashes[name]}\n" for name, version in sorted(versions.items())]
    path = RECIPES / "lines" / f"{line}.txt"
    atomic_write(path, header + "".join(lines))
    return path


def _prefect(line: str) -> str:
    lines = load().lines
    if line not in lines:
        raise ToolError(
            "bad-usage", f"there is no line {line!r}", where=str(MANIFEST), why=f"lines: {', '.join(lines)}"
        )
    return lines[line].prefect


def resolve(wanted: list[str], *options: str) -> dict[str, str]:
    """The newest versions that satisfy ``wanted``, normalised project name -> version; ``options`` go to uv."""
    uv = shutil.which("uv")
    if not uv:
        raise ToolError(
            "missing-program", "uv is not on PATH", why="it resolves the pins", fix="install uv, then run it again"
        )
    command = [uv, "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate", "--no-emit-index-url"]
    command += ["--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_36", *options, "-"]
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
