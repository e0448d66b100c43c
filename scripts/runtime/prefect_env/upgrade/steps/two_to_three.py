# ruff: noqa: D102 - what a method does is said in the base class
"""2 to 3: workers for agents, a schema that 2.x cannot read, no notification tables."""

from __future__ import annotations

from prefect_env.upgrade.steps import Situation, Step, register

NOTIFICATIONS = "flow_run_notification_policy"


@register
class TwoToThree(Step):
    """See Prefect's guide "Upgrade to Prefect 3"; tables are dropped from 3.4.0 on (revision 7655f31c5157)."""

    order = 50
    title = "Prefect 2 to 3"

    def applies(self, situation: Situation) -> bool:
        return situation.crosses("3.0")

    def notes(self, situation: Situation) -> list[str]:
        found = [
            "One way: Prefect 2 cannot open the migrated database. The way back is prefect-env upgrade rollback.",
            "Agents are gone: start workers (prefect worker start --pool NAME), deploy with prefect.yaml.",
            "Flow code meets pydantic 2 and renamed modules; clients and server must be of one major version.",
        ]
        policies = situation.counts.get(NOTIFICATIONS, 0)
        if policies and situation.new.version >= "3.4.0":
            found.append(
                f"Prefect 3.4 drops notifications: {policies} policies will be in the backup only; make automations."
            )
        return found
