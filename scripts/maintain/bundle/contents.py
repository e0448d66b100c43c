"""What goes into a bundle: the packages of one environment and platform, and what is written from their records."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rattler import LockChannel, LockFile, LockPlatform, Subdir

from maintain.bundle import engine, layout
from maintain.bundle.compile import compiled, interpreter
from maintain.bundle.link import Place, parts
from maintain.channel.index import repodata
from maintain.install.plan import Package, Plan
from maintain.lib.console import say
from maintain.lib.files import sha256_file
from maintain.lib.paths import RUNTIME
from maintain.lock import lockfile
from maintain.mirror.selection import channel
from maintain.sbom.__main__ import documents

FLOORS = {"__glibc": "glibc", "__linux": "linux", "__osx": "osx"}
"""Virtual packages that the installer compares with the host, and their names in it."""
SLACK = 1.1
"""More room than the files' blocks need: folders, the file system's own."""


@dataclass(frozen=True)
class Item:
    """One member to be: its bytes, or the file that has them."""

    name: str
    source: bytes | Path

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.source).hexdigest() if isinstance(self.source, bytes) else sha256_file(self.source)


@dataclass(frozen=True)
class Contents:
    """An environment on a platform with the verified archive of each of its packages, ready to be written."""

    plan: Plan
    subdir: str
    archives: dict[str, Path]
    """By package name."""
    virtual_packages: tuple[str, ...] = ()
    """Of the platform, as the lock file has them (``__glibc=2.17``)."""
    site: tuple[Path, ...] = ()
    """Settings files of the site that every installation gets."""
    compiler: Mapping[str, Path] = field(default_factory=dict)
    """The archives of the same Python for this host, to make byte code with; without it the target compiles."""
    installer: bool = True
    """Whether an installer will be written: then a missing engine is an error."""

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """The packages, by name."""
        return self.plan.packages

    @cached_property
    def name(self) -> str:
        """The stem of all files: environment, Prefect's version (else Python's), platform."""
        versions = {package.name: str(package.record.version) for package in self.packages}
        version = versions.get("prefect") or versions.get("python") or self.plan.digest[:8]
        return f"prefect-env-{self.plan.name}-{version}-{self.subdir}"

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """Package name -> its record as plain values."""
        return {package.name: json.loads(package.record.to_json()) for package in self.packages}

    def members(self) -> list[Item]:
        """Every member behind the manifest, in order."""
        with_engine = self.installer or all(name in self.archives for name in engine.NEEDED)
        files = [Item(layout.ENGINE, self._engine)] if with_engine else []
        files += [
            Item("packages.txt", self._list().encode()),
            Item("pixi-pack.json", json.dumps({"version": "1", "platform": self.subdir}).encode()),
            Item("environment.yml", self._environment().encode()),
            Item("explicit.txt", self._explicit().encode()),
            Item("pixi.lock", self.lock),
            Item("sbom.cdx.json", self.sbom),
            *(Item(f"profiles/{path.name}", path.read_bytes()) for path in sorted((RUNTIME / "profiles").iterdir())),
            *(Item(f"site.d/{path.name}", path.read_bytes()) for path in sorted(self.site)),
            *(
                Item(f"activate/{path.name}", path.read_bytes())
                for path in sorted((RUNTIME / "activate").iterdir())
                if (path.suffix == ".bat") == (self.subdir == "win-64")
            ),
        ]
        files += [Item(name, data) for name, data in sorted(self._byte_code().items())]
        for subdir in (self.subdir, "noarch"):
            own = [package for package in self.packages if package.record.subdir == subdir]
            records = {package.record.file_name: self.records[package.name] for package in own}
            channels = {fn: {k: v for k, v in r.items() if k not in ("url", "channel")} for fn, r in records.items()}
            files.append(Item(f"channel/{subdir}/repodata.json", repodata(subdir, channels).encode()))
            files += [Item(self.member(package), self.archives[package.name]) for package in own]
        return files

    @cached_property
    def _engine(self) -> bytes:
        return engine.build(self.archives)

    def _byte_code(self) -> dict[str, bytes]:
        if not self.compiler:
            return {}
        same = self.compiler.items() <= self.archives.items()
        with interpreter(self._engine if same else engine.build(self.compiler)) as python:
            if python is None:
                say("note: this host cannot run the environment's Python, so the target will have to compile")
                return {}
            packages = {self.archives[name]: record for name, record in self.records.items()}
            return compiled(python, self.place, packages, str(self.records["python"]["version"]))

    @staticmethod
    def member(package: Package) -> str:
        """The name of a package's archive in the bundle."""
        return f"channel/{package.record.subdir}/{package.record.file_name}"

    def manifest(self, members: Iterable[Item]) -> dict[str, Any]:
        """``manifest.json`` for these members."""
        return {
            "format": layout.FORMAT,
            "name": self.name,
            "environment": self.plan.name,
            "platform": self.subdir,
            "channel": self.plan.channel,
            "specs": list(self.plan.specs),
            "plan": self.plan.digest,
            "python": self.python,
            "site_packages": self.site_packages,
            "host": self.floors,
            "prefix_max": self._measured[1],
            "unpacked": self._measured[0],
            "packages": [
                {"member": self.member(package), "record": self.records[package.name]} for package in self.packages
            ],
            "members": [{"name": item.name, "size": item.size, "sha256": item.sha256} for item in members],
        }

    @property
    def place(self) -> Place:
        """The target's platform, for no folder."""
        return Place(Path(), "", self.python, self.site_packages, windows=self.subdir == "win-64")

    @cached_property
    def python(self) -> str:
        """The version of the environment's Python as its folders have it (``3.13``)."""
        return ".".join(str(self.records.get("python", {}).get("version", "")).split(".")[:2])

    @cached_property
    def site_packages(self) -> str:
        """Relative to the prefix."""
        standard = "Lib/site-packages" if self.subdir == "win-64" else f"lib/python{self.python}/site-packages"
        return self.records.get("python", {}).get("python_site_packages_path") or standard

    def head_values(self) -> dict[str, object]:
        """What an installer's head knows of its contents."""
        unpacked, longest = self._measured
        floors = {name: self.floors.get(name, "") for name in FLOORS.values()}
        need = int(unpacked * SLACK) // 1024 + 1
        values = {"name": self.name, "environment": self.plan.name, "platform": self.subdir}
        return {**values, **floors, "need_kib": need, "prefix_max": longest}

    def companions(self, manifest: bytes) -> dict[str, bytes]:
        """The files beside the bundle, suffix -> content."""
        return {
            ".info.json": manifest,
            ".lock": self.lock,
            ".packages.txt": self._list().encode(),
            ".cdx.json": self.sbom,
        }

    @cached_property
    def floors(self) -> dict[str, str]:
        """The oldest glibc, kernel and macOS that both the packages and the lock's platform, as pixi does, accept."""
        asked: dict[str, list[str]] = {}
        for text in self.virtual_packages:
            name, _, version = text.partition("=")
            asked.setdefault(name, []).append(version.partition("=")[0])
        for record in self.records.values():
            for spec in record.get("depends", ()):
                if match := re.match(r"(__\w+)\s+>=([\d.]*\d)", spec):
                    asked.setdefault(match[1], []).append(match[2])
        return {FLOORS[name]: max(found, key=_numbers) for name, found in sorted(asked.items()) if name in FLOORS}

    @cached_property
    def _measured(self) -> tuple[int, int]:
        """Bytes on the target's disk in blocks of 4 KiB, byte code included, and the longest possible prefix."""
        total, longest = 0, 1024
        for path in self.archives.values():
            with path.open("rb") as stream:
                info, _ = parts(stream, engine.decompress, conda=path.suffix == ".conda")
            for entry in json.loads(info["info/paths.json"])["paths"]:
                blocks = -(-int(entry.get("size_in_bytes") or 0) // 4096) * 4096
                total += blocks * (2 if entry["_path"].endswith(".py") else 1)
                if entry.get("file_mode") == "binary":
                    longest = min(longest, len(entry["prefix_placeholder"]))
        return total, longest

    @cached_property
    def lock(self) -> bytes:
        """A lock file of this environment on this platform alone, for pixi."""
        row = LockPlatform(self.subdir, Subdir(self.subdir), list(self.virtual_packages))
        lock = LockFile([row])
        channels = dict.fromkeys(channel(package) for package in self.packages)
        lock.set_channels(self.plan.name, [LockChannel(f"{url}/") for url in channels])
        for package in self.packages:
            lock.add_conda_package(self.plan.name, row, package.record)
        with tempfile.TemporaryDirectory(prefix="prefect-env-pack-") as folder:
            path = Path(folder) / "pixi.lock"
            lock.to_path(path)
            return path.read_bytes()

    @cached_property
    def sbom(self) -> bytes:
        """CycloneDX, from the lock file."""
        with tempfile.TemporaryDirectory(prefix="prefect-env-pack-") as folder:
            path = Path(folder) / self.name / "pixi.lock"  # the folder's name is the document's subject
            path.parent.mkdir()
            path.write_bytes(self.lock)
            (document,) = documents(lockfile.read(path), Path(folder) / "sbom")
            return document.read_bytes()

    def _list(self) -> str:
        """Name, version, build, bytes, SHA-256 and licence of each package, one line each."""
        return "".join(
            f"{package.name} {package.record.version} {package.record.build} {package.record.size} {package.sha256}"
            f" {package.record.license or '-'}\n"
            for package in self.packages
        )

    def _environment(self) -> str:
        """For conda and micromamba in the folder that the bundle was unpacked to."""
        pins = [f"  - {one.name}={one.record.version}={one.record.build}" for one in self.packages]
        return "\n".join([f"name: {self.plan.name}", "channels:", "  - ./channel", "dependencies:", *pins, ""])

    def _explicit(self) -> str:
        """For conda and micromamba too: no solver, every package by its hash."""
        lines = [f"{self.member(package)}#sha256:{package.sha256}" for package in self.packages]
        return "\n".join([f"# platform: {self.subdir}", "@EXPLICIT", *lines, ""])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
