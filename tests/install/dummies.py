"""Tiny conda packages, a few hundred bytes each, and a channel of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import zstandard
from rattler import Subdir

from maintain import manifest

PLACEHOLDER = "/placehold" * 25
"""The prefix that packages are built in; an installer writes the real one over it."""


HERE = str(Subdir.current())


def stand_in(channel: Path) -> Path:
    """A stand-in channel of ``prefect-env`` (line 3), ``data`` and ``tool``."""
    p = PLACEHOLDER.encode()
    binary = b"\x7fELF\0" + p + b"/lib\0tail"
    package(channel, "tool", files={"bin/tool": b"#!/bin/sh\necho " + p + b"\n", "lib/tool.bin": binary}, subdir=HERE)
    package(channel, "data", files={"share/data.txt": b"one\n" * 50, "share/old.txt": b"old"}, depends=["tool >=1"])
    package(channel, "prefect-env", line(), files={"share/line.txt": b"3"}, depends=["data"])
    (channel / "stand-in.json").write_text('{"name": "stand-in"}')
    return index(channel)


def update(channel: Path) -> Path:
    """Publish ``data`` 2.0: a changed file, a new one, one that is gone."""
    files = {"share/data.txt": b"two\n" * 50, "share/new.txt": b"new"}
    package(channel, "data", "2.0", files=files, depends=["tool >=1"])
    return index(channel)


def line() -> str:
    """The Prefect version of line 3, which ``--line 3`` asks for."""
    return manifest.load().lines["3"].prefect


def package(
    channel: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, bytes],
    build: str = "0",
    subdir: str = "noarch",
    noarch: str | None = None,
    depends: Sequence[str] = (),
    entry_points: Sequence[str] = (),
) -> Path:
    """Write a ``.conda`` into ``channel``; files that hold :data:`PLACEHOLDER` are marked for relocation."""
    stem = f"{name}-{version}-{build}"
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir,
    }
    if subdir == "noarch":
        index["noarch"] = noarch or "generic"
    paths = []
    for path, data in files.items():
        entry = {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        if PLACEHOLDER.encode() in data:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in data else "text"}
        paths.append(entry)
    info = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}).encode(),
    }
    if index.get("noarch") == "python":
        link = {"package_metadata_version": 1, "noarch": {"type": "python", "entry_points": list(entry_points)}}
        info["info/link.json"] = json.dumps(link).encode()
    target = channel / subdir / f"{stem}.conda"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", _tar(files))
        archive.writestr(f"info-{stem}.tar.zst", _tar(info))
    return target


def index(channel: Path) -> Path:
    """(Re)write the channel's repodata from its packages; in Python, since py-rattler may crash a test run's exit."""
    for subdir in {"noarch", HERE}:
        folder = channel / subdir
        folder.mkdir(parents=True, exist_ok=True)
        packages = {}
        for path in sorted(folder.glob("*.conda")):
            data = path.read_bytes()
            hashes = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            packages[path.name] = json.loads(_member(data, "info/index.json")) | hashes
        content = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages, "repodata_version": 1}
        (folder / "repodata.json").write_text(json.dumps(content))
    return channel


def _member(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as outer:
        packed = next(outer.read(part) for part in outer.namelist() if part.startswith("info-"))
    with tarfile.open(fileobj=io.BytesIO(zstandard.decompress(packed))) as tar:
        member = tar.extractfile(name)
        assert member
        return member.read()


def _tar(files: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(member, io.BytesIO(data))
    return zstandard.compress(raw.getvalue())
