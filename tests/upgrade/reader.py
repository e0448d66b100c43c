"""Read what seed.py wrote, with the code of any Prefect from 2.8.6 on: runs, the deployment, the block's secret."""

# mypy: ignore-errors
import asyncio

from prefect.server import models
from prefect.server.database.dependencies import provide_database_interface


async def main():
    """Print the three."""
    async with provide_database_interface().session_context() as session:
        runs = await models.flow_runs.count_flow_runs(session)
        deployments = await models.deployments.read_deployments(session)
        blocks = await models.block_documents.read_block_documents(session, include_secrets=True)
    secrets = [block.data["value"] for block in blocks if block.name == "planted"]
    print(runs, *[item.name for item in deployments], *secrets)  # noqa: T201 - the caller reads it


asyncio.run(main())
