"""AutoGen's ACADynamicSessionsCodeExecutor, unmodified, against the session pool."""

from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from tests.support.session_clients import run_driver, served_pool

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the executor gave for each operation."""
    options = PoolOptions(strict=True, preload=())
    async with served_pool(options, tmp_path_factory.mktemp("tls")) as served:
        return await run_driver("autogen_sessions", served)


async def test_code_is_executed(seen: dict[str, Any]) -> None:
    assert seen["printed"] == [0, "42\n2"]
    assert {"numpy", "pandas", "matplotlib"} <= set(seen["packages"])


async def test_code_that_raises_is_a_failure_with_its_traceback(seen: dict[str, Any]) -> None:
    assert seen["failed"][0] == 1
    assert "ZeroDivisionError" in seen["failed"][1]


async def test_files_are_uploaded_listed_and_downloaded(seen: dict[str, Any]) -> None:
    assert seen["files"] == ["a.txt"]
    assert seen["read"] == [0, "from here\n"]
    assert seen["saved"] == "from there"
    assert seen["after a restart"] == []
