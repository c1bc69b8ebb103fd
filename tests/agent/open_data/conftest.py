from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.https_sites import web
from tests.support.open_data import OpenDataHosts


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def all_hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenDataHosts]:
    async with web(tmp_path_factory.mktemp("tls")) as opened:
        yield OpenDataHosts(
            web=opened,
            site=await opened.open("data.example.org"),
            other=await opened.open("www.open.example"),
            evil=await opened.open("evil.example"),
            inside=await opened.open("data.example.org", address="127.0.0.2"),
        )


@pytest.fixture
def hosts(all_hosts: OpenDataHosts) -> OpenDataHosts:
    """Hosts that nobody has asked anything."""
    all_hosts.reset()
    return all_hosts
