"""Measure ours beside a peer's in the same run, so that the ratio survives a noisy machine."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison in ``unit`` (seconds, MiB, packages); ``aim`` is the ratio we mean to stay at or below."""

    name: str
    ours: float
    peer: str
    theirs: float
    unit: str = "s"
    aim: float | None = None

    @property
    def ratio(self) -> float:
        """Ours by theirs; below 1 we are ahead."""
        return self.ours / self.theirs if self.theirs else float("inf")

    def as_dict(self) -> dict[str, object]:
        """The row as ``--json`` prints it."""
        return {**self.__dict__, "ratio": round(self.ratio, 3)}


def fresh(scratch: Path) -> Path:
    """A path in ``scratch`` where nothing is, so that nothing need be deleted there.

    Where ten thousand files were deleted in the last minute, ext4 takes most of an installation's time to find inodes
    for new ones (``recently_deleted`` in fs/ext4/ialloc.c).
    """
    return Path(tempfile.mkdtemp(dir=scratch)) / "new"


def alternate(ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 3) -> tuple[float, float]:
    """Median seconds of ``ours`` and ``theirs``, run in turn so that noise meets both.

    What makes files makes them at :func:`fresh`, and deletes nothing in between.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, kept in zip((ours, theirs), times, strict=True):
            if hasattr(os, "sync"):
                os.sync()  # no side pays for what the disk still does for the other
            start = time.perf_counter()
            action()
            kept.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])
