# ruff: noqa: D102 - what a method does is said in the base class
"""1.x to 2: another product under the same name."""

from __future__ import annotations

from prefect_env.upgrade.steps import Situation, Step, register


@register
class OneToTwo(Step):
    """Nothing is converted: Prefect's own guide says to make a new environment (installation guide, 2.0)."""

    order = 10
    title = "Prefect 1 to 2: a new environment beside the old one, nothing is converted"

    def applies(self, situation: Situation) -> bool:
        return situation.crosses("2.0a1")

    def notes(self, situation: Situation) -> list[str]:
        return [
            f"The old environment stays as it is: {situation.old.path}",
            "Prefect 1's server keeps its data in a PostgreSQL container of its own; it is left alone.",
            "Flows must be rewritten (flow.run and with Flow are gone), agents and projects have new forms.",
        ]
