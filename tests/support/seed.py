"""Fill a database the way users do, with any Prefect from 2.8.6 on: a flow run with tasks, a block, a deployment."""

# mypy: ignore-errors
import asyncio

from prefect import __version__, flow, task
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client


@task
def extract():
    """Three numbers."""
    return [1, 2, 3]


@flow(name="seeded")
def seeded(number: int = 1):
    """Their sum."""
    return sum(extract()) * number


async def more():
    """What needs the client."""
    async with get_client() as client:
        name = "planted"
        await client.create_deployment(
            flow_id=await client.create_flow(seeded), name="nightly", tags=["seed"], parameters={"number": 2}
        )
        await client.create_concurrency_limit(tag="database", concurrency_limit=3)
        if int(__version__.split(".")[0]) < 3:
            block = await client.read_block_document_by_name(name, "secret")
            await client.create_work_queue(name="old-agents")
            await client.create_flow_run_notification_policy(
                block_document_id=block.id, is_active=True, tags=["seed"], state_names=["Failed"]
            )


seeded()
Secret(value="planted-secret").save("planted")
asyncio.run(more())
