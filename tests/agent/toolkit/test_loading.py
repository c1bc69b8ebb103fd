"""Own tools at the start: each is found, and one that is broken says where and why."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from agent.errors import BrokenToolError, SettingsError
from agent.runtime import TOOLS
from agent.settings import load_settings
from agent.toolkit.authoring import ToolSettings
from agent.toolkit.loading import open_tools
from tests.agent.toolkit.conftest import WriteTools

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAD = "from agent.toolkit.authoring import *\n\n"


def provide(kind: type) -> object:
    if issubclass(kind, ToolSettings):
        return load_settings(kind)
    raise LookupError(kind)


async def names_of(package: str) -> list[str]:
    async with AsyncExitStack() as opening:
        taken = frozenset({"execute_python"})
        return [tool.name for tool in await open_tools(package, provide, taken, opening)]


def tool(signature: str = "() -> str", name: str = "f", words: str = '"""Words."""') -> str:
    return f"@kernel_function\ndef {name}{signature}:\n    {words}\n    return ''\n"


def method(constructor: str) -> str:
    body = "".join(
        f"    {line}\n" for line in (constructor + "\n" + tool("(self) -> str")).split("\n")
    )
    return f"class Tool:\n{body}"


async def test_each_module_is_found_by_its_name(write_tools: WriteTools) -> None:
    package = write_tools(
        b=HEAD + tool(name="second") + tool(name="third"),
        a=HEAD + tool(name="first"),
        _c="raise AssertionError('not a tool')",
    )
    assert await names_of(package) == ["first", "second", "third"]


async def test_what_semantic_kernel_itself_marks_is_a_tool(write_tools: WriteTools) -> None:
    package = write_tools(a="from semantic_kernel.functions import kernel_function\n" + tool())
    assert await names_of(package) == ["f"]


async def test_a_module_says_how_many_calls_run_at_once(write_tools: WriteTools) -> None:
    async with AsyncExitStack() as opening:
        package = write_tools(a=HEAD + "AT_ONCE = 1\n" + tool(), b=HEAD + tool(name="g"))
        one, many = await open_tools(package, provide, frozenset(), opening)
    soon = asyncio.get_running_loop().time() + 0.01
    async with one.place(soon) as first, one.place(soon) as second:
        assert (first, second) == (True, False)
    async with one.place(soon + 1) as first, many.place(soon) as other, many.place(soon) as another:
        assert (first, other, another) == (True, True, True)


async def test_the_tools_of_this_app_load() -> None:
    async with AsyncExitStack() as opening:
        await open_tools(TOOLS, provide, frozenset(), opening)


@pytest.mark.parametrize(
    ("source", "where", "reason"),
    [
        ("def f(:\n", ", line 1", "SyntaxError: invalid syntax"),
        ("\nimport nothing_of_that_name\n", ", line 2", "No module named 'nothing_of_that_name'"),
        ("import json\njson.loads('{')\n", ", line 2", "JSONDecodeError"),
        ("raise SystemExit(1)\n", ", line 1", "SystemExit: 1"),
        (HEAD, "", "it has no function or method with @kernel_function"),
        (HEAD + tool("(x) -> str"), ", line 3", "`f`: `x` has no type"),
        (HEAD + tool("(*x: int) -> str"), ", line 3", "`f`: `*x: int` is no parameter with a name"),
        (HEAD + tool("(x: Missing) -> str"), ", line 4", "name 'Missing' is not defined"),
        (HEAD + tool("(x: object.__class__) -> str"), ", line 3", "`f`: "),
        (HEAD + tool(words="pass"), ", line 3", "it has no docstring"),
        (HEAD + tool(words='"""Words."""\n    yield'), ", line 3", "must return its result"),
        (
            HEAD + tool(name="execute_python"),
            ", line 3",
            "there is a tool `execute_python` already",
        ),
        (HEAD + tool() + tool(name="F"), ", line 7", "there is a tool `F` already"),
        (HEAD + "TIMEOUT_S = 0\n" + tool(), "", "TIMEOUT_S must be a number of seconds above 0"),
        (HEAD + "TIMEOUT_S = '5'\n" + tool(), "", "TIMEOUT_S must be a number of seconds above 0"),
        (HEAD + "AT_ONCE = 0\n" + tool(), "", "AT_ONCE must be a number of calls, 1 or more"),
        (HEAD + "AT_ONCE = True\n" + tool(), "", "AT_ONCE must be a number of calls, 1 or more"),
        (HEAD + method("def __init__(self, x): pass"), ", line 3", "`x` of its constructor has no"),
        (HEAD + method("def __init__(self, x: int): pass"), ", line 3", "is a int; it can have a"),
        (HEAD + method("def __init__(self): {}['secret']"), ", line 3", "raised KeyError"),
        (
            HEAD
            + "import abc\n"
            + method("async def __aenter__(self): 1/0\nasync def __aexit__(self, *_): pass"),
            ", line 5",
            "ZeroDivisionError",
        ),
    ],
)
async def test_a_broken_one_says_where_and_why(
    write_tools: WriteTools, source: str, where: str, reason: str
) -> None:
    package = write_tools(a=HEAD + tool(name="fine"), broken=source)
    with pytest.raises(BrokenToolError) as raised:
        await names_of(package)
    assert raised.value.detail.startswith(f"{package}/broken.py{where}: ")
    assert reason in raised.value.detail
    assert "secret" not in raised.value.detail
    assert len(raised.value.detail) < 400


async def test_a_fault_in_a_helper_is_found_where_it_is(write_tools: WriteTools) -> None:
    package = write_tools(a="from . import _b\n", _b="\n\n1 / 0\n")
    with pytest.raises(BrokenToolError, match=rf"^{package}/_b.py, line 3: ZeroDivisionError"):
        await names_of(package)


SETTINGS = (
    HEAD
    + "class Own(ToolSettings):\n    tool_hosts: int\n\n"
    + method("def __init__(self, own: Own): pass")
)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "TOOL_HOSTS: is missing"),
        ("", "TOOL_HOSTS: is missing"),
        ("secret", "TOOL_HOSTS: Input should be a valid integer"),
    ],
)
async def test_a_setting_that_is_wrong_is_named_without_its_value(
    write_tools: WriteTools, monkeypatch: pytest.MonkeyPatch, value: str | None, fault: str
) -> None:
    if value is not None:
        monkeypatch.setenv("TOOL_HOSTS", value)
    with pytest.raises(SettingsError, match=fault) as raised:
        await names_of(write_tools(a=SETTINGS))
    assert "secret" not in raised.value.detail
