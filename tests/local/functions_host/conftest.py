"""One running host for the tests that only send it requests."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.local.functions_host.apps import copy_app
from tests.support.functions_host import HostProcess, host_process

KEY = "a-function-key"


@pytest.fixture(scope="package")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    settings = {
        "IsEncrypted": False,
        "Values": {"FROM_FILE": "file", "FROM_BOTH": "file", "NUMBER": 210},
        "Host": {"CORS": "http://front.example"},
    }
    host_json = {
        "version": "2.0",
        "extensions": {"http": {"customHeaders": {"X-Content-Type-Options": "nosniff"}}},
    }
    app_dir = copy_app("sample", tmp_path_factory.mktemp("app"), settings, host_json)
    environment = {
        "FROM_BOTH": "environment",
        "LOCAL_FUNCTION_KEY": KEY,
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000",
    }
    with host_process(app_dir, environment=environment) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def client(host: HostProcess) -> Iterator[httpx2.Client]:
    """A caller that has the function key."""
    headers = {"x-functions-key": KEY}
    # Plain http needs no certificates, which take long to load.
    with httpx2.Client(base_url=host.url, headers=headers, verify=False) as client:
        yield client


@pytest.fixture
def stranger(host: HostProcess) -> Iterator[httpx2.Client]:
    """A caller without the key."""
    with httpx2.Client(base_url=host.url, verify=False) as client:
        yield client
