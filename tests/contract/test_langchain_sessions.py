"""langchain-azure-dynamic-sessions, unmodified, against the session pool."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from tests.support.session_clients import run_driver, served_pool

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """What the Python tool gave for each operation."""
    async with served_pool(PoolOptions(strict=True), tmp_path_factory.mktemp("tls")) as served:
        yield await run_driver("langchain_sessions", served)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen_of_shell(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Any]]:
    """What the Bash tool gave for each operation."""
    options = PoolOptions(container_type="Shell", strict=True, preload=())
    async with served_pool(options, tmp_path_factory.mktemp("tls")) as served:
        yield await run_driver("langchain_shell", served)


async def test_code_is_executed(seen: dict[str, Any]) -> None:
    assert seen["invoked"] == {"result": 42, "stdout": "", "stderr": ""}
    assert seen["tool call"] == {"result": "", "stdout": "1\n", "stderr": ""}
    executed = seen["executed"]
    assert (executed["status"], executed["result"]) == ("Success", 2)
    assert executed["stdout"] == "hello\n"
    assert (seen["fenced"], seen["state"]) == ("fenced", 42)


async def test_code_that_raises_is_a_failure_with_its_traceback(seen: dict[str, Any]) -> None:
    assert seen["failed"]["status"] == "Failure"
    assert "ZeroDivisionError" in seen["failed"]["stderr"]


async def test_a_figure_is_the_result(seen: dict[str, Any]) -> None:
    assert seen["figure without its bytes"] == {"type": "image", "format": "png"}
    assert seen["figure"] == ["base64_data", "format", "type"]


async def test_files_are_uploaded_listed_and_downloaded(seen: dict[str, Any]) -> None:
    assert seen["uploaded"] == ["ü 1.csv", 4, "/mnt/data/ü 1.csv"]
    assert seen["files"] == ["/mnt/data/local.csv", "/mnt/data/ü 1.csv"]
    assert (seen["content"], seen["saved"]) == ("a,b\n", "local")
    assert seen["missing"] == 404


async def test_sessions_are_deleted(seen: dict[str, Any]) -> None:
    assert seen["another session"]
    assert seen["deleted"]
    assert seen["closed"]
    assert seen["deleted after invocation"]


async def test_shell_commands_are_executed(seen_of_shell: dict[str, Any]) -> None:
    assert seen_of_shell["echo"] == {"stdout": "hello\n", "stderr": "", "exitCode": 0}
    assert seen_of_shell["failed"] == {"stdout": "", "stderr": "oops\n", "exitCode": 3}
    assert seen_of_shell["fenced"]["stdout"] == "42\n"


async def test_a_shell_has_the_sessions_files(seen_of_shell: dict[str, Any]) -> None:
    assert seen_of_shell["uploaded"] == ["a.txt", 4]
    assert seen_of_shell["read"]["stdout"] == "text"
    assert seen_of_shell["files"] == ["/mnt/data/a.txt"]
    assert seen_of_shell["content"] == "text"
