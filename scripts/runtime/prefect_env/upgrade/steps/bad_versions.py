# ruff: noqa: D102 - what a method does is said in the base class
"""Releases whose migrations are known to fail."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_env.console import CommandError
from prefect_env.upgrade.steps import Situation, Step, register


@dataclass(frozen=True)
class Bad:
    """Releases ``first`` to ``last``. ``floor``: bad only with an older SQLite; ``strict``: only with a strict one."""

    first: str
    last: str
    why: str
    source: str
    instead: str
    floor: tuple[int, ...] | None = None
    strict: bool = False


ISSUES = "https://github.com/PrefectHQ/prefect/issues/"
BAD = (
    Bad("2.7.5", "2.7.5", "its SQLite migration runs with foreign keys on", ISSUES + "8054", "2.7.6 or later"),
    Bad(
        "2.7.11",
        "2.7.11",
        "its migration of an older SQLite database never ends (duplicate column has_data)",
        ISSUES + "8417",
        "2.7.12 or later",
    ),
    Bad("2.13.4", "2.13.4", "it does not know a revision of 2.13.3", ISSUES + "10887", "2.13.5 or later"),
    Bad(
        "2.14.3",
        "2.14.5",
        "its migration needs SQLite 3.33 (UPDATE FROM)",
        ISSUES + "11104",
        "2.14.6 or later",
        (3, 33),
    ),
    Bad("3.0.3", "3.1.0", "its migration needs SQLite 3.33 (UPDATE FROM)", ISSUES + "15903", "3.1.1 or later", (3, 33)),
    Bad(
        "2.0",
        "3.2.5",
        'its migrations quote text as "text", which this SQLite refuses (SQLITE_DQS=0)',
        ISSUES + "17186",
        "3.2.6 or later, or another libsqlite",
        strict=True,
    ),
)


@register
class BadVersions(Step):
    """The new Prefect is not to be used with the SQLite that its environment loads."""

    order = 90
    title = "A release that is known to fail"

    def applies(self, situation: Situation) -> bool:
        return find(situation) is not None

    def refusal(self, situation: Situation) -> CommandError | None:
        bad = find(situation)
        assert bad  # noqa: S101 - applies() saw it
        return CommandError(
            "check-failed",
            f"Prefect {situation.new.version} is not to be upgraded to",
            where=str(situation.new.path),
            why=f"{bad.why}: {bad.source}",
            fix=f"use {bad.instead}",
        )


def find(situation: Situation) -> Bad | None:
    """What is known against the new Prefect, if its database is SQLite's."""
    if situation.source is None or situation.source.kind != "sqlite":
        return None
    found = [bad for bad in BAD if bad.first <= situation.new.version <= bad.last]
    if not found:
        return None
    version, strict = situation.new.sqlite()
    for bad in found:
        if (bad.floor is None or version < bad.floor) and (strict or not bad.strict):
            return bad
    return None
