"""The app on the functions host, as a process of its own, against the shared local Azure."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import pytest_asyncio

from tests.conftest import SharedAzure
from tests.local.functions_host.host_process import PROJECT, HostProcess, host_process


@pytest.fixture(scope="session")
def settings(azure: SharedAzure, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The app settings of the running app."""
    folder = tmp_path_factory.mktemp("conversations")
    return azure.stack.app_settings | {"CONVERSATIONS_URL": folder.as_uri()}


@pytest.fixture(scope="session")
def host(settings: dict[str, str]) -> Iterator[HostProcess]:
    with host_process(PROJECT, environment=settings) as started:
        started.wait_until_ready()
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def api(host: HostProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of the running app."""
    async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as client:
        yield client
