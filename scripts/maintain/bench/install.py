"""Install the same Prefect, warm caches: ours beside uv and pip, and what it weighs."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from rattler import LockFile

from maintain.bench.peer import call, ours, scratch, uv_venv
from maintain.install.choice import Choice
from maintain.lib.console import say
from maintain.lib.measure import Row, alternate, fresh
from maintain.lib.paths import LOCK, RECIPES

LINE = "3"
MIB = 2**20


def rows(channel: Choice, *, with_pip: bool) -> list[Row]:
    """Install times, size and package count of line 3 beside uv's, and pip's time on demand (it takes a minute)."""
    pins = RECIPES / "lines" / f"{LINE}.txt"
    found = []
    with tempfile.TemporaryDirectory(prefix="prefect-env-bench-", dir=scratch()) as folder:

        def install(*options: str) -> Path:
            prefix = fresh(Path(folder))
            ours("maintain.install", "--quiet", "--line", LINE, "--prefix", str(prefix),
                 "--channel", channel.channel, *options)  # fmt: skip
            return prefix

        def uv_install(*options: str) -> Path:
            return uv_venv(fresh(Path(folder)), pins, *options)

        def pip_install() -> None:
            venv = fresh(Path(folder))
            call([sys.executable, "-m", "venv", str(venv)])
            call([str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes",
                  "-r", str(pins)])  # fmt: skip

        say("warming the caches ...")
        mine, theirs = install(), uv_install()
        sizes = _size(mine), _size(theirs)
        counts = (
            len(list((mine / "conda-meta").glob("*.json"))),
            len(list(theirs.glob("lib/*/site-packages/*.dist-info"))),
        )
        say("installing in turn ...")
        plain = alternate(lambda: install("--no-compile"), uv_install)
        compiled = alternate(install, lambda: uv_install("--compile-bytecode"))
        found += [
            Row("install, no bytecode", plain[0], "uv venv && uv pip install", plain[1], aim=1.0),
            Row("install, with bytecode", compiled[0], "uv pip install --compile-bytecode", compiled[1], aim=1.0),
        ]
        if with_pip:
            slow = alternate(install, pip_install, rounds=1)
            found.append(Row("install, with bytecode", slow[0], "python -m venv && pip install", slow[1], aim=0.1))
        found.append(
            Row(
                "size on disk, Python and bytecode included",
                sizes[0] / MIB,
                "uv's venv, no Python",
                sizes[1] / MIB,
                "MiB",
            )
        )
        found.append(Row("packages, Python and its libraries included", counts[0], "uv's venv", counts[1], "packages"))
    found += _beside_conda_forge(channel, counts[0])
    return found


def _beside_conda_forge(channel: Choice, packages: int) -> list[Row]:
    """Our packages and archives beside those of the locked conda-forge environment on linux-64."""
    default = LockFile.from_path(LOCK).environment("default")
    platform = next((one for one in default.platforms() if str(one.subdir) == "linux-64"), None) if default else None
    records = (default.conda_repodata_records_for_platform(platform) if default and platform else None) or []
    rows = [Row("packages", packages, "conda-forge's prefect, locked for linux-64", len(records), "packages")]
    if channel.folder:
        weights: dict[str, int] = {}
        for subdir in ("noarch", "linux-64"):
            index = json.loads((channel.folder / subdir / "repodata.json").read_text(encoding="utf-8"))
            weights |= {name: record["size"] for name, record in index["packages.conda"].items()}
        mine = sum(weights.get(f"{name}.conda", 0) for name in _installed_stems(channel))
        theirs = sum(record.size or 0 for record in records)
        rows.append(
            Row("archives to fetch", mine / MIB, "conda-forge's prefect, locked for linux-64", theirs / MIB, "MiB")
        )
    return rows


def _installed_stems(channel: Choice) -> list[str]:
    done = ours("maintain.install", "--quiet", "--json", "--dry-run", "--line", LINE,
                "--prefix", str(scratch() / "nowhere"), "--channel", channel.channel)  # fmt: skip
    stems: list[str] = json.loads(done)["added"]
    return stems


def _size(folder: Path) -> int:
    """Bytes of the files below ``folder``, each inode once."""
    seen = {
        (entry.st_dev, entry.st_ino): entry.st_size
        for path in folder.rglob("*")
        if not (entry := path.lstat()).st_mode & 0o040000
    }
    return sum(seen.values())
