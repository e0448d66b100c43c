# ruff: noqa: D102 - what a method does is said in the base class
"""2.0a9 and earlier: databases without alembic, which no later Prefect can migrate."""

from __future__ import annotations

from prefect_env.upgrade.steps import Situation, Step, register


@register
class AlphaDatabase(Step):
    """2.0a10 needs a new database; ``upgrade`` and ``reset`` both fail on the old one (its release notes)."""

    order = 20
    title = "A database of 2.0a9 or earlier cannot be migrated"
    starts_empty = True

    def applies(self, situation: Situation) -> bool:
        return situation.state.alpha

    def notes(self, situation: Situation) -> list[str]:
        rows = sum(situation.counts.values())
        return [
            f"DATA WILL BE LOST in the new database: it starts empty, {rows:,} rows are not carried over.",
            "The old database is backed up with a checksum before it is set aside; it is not deleted.",
        ]
