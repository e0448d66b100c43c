"""Prefect's own client at work, in a process of its own: the doctor's proof that the API is really reached.

``python client.py websocket`` opens the events websocket as a flow does, ``python client.py flow`` runs a flow. Either
prints one line of JSON: ``error`` (null if all went well), and ``flow_run`` with the id of the run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

TASKS = 3
"""Task runs of the probe flow."""


def websocket() -> dict[str, Any]:
    """One connection with the real proxy, credentials and CA, without the client's ten attempts."""
    import asyncio

    from prefect.events.clients import get_events_client

    async def connect() -> None:
        async with get_events_client(reconnection_attempts=0):
            pass

    asyncio.run(asyncio.wait_for(connect(), 30))
    return {"error": None}


def flow() -> dict[str, Any]:
    """A flow of :data:`TASKS` tasks."""
    from prefect import flow as make_flow
    from prefect import task as make_task
    from prefect.context import get_run_context

    number: Any = make_task(lambda value: value, name="number")

    def probe() -> str:
        for value in range(TASKS):
            number(value)
        context: Any = get_run_context()
        return str(context.flow_run.id)

    return {"error": None, "flow_run": make_flow(probe, name="prefect-env doctor")()}


if __name__ == "__main__":
    try:
        answer = {"websocket": websocket, "flow": flow}[sys.argv[1]]()
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))  # noqa: T201 - the answer
