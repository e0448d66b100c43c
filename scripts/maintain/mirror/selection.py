"""Which packages a mirror or a bundle needs: environments and platforms of a lock file, and where to fetch from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rattler import RepoDataRecord

from maintain.install.network import masked
from maintain.install.plan import Package
from maintain.lib.errors import ToolError
from maintain.lock.lockfile import Lock

Selection = dict[tuple[str, str], tuple[Package, ...]]
"""(environment, conda subdir) -> its packages, sorted by name."""


def select(lock: Lock, environments: Sequence[str], platforms: Sequence[str], source: str | None = None) -> Selection:
    """The packages of the named environments on the named platforms (all, where none is named).

    ``source`` is a channel folder or URL to fetch from instead of the lock's own. Raises ``bad-usage`` and ``no-hash``.
    """
    for kind, named, known in (
        ("environment", environments, {name for name, _ in lock.records}),
        ("platform", platforms, {subdir for _, subdir in lock.records}),
    ):
        if unknown := set(named) - known:
            there = ", ".join(sorted(known))
            raise ToolError(
                "bad-usage", f"there is no {kind} {min(unknown)}", where=str(lock.path), why=f"there are: {there}"
            )
    found = {
        (name, subdir): packages(records, source)
        for (name, subdir), records in lock.records.items()
        if (not environments or name in environments) and (not platforms or subdir in platforms)
    }
    if not found:
        raise ToolError("bad-usage", "none of these environments exists for these platforms", where=str(lock.path))
    return found


def packages(records: Iterable[RepoDataRecord], source: str | None = None) -> tuple[Package, ...]:
    """The records as packages to fetch. Raises ``no-hash``."""
    base = None
    if source:
        base = source.rstrip("/") if "://" in source else Path(source).expanduser().resolve().as_uri()
    found = []
    for record in records:
        if not record.sha256:
            raise ToolError("no-hash", f"{record.file_name} has no sha256 to verify it by", where=masked(record.url))
        location = f"{base}/{record.subdir}/{record.file_name}" if base else record.url
        found.append(Package(record, location, record.sha256.hex()))
    return tuple(sorted(found, key=lambda package: package.name))


def channel(package: Package) -> str:
    """The URL of the channel that the lock has ``package`` from, without credentials."""
    return masked(package.record.url.rsplit("/", 2)[0])


def size_of(text: str) -> int:
    """A size as people write it (``650M``, ``4G``; powers of ten) in bytes. Raises ``bad-usage``."""
    match = re.fullmatch(r"([1-9]\d*)([KMG]?)B?", text.upper())
    if not match:
        raise ToolError("bad-usage", f"{text} is no size", fix="write it as 500K, 650M or 4G")
    return int(match[1]) * {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}[match[2]]
