"""Semantic Kernel's SessionsPythonTool, unmodified, against the session pool.

It insists on https and on the first API generation, and asks for a token for acasessions.io.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from tests.support.session_clients import run_driver, served_pool

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=[False, True])
async def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Any]]:
    """What the tool gave for each operation, by a lenient pool and by a strict one."""
    folder = tmp_path_factory.mktemp("tls")
    async with served_pool(PoolOptions(strict=request.param), folder) as served:
        yield await run_driver("semantic_kernel_sessions", served)


async def test_code_is_executed(seen: dict[str, Any]) -> None:
    assert seen["printed"] == "Status:\nSuccess\nResult:\n2\nStdout:\nhello world\n\nStderr:\n"
    assert "Result:\n42\n" in seen["fenced"]
    assert "Result:\n42\n" in seen["state"]
    assert seen["nothing"] == "Status:\nSuccess\nResult:\n\nStdout:\n\nStderr:\n"


async def test_code_that_raises_is_a_failure_with_its_traceback(seen: dict[str, Any]) -> None:
    assert seen["failed"].startswith("Status:\nFailure\n")
    assert "ZeroDivisionError" in seen["failed"]


async def test_a_figure_is_the_result(seen: dict[str, Any]) -> None:
    assert "{'type': 'image', 'format': 'png', 'base64_data': 'iVBOR" in seen["figure"]


async def test_files_are_uploaded_listed_and_downloaded(seen: dict[str, Any]) -> None:
    assert seen["no files"] == []
    assert seen["uploaded"] == ["data file.csv", 8, "/mnt/data/data file.csv"]
    assert seen["named"] == "/mnt/data/reports/renamed.csv"
    assert "a,b\n1,2\n" in seen["read"]
    assert seen["files"] == ["/mnt/data/data file.csv", "/mnt/data/reports/renamed.csv"]
    assert seen["content"] == seen["saved"] == "a,b\n1,2\n"


async def test_a_missing_file_is_an_error_of_the_service(seen: dict[str, Any]) -> None:
    assert "status code 404" in seen["missing"]


async def test_a_kernel_invokes_it_as_a_function(seen: dict[str, Any]) -> None:
    assert "Stdout:\n1024\n" in seen["invoked"]
