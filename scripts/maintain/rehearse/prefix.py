"""Make a prefix of wheels beside Debian's libraries: the packages of a set, each at exactly its version, unsolved."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rattler import Channel, RepoDataRecord, SparseRepoData

from maintain.channel.build import fill, packages
from maintain.channel.index import SUBDIRS, index
from maintain.channel.release import Release
from maintain.channel.root import Root, root_of
from maintain.channel.sets import PinSet
from maintain.install.choice import Choice
from maintain.install.engine import install
from maintain.install.plan import Package, Plan
from maintain.lib.files import exclusive
from maintain.lib.paths import BUILD

HOME = BUILD / "rehearsal"
"""Where prefixes are made, one for each set and release; safe to delete."""


@dataclass(frozen=True)
class Stage:
    """Where sets are tried: a Debian release, in a root of its own if it is not the machine's."""

    release: Release
    root: Root

    def inside(self, words: Sequence[str]) -> list[str]:
        """The command that runs ``words`` there, with the clone's and the temporary folders at the same paths."""
        return self.root.command(list(words), binds=BINDS)


BINDS = (BUILD.parent, Path(tempfile.gettempdir()))
"""The folders that a stage sees: the clone, and scratch."""

KEEP = 30
"""Days for which a prefix that is not used stays."""

WAIT = 600.0
"""Seconds to wait for another rehearsal that makes the same prefix."""


def stage(release: Release) -> Stage:
    """The stage of ``release``; raises what :func:`maintain.channel.root.root_of` raises."""
    return Stage(release, root_of(release))


def make(wanted: PinSet, on: Stage, home: Path | None = None) -> Path:
    """The prefix of ``wanted`` on a stage, made or brought up to date below ``home``.

    What is made of each wheel and of Debian's packages comes from the stand-in's cache. Raises as
    :func:`maintain.channel.build.build_channel` and :func:`maintain.install.engine.install`.
    """
    home = home or HOME / f"{key(wanted)}-{on.release.name}"
    with exclusive(home.parent / f".{home.name}.lock", what=f"the prefix in {home}", wait=WAIT):
        _prune(home.parent)
        return _make(wanted, on, home)


def _make(wanted: PinSet, on: Stage, home: Path) -> Path:
    channel = home / "channel"
    _, made = packages([wanted], on.release)
    shutil.rmtree(channel, ignore_errors=True)
    for subdir in SUBDIRS:
        (channel / subdir).mkdir(parents=True)
    fill(channel, made)
    index(channel)
    records = _records(channel)
    found = tuple(
        Package(record, (channel / record.subdir / record.file_name).as_uri(), (record.sha256 or b"").hex())
        for record in records
    )
    plan = Plan(wanted.name, channel.as_uri(), (), found, "lock")
    choice = Choice(channel.as_uri(), True, "a rehearsal")
    prefix = home / "prefix"
    install(prefix, choice, planner=lambda *_: plan, inside=on.inside)
    os.utime(home)
    return prefix


def _prune(folder: Path) -> None:
    """Drop the prefixes that no rehearsal has used for :data:`KEEP` days: those of locks that are gone."""
    oldest = time.time() - KEEP * 86400
    for channel in folder.glob("*/channel"):
        if channel.parent.stat().st_mtime < oldest:
            shutil.rmtree(channel.parent, ignore_errors=True)


def key(wanted: PinSet) -> str:
    """A name for a set that changes with its content."""
    return hashlib.sha256(repr(sorted(wanted.pins)).encode()).hexdigest()[:16]


def _records(channel: Path) -> list[RepoDataRecord]:
    """Everything that a channel lists."""
    url = Channel(channel.absolute().as_uri())
    found: list[RepoDataRecord] = []
    for subdir in SUBDIRS:
        listed = SparseRepoData(url, subdir, channel / subdir / "repodata.json")
        for name in listed.package_names():
            found += listed.load_records(name)
    return found
