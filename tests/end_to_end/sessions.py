"""What the session pool says about itself, asked over its own API."""

import httpx2

from tests.conftest import SharedAzure
from tests.support.waiting import until


async def live_sessions(azure: SharedAzure) -> int:
    """How many sessions the pool holds."""
    stack = azure.stack
    token = stack.identity.mint("https://dynamicsessions.io")
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
        reply = await client.get(
            f"{stack.app_settings['POOL_MANAGEMENT_ENDPOINT']}/listSessions",
            params={"api-version": "2025-10-02-preview"},
        )
    return len(reply.json()["sessions"])


async def wait_for_sessions(azure: SharedAzure, count: int) -> None:
    """Until the pool holds so many; they are given back after the answer."""

    async def there_are() -> bool:
        return await live_sessions(azure) == count

    await until(there_are)
