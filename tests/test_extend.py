"""What docs/extend.md tells people to write and to type works, and answers what stands there."""

import importlib
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from agent import tools
from agent.errors import BrokenToolError
from agent.http.health import readiness
from agent.http.schemas import HealthSchema
from tests.conftest import OpenRuntime, SharedAzure
from tests.support import PROJECT

TEXT = (PROJECT / "docs/extend.md").read_text("utf-8")
# A file that the text names right before its block.
FILES = dict(re.findall(r"`([\w/.]+)`:\n\n```\w+\n(.*?)```", TEXT, re.DOTALL))
TOOL, TEST = "agent/tools/orders.py", "tests/agent/tools/test_orders.py"
ANSWERS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.split("\n")
]

type Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the tool's module, as if into agent/tools."""
    name = "agent.tools.orders"
    monkeypatch.setattr(tools, "__path__", [*tools.__path__, str(tmp_path)])

    def write(source: str) -> None:
        (tmp_path / "orders.py").write_text(source)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop(name, None)
    vars(tools).pop("orders", None)


def test_it_names_each_file_that_it_has() -> None:
    assert FILES.keys() == {TOOL, "agent/instructions.md", TEST}


@pytest.mark.asyncio(loop_scope="session")
async def test_its_test_passes_with_its_tool(
    azure: SharedAzure,
    open_runtime: OpenRuntime,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    tmp_path: Path,
) -> None:
    write(FILES[TOOL])
    path = tmp_path / "tests" / "test_orders.py"
    path.parent.mkdir()
    path.write_text(FILES[TEST])
    module = ModuleType("test_orders")
    SourceFileLoader(module.__name__, str(path)).exec_module(module)
    tests: list[Callable[..., Awaitable[None]]] = [
        value for name, value in vars(module).items() if name.startswith("test_")
    ]
    assert len(tests) == 1
    await tests[0](azure=azure, open_runtime=open_runtime, monkeypatch=monkeypatch)


@pytest.mark.asyncio(loop_scope="session")
async def test_readiness_answers_what_it_says(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch, write: Write, tmp_path: Path
) -> None:
    write(FILES[TOOL])
    monkeypatch.setenv("ORDERS_URL", "https://shop.example")
    async with open_runtime(conversations_url=tmp_path.as_uri()) as runtime:
        assert await readiness(runtime) == HealthSchema.model_validate(ANSWERS[0])


@pytest.mark.asyncio(loop_scope="session")
async def test_a_broken_tool_answers_what_it_says(
    open_runtime: OpenRuntime, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    broken = re.sub(r"customer: Annotated\[.*\]\n", "customer\n", FILES[TOOL])
    assert broken != FILES[TOOL]
    write(broken)
    monkeypatch.setenv("ORDERS_URL", "https://shop.example")
    with pytest.raises(BrokenToolError) as raised:
        await open_runtime().__aenter__()
    error = raised.value
    told = {
        "code": error.code,
        "status": error.status,
        "title": error.title,
        "detail": error.detail,
    }
    assert ANSWERS[1] | {"operation_id": ""} == told | {"operation_id": ""}


def test_its_commands_name_what_there_is() -> None:
    settings = {name for line in COMMANDS for name in re.findall(r"azd env set (\w+)", line)}
    parameters = (PROJECT / "infra/main.parameters.json").read_text()
    assert settings
    assert all(f"${{{name}}}" in parameters for name in settings)
    assert f".venv/bin/python -m pytest -q {TEST}" in COMMANDS
    named = [path for line in COMMANDS for path in re.findall(r"file:(\S+?)(?:\s|$)", line)]
    assert set(named) == {"agent/instructions.md"}
