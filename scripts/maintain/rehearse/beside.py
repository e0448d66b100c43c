"""Packages that run beside a locked Prefect though conda-forge has none of them, tried with it all the same."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet

from maintain.channel.locked import Part

MESSAGING = "prefect-redis"

BESIDE: tuple[tuple[str, str, str], ...] = ((">=3.6,<3.7", MESSAGING, "0.2.10"),)
"""Which Prefects, project, version: the newest that fits, so that the locked redis-py is tried with it.
prefect-redis 0.2.12 and later ask for Prefect 3.7.4 (their Requires-Dist); Prefect before 3.6 needs no Redis."""


def of(part: Part) -> list[tuple[str, str]]:
    """What goes beside a part: (project of the Python index, version)."""
    prefect = part.version("prefect")
    return [
        (name, version) for releases, name, version in BESIDE if prefect and SpecifierSet(releases).contains(prefect)
    ]
