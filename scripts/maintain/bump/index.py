"""What the configured index has: releases, their days, and which go together. pip and uv ask it; no host is named."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta

from packaging.version import Version

from maintain.channel.pin import resolve
from maintain.lib.errors import ToolError


def releases(project: str) -> list[Version]:
    """The releases of ``project``, newest first, for whatever Python; without pre-releases."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--json", "--ignore-requires-python", project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return sorted(map(Version, json.loads(done.stdout)["versions"]), reverse=True)
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(
            "network",
            f"the Python index does not say which releases {project} has",
            why=done.stderr.strip()[-1500:] or str(error),
            fix="check the network, proxy (HTTPS_PROXY), CA (PIP_CERT) and index (pip config list), then run it again",
        ) from error


def newest(requirement: str) -> Version:
    """The newest release that ``requirement`` allows, not withdrawn, and for the Python that our lines are built on."""
    return Version(next(iter(resolve([requirement], "--no-deps").values())))


def released(project: str, version: Version, after: date, until: date) -> date:
    """The day on which the index got a release: after ``after``, on ``until`` at the latest.

    uv can leave out what was uploaded later than a moment, so a few questions find the day.
    """
    wanted = f"{project}=={version}"
    if not _there(wanted, until + timedelta(days=1)):
        raise ToolError(
            "network",
            f"the Python index does not say when it got {wanted}",
            why="it gives no upload times (PEP 700), or the release is no wheel",
            fix="use an index that does: index-url of pip's or uv's settings",
        )
    while until - after > timedelta(days=1):
        middle = after + (until - after) // 2
        if _there(wanted, middle + timedelta(days=1)):
            until = middle
        else:
            after = middle
    return until


def _there(requirement: str, before: date) -> bool:
    return goes_together([requirement], "--no-deps", "--exclude-newer", f"{before}T00:00:00Z")


def goes_together(requirements: list[str], *options: str) -> bool:
    """Whether the index has releases that satisfy all ``requirements``."""
    try:
        resolve(requirements, *options)
    except ToolError as error:
        if error.id == "unsatisfiable":
            return False
        raise
    return True
