"""A caller of the app that runs on the shared functions host."""

from collections.abc import AsyncIterator

import httpx2
import pytest_asyncio

from tests.support.functions_host import HostProcess


@pytest_asyncio.fixture(loop_scope="session")
async def api(host: HostProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of the running app."""
    url = f"{host.url}/api"
    # Plain http needs no certificates, which take long to load.
    async with httpx2.AsyncClient(base_url=url, timeout=60, verify=False) as client:
        yield client
