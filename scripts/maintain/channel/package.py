"""Write .conda packages whose bytes depend on their content only.

The format: https://github.com/conda/ceps, "conda package format V2": a zip of ``metadata.json`` and two zstd tars,
``pkg-*`` (the files) and ``info-*`` (what they are). Dates, owners, order and compression are fixed here.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zstandard

PLACEHOLDER = "/prefix_placeholder".ljust(255, "_")
"""The prefix that stands in a package for the one it will be installed into; 255 characters, as conda-build's."""

LEVEL = 9
"""zstd level: a tenth less than 3 for two seconds more; 19 (conda-build's) takes a minute for the next twentieth."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can hold."""


@dataclass(frozen=True)
class Entry:
    """One file (``data``) or symbolic link (``link``, its target) at ``path``, relative to the prefix.

    ``prefix`` says how the installer replaces :data:`PLACEHOLDER`: not, as text, or in a binary (NUL-padded).
    """

    path: str
    data: bytes = b""
    link: str | None = None
    executable: bool = False
    prefix: Literal["text", "binary"] | None = None

    def record(self) -> dict[str, Any]:
        """The entry as ``info/paths.json`` lists it."""
        record: dict[str, Any] = {
            "_path": self.path,
            "path_type": "hardlink" if self.link is None else "softlink",
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "size_in_bytes": len(self.data),
        }
        if self.prefix:
            record |= {"file_mode": self.prefix, "prefix_placeholder": PLACEHOLDER}
        return record


@dataclass
class Package:
    """A package to write: its identity, its files, and further files for ``info/``."""

    name: str
    version: str
    build: str
    subdir: str
    files: list[Entry]
    depends: list[str] = field(default_factory=list)
    constrains: list[str] = field(default_factory=list)
    license: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    info: dict[str, bytes] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        """The file name a channel knows it by."""
        return f"{self.name}-{self.version}-{self.build}.conda"

    def index(self) -> dict[str, Any]:
        """``info/index.json``."""
        index: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "subdir": self.subdir,
            "depends": sorted(self.depends),
            "constrains": sorted(self.constrains),
            "license": self.license,
        }
        if self.subdir == "noarch":
            return index | {
                "arch": None,
                "platform": None,
                "noarch": "python" if "link.json" in self.info else "generic",
            }
        return index | {"arch": "x86_64", "platform": "linux"}

    def write(self, folder: Path) -> Path:
        """Write the package into ``folder`` and return its path."""
        files = sorted(self.files, key=lambda entry: entry.path)
        info = {
            "index.json": _json(self.index()),
            "about.json": _json({"license": self.license} | self.about),
            "paths.json": _json({"paths": [entry.record() for entry in files], "paths_version": 1}),
            **self.info,
        }
        described = [Entry(f"info/{name}", data) for name, data in sorted(info.items())]
        stem = self.filename.removesuffix(".conda")
        path = folder / self.filename
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (
                ("metadata.json", _json({"conda_pkg_format_version": 2})),
                (f"pkg-{stem}.tar.zst", _tar(files)),
                (f"info-{stem}.tar.zst", _tar(described)),
            ):
                member = zipfile.ZipInfo(name, EPOCH)
                member.external_attr = 0o644 << 16
                archive.writestr(member, data)
        return path


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _tar(entries: list[Entry]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            if entry.link is not None:
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.link, 0o777
                archive.addfile(member)
                continue
            member.size, member.mode = len(entry.data), 0o755 if entry.executable else 0o644
            archive.addfile(member, io.BytesIO(entry.data))
    return zstandard.ZstdCompressor(level=LEVEL).compress(raw.getvalue())
