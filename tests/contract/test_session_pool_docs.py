"""The snippets of docs/session-pool.md run, and print what stands below them."""

import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.session_pool import PoolOptions
from tests.support.session_clients import ServedPool, run_program, served_pool

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCS = Path(__file__).parents[2] / "docs" / "session-pool.md"
SNIPPETS = re.findall(
    r"^## ([^\n]*)$(?:(?!^## ).)*?^```(python|bash)\n(.*?)^```\n\n```text\n(.*?)^```$",
    DOCS.read_text(),
    re.DOTALL | re.MULTILINE,
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedPool]:
    async with served_pool(PoolOptions(), tmp_path_factory.mktemp("tls")) as served:
        yield served


async def test_every_framework_has_a_snippet() -> None:
    titles = [title for title, *_ in SNIPPETS]
    assert titles == [
        "With Agent Framework",
        "With Semantic Kernel",
        "With LangChain",
        "With curl",
        "In tests",
    ]


@pytest.mark.parametrize(
    ("language", "code", "output"), [each[1:] for each in SNIPPETS], ids=[s[0] for s in SNIPPETS]
)
async def test_it_prints_what_stands_below(
    served: ServedPool, language: str, code: str, output: str
) -> None:
    if language == "bash" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-c", code]
    assert (await run_program(command, served)).strip() == output.strip()
