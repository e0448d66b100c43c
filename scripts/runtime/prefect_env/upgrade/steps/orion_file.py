# ruff: noqa: D102 - what a method does is said in the base class
"""``orion.db`` became ``prefect.db`` in 2.8.1; from 3.0.5 on an ``orion.db`` is ignored."""

from __future__ import annotations

from pathlib import Path

from prefect_env.console import CommandError
from prefect_env.db.sqlite import Sqlite
from prefect_env.upgrade.steps import Situation, Step, register


@register
class OrionFile(Step):
    """The migrated copy becomes ``prefect.db``; ``orion.db`` stays as it is."""

    order = 40
    title = "orion.db to prefect.db"

    def applies(self, situation: Situation) -> bool:
        files = paths(situation)
        return bool(files and files[0] != files[1])

    def notes(self, situation: Situation) -> list[str]:
        files = paths(situation)
        assert files  # noqa: S101 - applies() saw them
        return [f"The migrated copy of {files[0]} becomes {files[1]}; the old file is left as it is."]

    def refusal(self, situation: Situation) -> CommandError | None:
        if situation.target and not situation.target.state().empty:
            return CommandError(
                "check-failed",
                "the two environments use different databases, and both have data",
                where=situation.target.where,
                why=f"the old environment uses {situation.source.where if situation.source else 'none'}",
                fix="name the one to keep with --url, or move the other one away",
            )
        return None


def paths(situation: Situation) -> tuple[Path, Path] | None:
    """The files of the old and the new environment's databases, where both are SQLite's."""
    if isinstance(situation.source, Sqlite) and isinstance(situation.target, Sqlite):
        return situation.source.path, situation.target.path
    return None
