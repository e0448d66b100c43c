"""A channel of a dozen made-up records and a project that locks them, small enough to solve in milliseconds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = """\
[workspace]
name = "tiny"
version = "1.2.3"
channels = ["https://conda.anaconda.org/conda-forge"]
platforms = [{ platform = "linux-64", glibc = "2.17", linux = "3.10" }, "win-64"]

[dependencies]
openssl = ">=3"
python = ">=3.12,<3.14"
sqlite = ">=3.24"

[feature.prefect.dependencies]
prefect = ">=3.6,<4"

[feature.prefect.target.win-64.dependencies]
prefect = ">=3.4,<3.6"

[feature.old.dependencies]
native = "*"

[environments]
default = ["prefect"]
old = ["old"]

[tool.prefect-env.environments]
default = "Everything"
old = "Nothing but native code"
"""
README = "# Tiny\n\n<!-- generated: platforms -->\n<!-- end generated -->\n\nThe end.\n"
POLICY = """\
[sources]
allowed-channels = ["conda-forge"]

[licenses]
allow = ["MIT"]

[manifest]
wildcard-spec = false
python-pinned = false

[lock]
in-sync = false
"""

GLIBC = "__glibc >=2.17,<3.0.a0"


def record(name: str, version: str, build: str, subdir: str, depends: list[str], **more: Any) -> dict[str, Any]:
    """One record, complete unless ``more`` says otherwise; its hashes are those of its file name."""
    file = f"{name}-{version}-{build}.conda"
    return {
        "name": name,
        "version": version,
        "build": build,
        "build_number": int(build.rpartition("_")[2]),
        "depends": depends,
        "subdir": subdir,
        "license": "MIT",
        "size": 1000 + len(file),
        "timestamp": 1700000000000,
        "sha256": hashlib.sha256(file.encode()).hexdigest(),
        "md5": hashlib.md5(file.encode(), usedforsecurity=False).hexdigest(),
        **more,
    }


def records() -> list[dict[str, Any]]:
    """The channel: every native package for Linux and Windows, in two versions."""
    found = []
    for subdir, base in (("linux-64", [GLIBC]), ("win-64", ["ucrt >=10"])):
        for version in ("3.50.0", "3.53.0"):
            found.append(record("libsqlite", version, "h1_0", subdir, base))
            found.append(record("sqlite", version, "h1_0", subdir, [*base, f"libsqlite {version} h1_0"]))
        found += [record("openssl", version, "h1_0", subdir, base) for version in ("3.5.0", "3.6.0")]
        for version in ("3.12.1", "3.13.1"):
            needs = [*base, "libsqlite >=3.50,<4.0a0", "openssl >=3.5,<4.0a0"]
            found.append(record("python", version, "h1_0", subdir, needs, constrains=["prefect >=3.5"]))
        found.append(record("native", "1.0", "h1_0", subdir, base))
    found.append(record("native", "2.0", "h1_0", "linux-64", ["__glibc >=2.28,<3.0.a0"]))
    # Without size and timestamp, as it is in lists collected from old lock files: it must not be chosen.
    lossy = record("native", "3.0", "h1_0", "linux-64", [])
    found.append({key: value for key, value in lossy.items() if key not in ("size", "timestamp")})
    found.append(record("ucrt", "10.0", "h1_0", "win-64", ["__win"]))
    needs = ["python >=3.10", "sqlite >=3.24"]
    found += [record("prefect", version, "pyh1_0", "noarch", needs, noarch="python") for version in ("3.5.0", "3.6.1")]
    return found


def write_records(folder: Path, listed: list[dict[str, Any]] | None = None) -> Path:
    """Write ``listed`` (the whole channel by default) as SUBDIR/repodata.json below ``folder``; return it."""
    for subdir in ("linux-64", "win-64", "noarch"):
        packages = {
            f"{item['name']}-{item['version']}-{item['build']}.conda": item
            for item in (records() if listed is None else listed)
            if item["subdir"] == subdir
        }
        target = folder / subdir / "repodata.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        data = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages, "repodata_version": 1}
        target.write_text(json.dumps(data), encoding="utf-8")
    return folder


def write_project(root: Path) -> Path:
    """Write a project that locks the channel, not locked yet; return its root."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pixi.toml").write_text(MANIFEST, encoding="utf-8")
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "pixi-policy.toml").write_text(POLICY, encoding="utf-8")
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Path -> bytes of every file below ``root`` but those of .build."""
    files = (path for path in root.rglob("*") if path.is_file() and ".build" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def restore(root: Path, saved: dict[str, bytes]) -> None:
    """Make the files below ``root`` those of ``saved``."""
    for path in contents(root).keys() - saved.keys():
        (root / path).unlink()
    for path, data in saved.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
