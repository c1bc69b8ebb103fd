"""Shared by tests: the local Azure, its model scripted by each test; the running app."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from agent.runtime import Runtime
from agent.settings import Settings
from local.stack import LocalStack
from tests.scheduling import LongestFirst
from tests.support import PROJECT
from tests.support.functions_host import HostProcess, host_process
from tests.support.turns import SwitchableModel


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LongestFirst:
    """Asked by pytest-xdist how to share the tests out."""
    return LongestFirst(config, log)


@dataclass(frozen=True)
class SharedAzure:
    """A running local Azure and its model."""

    stack: LocalStack
    model: SwitchableModel


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def azure() -> AsyncIterator[SharedAzure]:
    model = SwitchableModel()
    async with LocalStack(model=model) as stack:
        yield SharedAzure(stack, model)


@pytest.fixture
def faults(azure: SharedAzure) -> Iterator[SharedAzure]:
    """The shared Azure, to fail on demand; fine again afterwards."""
    yield azure
    azure.stack.pool.faults.clear()
    azure.stack.pool.faults.grant_role()


@pytest.fixture
def identity_endpoint(azure: SharedAzure) -> Iterator[None]:
    """Where azure-identity looks for the managed identity of this process."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            environment.setenv(name, azure.stack.app_settings[name])
        yield


type OpenRuntime = Callable[..., Runtime]


@pytest.fixture
def open_runtime(azure: SharedAzure, identity_endpoint: None) -> OpenRuntime:
    """Clients of the agent on the shared Azure; settings by name change some of its settings."""

    def open_it(**settings: object) -> Runtime:
        known = {name.lower(): value for name, value in azure.stack.app_settings.items()}
        return Runtime(Settings.model_validate(known | settings))

    return open_it


@pytest.fixture(scope="session")
def settings(azure: SharedAzure, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The app settings of the running app."""
    folder = tmp_path_factory.mktemp("conversations")
    return azure.stack.app_settings | {
        "CONVERSATIONS_URL": folder.as_uri(),
        "AZURE_OPENAI_VISION": "questions",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "150000000",
    }


@pytest.fixture(scope="session")
def host(settings: dict[str, str]) -> Iterator[HostProcess]:
    with host_process(PROJECT, environment=settings) as started:
        started.wait_until_ready()
        yield started
