"""Where the contract is checked: on the local Azure, or with AZURE_VERIFY=1 on the real one."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from agent.runtime import Runtime
from agent.session_pool.client import SessionsClient
from agent.settings import Settings
from tests.conftest import OpenRuntime

ON_AZURE = os.environ.get("AZURE_VERIFY") == "1"  # noqa: TID251 - asked while tests are collected, before there is a fixture or an app's settings
# Failures are made by the stand-in: nobody can ask Azure for them.
local_only = pytest.mark.skipif(ON_AZURE, reason="Azure does not fail on demand")


@dataclass(frozen=True)
class Session:
    """A session of its own for one test."""

    pool: SessionsClient
    identifier: str


@pytest.fixture
def unopened(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Runtime]:
    """The agent's clients: by the app settings of the environment, or on the local Azure."""
    if ON_AZURE:
        return Runtime(Settings.load())
    open_runtime: OpenRuntime = request.getfixturevalue("open_runtime")
    return open_runtime()


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(unopened: AbstractAsyncContextManager[Runtime]) -> AsyncIterator[Runtime]:
    async with unopened as runtime:
        yield runtime


@pytest_asyncio.fixture(loop_scope="session")
async def session(runtime: Runtime) -> AsyncIterator[Session]:
    pool = runtime.turns.sessions
    assert pool is not None, "set POOL_MANAGEMENT_ENDPOINT"
    session = Session(pool, f"contract-{secrets.token_hex(16)}")
    yield session
    await pool.delete_session(session.identifier, deadline=in_seconds(30))


def in_seconds(seconds: float) -> float:
    """A deadline, as the client takes it."""
    return asyncio.get_running_loop().time() + seconds
