"""One locked package, and the whole solution: every environment on every platform it exists for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rattler import RepoDataRecord

Records = dict[tuple[str, str], tuple[RepoDataRecord, ...]]
"""(environment, conda subdir) -> its records, sorted by name."""


@dataclass(frozen=True)
class Package:
    """What people and other formats need to know of a record, as plain values."""

    name: str
    version: str
    build: str
    subdir: str
    url: str
    sha256: str | None
    md5: str | None
    size: int | None
    """Bytes of the archive; None where the channel's record does not say."""
    license: str | None
    depends: tuple[str, ...]
    constrains: tuple[str, ...]

    @classmethod
    def of(cls, record: RepoDataRecord) -> Package:
        """The package of a record."""
        return cls(
            name=record.name.normalized,
            version=str(record.version),
            build=str(record.build),
            subdir=record.subdir,
            url=record.url,
            sha256=record.sha256.hex() if record.sha256 else None,
            md5=record.md5.hex() if record.md5 else None,
            size=record.size,
            license=record.license or None,
            depends=tuple(record.depends),
            constrains=tuple(record.constrains),
        )

    @cached_property
    def id(self) -> str:
        """``name version build``, as a person reads it."""
        return f"{self.name} {self.version} {self.build}"


Solution = dict[tuple[str, str], tuple[Package, ...]]
"""(environment, conda subdir) -> its packages, sorted by name."""


def solution(records: Records) -> Solution:
    """The packages of all records; a record that several environments share is converted once."""
    known: dict[str, Package] = {}
    found: Solution = {}
    for key, group in records.items():
        packages = []
        for record in group:
            if record.url not in known:
                known[record.url] = Package.of(record)
            packages.append(known[record.url])
        found[key] = tuple(sorted(packages, key=lambda package: package.name))
    return found


def megabytes(size: int) -> str:
    """A size in MB (10^6 bytes), the unit of package indexes; small ones to 10 kB."""
    return f"{size / 1e6:.2f}" if size < 1e5 else f"{size / 1e6:.1f}"
