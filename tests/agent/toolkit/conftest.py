"""Packages of tools for tests, and a runtime that has the sample tools."""

import importlib
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.runtime import Runtime
from tests.conftest import SharedAzure
from tests.support.own_tools import runtime_with_tools

type WriteTools = Callable[..., str]

SAMPLES = (Path(__file__).parent / "sample_tools.py").read_text()
SLOW = '''
import asyncio
from agent.toolkit.authoring import kernel_function

TIMEOUT_S = 0.2
AT_ONCE = 2
most = here = 0

@kernel_function
async def few() -> int:
    """How many of these ran at once at most."""
    global most, here
    here += 1
    most = max(most, here)
    await asyncio.sleep(0.01)
    here -= 1
    return most

@kernel_function
async def hang() -> str:
    """Never ends."""
    await asyncio.Event().wait()
    return ""

@kernel_function
async def hang_on() -> str:
    """Does not stop when it should."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    return ""
'''
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def write_tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriteTools]:
    """Write modules of tools, by their names; tells the name of their package."""
    folder = tmp_path_factory.mktemp("packages")
    sys.path.insert(0, str(folder))

    def write(**modules: str) -> str:
        package = f"tools_of_test_{next(_numbers)}"
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        for name, source in modules.items():
            (folder / package / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return package

    yield write
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("tools_of_test_")]:
        del sys.modules[name]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runtime(
    azure: SharedAzure, write_tools: WriteTools, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Runtime]:
    """One runtime for a module's table of cases, with the sample tools."""
    package = write_tools(samples=SAMPLES, slow=SLOW)
    conversations = tmp_path_factory.mktemp("conversations")
    environment = {"GREETING": "Good day"}
    async with runtime_with_tools(azure.stack, package, environment, conversations) as opened:
        yield opened
