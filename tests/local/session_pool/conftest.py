"""Pools to test: one that most tests share, and ones of their own for those that must."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
import pytest_asyncio

from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from tests.support.identities import shared_identity
from tests.support.pool_client import AUDIENCE, PoolClient

type OpenPool = Callable[[PoolOptions], AbstractAsyncContextManager[PoolClient]]


@contextlib.asynccontextmanager
async def _open(options: PoolOptions) -> AsyncIterator[PoolClient]:
    identity = shared_identity()
    async with (
        SessionPool(identity.verifier(AUDIENCE), options) as pool,
        serve(pool.app) as base_url,
        # Plain http needs no certificates, which take long to load.
        httpx2.AsyncClient(base_url=base_url, timeout=60, verify=False) as http,
    ):
        yield PoolClient(pool, http, identity)


@pytest.fixture(scope="session")
def open_pool() -> OpenPool:
    """Opens a pool with options of its own."""
    return _open


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_pool() -> AsyncIterator[PoolClient]:
    async with _open(PoolOptions(max_sessions=200)) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def session(shared_pool: PoolClient) -> AsyncIterator[PoolClient]:
    """A session of the shared pool that no other test has."""
    client = shared_pool.of()
    yield client
    await client.request("DELETE", "session")
