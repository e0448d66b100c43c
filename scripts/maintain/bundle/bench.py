"""From one file to a working ``prefect version``: ours beside conda-pack and beside uv with a wheelhouse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from maintain.bootstrap import uv_settings
from maintain.install.choice import choose
from maintain.install.engine import install
from maintain.lib.errors import ToolError
from maintain.lib.measure import Row, alternate, fresh
from maintain.lib.paths import BUILD, RECIPES, ROOT

MIB = 2**20
PINS = RECIPES / "lines" / "3.txt"
LIMIT = 300
"""MiB of memory that the installer may use, whatever the environment's size."""


def rows() -> list[Row]:
    """Time, size and memory of pack and install; the same packages on our side and conda-pack's, the same pins on uv's.

    Each side is measured without byte code and with it. Raises ``missing-program`` and ``command-failed``.
    """
    uv, conda_pack = (shutil.which(name) for name in ("uv", "conda-pack"))
    if not uv or not conda_pack:
        raise ToolError("missing-program", "uv and conda-pack are what we compare with", fix="install both")
    folder = BUILD / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=folder) as scratch:
        work = Path(scratch)
        choice = choose(os.environ.get("PREFECT_ENV_CHANNEL"))
        create = [sys.executable, "-m", "maintain.bundle", "create", "--quiet", "--output", str(work / "out")]
        create += ["--stand-in", str(choice.folder)] if choice.stand_in else ["--source", choice.channel]

        def version(prefix: Path) -> None:
            # Not bin/prefect: conda-pack makes its first line one that needs activation.
            _run([str(prefix / "bin" / "python"), "-m", "prefect", "version"])

        def unpacked(tarball: Path) -> None:
            theirs = fresh(work)
            theirs.mkdir()
            _run(["tar", "-xzf", str(tarball), "-C", str(theirs)])
            _run([str(theirs / "bin" / "python"), str(theirs / "bin" / "conda-unpack")])
            version(theirs)

        found = []
        for kind, options in (("no byte code", ["--no-compile"]), ("with byte code", [])):
            made = [*create, "--no-byte-code"] if options else create
            tarball, source = work / f"{len(options)}.tar.gz", work / f"source{len(options)}"
            install(source, choice, compile_bytecode=not options)
            pack = alternate(
                lambda made=made: _run(made),  # type: ignore[misc]
                lambda source=source, tarball=tarball: _run(  # type: ignore[misc]
                    [conda_pack, "-q", "--force", "--ignore-missing-files", "-p", str(source), "-o", str(tarball)]
                ),
                rounds=1,
            )
            (installer,) = (work / "out").glob("*.sh")
            run = ["sh", str(installer), "--batch", "--no-doctor", *options]

            def installed(run: list[str] = run) -> None:
                ours = fresh(work)
                _run([*run, "--prefix", str(ours)])
                version(ours)

            both = alternate(installed, lambda tarball=tarball: unpacked(tarball))  # type: ignore[misc]
            sizes = installer.stat().st_size / MIB, tarball.stat().st_size / MIB
            found += [
                Row(f"pack, {kind}", pack[0], "conda-pack", pack[1]),
                Row(f"size, {kind}", sizes[0], "conda-pack's tar.gz", sizes[1], "MiB", aim=1.0),
                Row(f"file to `prefect version`, {kind}", both[0], "tar, conda-unpack", both[1], aim=1.0),
            ]
            if options:
                peak = _peak([*run, "--prefix", str(fresh(work))])
                found.append(Row("installer's peak memory", peak, "our limit", LIMIT, "MiB", aim=1.0))
                found += _beside_uv(uv, work, installed, sizes[0])
        return found


def _beside_uv(uv: str, work: Path, installed: Callable[[], None], size: float) -> list[Row]:
    """``uv pip install --offline`` of line 3's pins; the host must have Python, which is not in the wheels."""
    wheels = work / "wheels"
    _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "-r", str(PINS), "-d",
          str(wheels)])  # fmt: skip

    def by_uv() -> None:
        theirs = fresh(work)
        _run([uv, "venv", "-q", "--no-project", "--python", sys.executable, str(theirs)])
        _run([uv, "pip", "install", "-q", "--offline", "--no-index", "--find-links", str(wheels), "--no-deps",
              "--no-cache", "--python", str(theirs), "-r", str(PINS)])  # fmt: skip
        _run([str(theirs / "bin" / "prefect"), "version"])

    both = alternate(installed, by_uv)
    weight = sum(path.stat().st_size for path in wheels.iterdir()) / MIB
    return [
        Row("file to `prefect version`, no byte code", both[0], "uv venv, uv pip install --offline", both[1]),
        Row("size, Python and libraries included", size, "the wheelhouse, no Python", weight, "MiB"),
    ]


def _peak(command: list[str]) -> float:
    """MiB of the largest process that the command starts."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_env())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise ToolError("command-failed", "a measured command failed", where=" ".join(command[:3]))
    return usage.ru_maxrss / 1024


def _env() -> dict[str, str]:
    env = {name: value for name, value in uv_settings(dict(os.environ)).items() if name != "PYTHONDONTWRITEBYTECODE"}
    return env | {"PYTHONPATH": str(ROOT / "scripts"), "PREFECT_HOME": str(BUILD / "bench" / "prefect")}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=_env(), capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr or done.stdout).strip()[-800:]
        raise ToolError("command-failed", f"a measured command failed: {' '.join(command[:4])} ...", why=why)
