"""Whether pixi would take the lock file as up to date with the manifest.

The rules are pixi's own (crates/pixi_core/src/lock_file/satisfiability, 0.71 to 0.77): the same environments, the
same channels in the same order, platforms with the same subdir and virtual packages, every spec and dependency
satisfied by what is locked, nothing locked that nothing needs, no solve options that the manifest does not set.
Only names of platforms are held to more: pixi takes others for up to date, but renames them when it next writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from rattler import BuildString, MatchSpec, PackageRecord, RepoDataRecord

from maintain.check.finding import Finding
from maintain.lock.lockfile import Lock
from maintain.manifest import Environment, Manifest, Platform

FIX = "scripts/lock"


def findings(manifest: Manifest, lock: Lock) -> Iterator[Finding]:
    """Everything for which pixi would say that the lock file is not up to date."""
    yield from _platforms(manifest, lock)
    wanted, there = set(manifest.environments), set(lock.environments)
    for name in sorted(wanted - there):
        yield Finding("environments", manifest.environments[name].where, f"environment {name} is not locked", FIX)
    for name in sorted(there - wanted):
        yield Finding("environments", str(lock.path), f"environment {name} is locked but not declared", FIX)
    for name in sorted(wanted & there):
        yield from _environment(manifest, lock, manifest.environments[name])


def satisfied(
    manifest: Manifest, environment: Environment, subdir: str, records: Iterable[RepoDataRecord]
) -> list[Finding]:
    """What keeps ``records`` from being a valid solution of ``environment`` on ``subdir``; nothing if they are one."""
    where = f"{environment.name} on {subdir}"
    group = list(records)
    available = {record.name.normalized: record for record in group}
    virtual = _virtual_records(manifest.platforms[subdir])
    everything: dict[str, PackageRecord] = {**available, **virtual}
    required = [(spec.text, spec.where) for spec in environment.requirements(subdir)]
    texts = [*_origins(manifest, subdir, group), *_needs(required, everything), *_exclusions(available, everything)]
    return [Finding("solution", where, text, FIX) for text in texts]


def _origins(manifest: Manifest, subdir: str, records: list[RepoDataRecord]) -> Iterator[str]:
    """Records that are there twice, for another platform or from elsewhere than the channels."""
    seen: set[str] = set()
    for record in records:
        name = record.name.normalized
        if name in seen:
            yield f"{name} is locked twice"
        seen.add(name)
        if record.subdir not in (subdir, "noarch"):
            yield f"{name} is built for {record.subdir}"
        if not any(record.url.startswith(f"{channel}/{record.subdir}/") for channel in manifest.channels):
            yield f"{name} does not come from the channels: {record.url}"


def _needs(required: list[tuple[str, str]], available: dict[str, PackageRecord]) -> Iterator[str]:
    """Specs that nothing satisfies, from what is ``required`` (match spec, by whom) on; packages nothing needs."""
    pending = list(required)
    needed: set[str] = set()
    while pending:
        text, by = pending.pop()
        try:
            spec = _parsed(text)
        except ValueError as error:
            yield f"'{text}' is no match spec: {error} (required by {by})"
            continue
        name = spec.name.normalized
        record = available.get(name)
        if record is None:
            yield f"{text} is missing (required by {by})"
        elif not spec.matches(record):
            yield f"{text} is not satisfied by {name} {record.version} {record.build} (required by {by})"
        elif name not in needed:
            needed.add(name)
            pending += [(depends, f"{name} {record.version}") for depends in record.depends]
    for name in sorted(set(available) - needed):
        if not name.startswith("__"):
            yield f"{name} {available[name].version} is locked but nothing needs it"


def _exclusions(locked: dict[str, RepoDataRecord], available: dict[str, PackageRecord]) -> Iterator[str]:
    """Packages that another one's ``constrains`` excludes."""
    for name, record in locked.items():
        for text in record.constrains:
            try:
                spec = _parsed(text)
            except ValueError as error:
                yield f"'{text}' is no match spec: {error} (in constrains of {name})"
                continue
            other = available.get(spec.name.normalized)
            if other is not None and not spec.matches(other):
                yield f"{name} excludes {spec.name.normalized} {other.version} {other.build} (constrains {text})"


def _platforms(manifest: Manifest, lock: Lock) -> Iterator[Finding]:
    rows = {row.subdir: row for row in lock.rows.values()}
    if len(rows) != len(lock.rows):
        yield Finding("platforms", str(lock.path), "two platforms of the lock file have the same subdir", FIX)
    for subdir in sorted(set(rows) - set(manifest.platforms)):
        yield Finding("platforms", str(lock.path), f"platform {subdir} is locked but not declared", FIX)
    for subdir, platform in manifest.platforms.items():
        row = rows.get(subdir)
        if row is None:
            yield Finding("platforms", str(manifest.path), f"platform {subdir} is not locked", FIX)
            continue
        if row.name != platform.name:
            yield Finding(
                "platforms", str(lock.path), f"platform {row.name} is named {platform.name} in the manifest", FIX
            )
        if sorted(row.virtual_packages) != sorted(platform.virtual_packages):
            locked, declared = ", ".join(row.virtual_packages), ", ".join(platform.virtual_packages)
            what = f"{subdir} is locked for {locked}; the manifest says {declared}"
            yield Finding("platforms", str(lock.path), what, FIX)


def _environment(manifest: Manifest, lock: Lock, environment: Environment) -> Iterator[Finding]:
    locked = lock.environments[environment.name]
    where = f"{lock.path}, environment {environment.name}"
    expected = tuple(f"{channel}/" for channel in manifest.channels)
    if locked.channels != expected:
        what = f"locked from {', '.join(locked.channels) or 'no channel'}; the manifest says {', '.join(expected)}"
        yield Finding("channels", where, what, FIX)
    if locked.foreign:
        yield Finding("solution", where, f"{locked.foreign} packages are no conda packages", FIX)
    records = {lock.rows[row].subdir: group for row, group in locked.records.items()}
    for subdir in sorted(set(environment.platforms) ^ set(records)):
        missing = subdir in environment.platforms
        yield Finding("platforms", where, f"{subdir} is {'not locked' if missing else 'locked but not declared'}", FIX)
    for subdir in environment.platforms:
        if subdir in records and subdir in manifest.platforms:
            yield from satisfied(manifest, environment, subdir, records[subdir])


def options(lock_text: str, where: str) -> Iterator[Finding]:
    """Keys of the lock file that say it was solved with options; the manifest sets none.

    rattler's Python classes do not show them, but its format is fixed: an environment's keys stand at four blanks.
    """
    in_environments = False
    for number, line in enumerate(lock_text.splitlines(), 1):
        if re.match(r"\S", line):
            in_environments = line == "environments:"
        key = re.match(r" {4}([\w-]+):", line)
        if in_environments and key and key[1] not in ("channels", "packages"):
            yield Finding("options", f"{where}:{number}", f"the lock file has {key[1]}, the manifest has not", FIX)


def _virtual_records(platform: Platform) -> dict[str, PackageRecord]:
    found = {}
    for text in platform.virtual_packages:
        name, version, build = (*text.split("=", 2), "0")[:3]
        found[name] = PackageRecord(name, version, BuildString.new_unchecked(build), 0, platform.subdir)
    return found


@cache
def _parsed(text: str) -> MatchSpec:
    """The match spec; ValueError if it is none. A lock has the same few thousand specs over and over."""
    try:
        return MatchSpec(text)
    except Exception as error:
        raise ValueError(str(error)) from error
