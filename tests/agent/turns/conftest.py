"""Fixtures of the turn's tables of cases."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agent.runtime import Runtime
from agent.settings import Settings
from tests.conftest import SharedAzure


@pytest.fixture(scope="module")
def module_environment() -> Iterator[pytest.MonkeyPatch]:
    """Environment variables for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def module_runtime(
    azure: SharedAzure, module_environment: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """One runtime for all tests of a module: a table of cases would open a hundred."""
    settings = azure.stack.app_settings
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        module_environment.setenv(name, settings[name])
    known = {name.lower(): value for name, value in settings.items()}
    async with Runtime(Settings.model_validate(known)) as opened:
        yield opened
