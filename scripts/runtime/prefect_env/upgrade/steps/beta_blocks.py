# ruff: noqa: D102 - what a method does is said in the base class
"""2.0b6: the API of blocks broke."""

from __future__ import annotations

from prefect_env.upgrade.steps import Situation, Step, register

HEAD_OF_2_0B6 = "d76326ed0d06"


@register
class BetaBlocks(Step):
    """Data stay; clients and servers on different sides of 2.0b6 do not understand each other (its release notes)."""

    order = 30
    title = "2.0b6 changed the API of blocks"

    def applies(self, situation: Situation) -> bool:
        return situation.crosses("2.0b6") or situation.database_before(HEAD_OF_2_0B6)

    def notes(self, situation: Situation) -> list[str]:  # noqa: ARG002 - the same for all
        return [
            "Upgrade every client together with the server: older ones cannot talk to it.",
            "Restart all agents after the upgrade.",
            "Kubernetes: use the new version's image in the manifests of agents and jobs, then apply them again.",
        ]
