"""A caller of the app that runs on the shared functions host."""

from collections.abc import AsyncIterator

import httpx2
import pytest_asyncio

from tests.support.functions_host import HostProcess


@pytest_asyncio.fixture(loop_scope="session")
async def api(host: HostProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of the running app."""
    async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as client:
        yield client
