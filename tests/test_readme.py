"""What the README says is so: commands work, tables are complete, links lead somewhere."""

import asyncio
import importlib.util
import json
import os
import pkgutil
import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

import function_app
from agent import tools
from agent.settings import Settings
from agent.toolkit.authoring import ToolSettings
from tests.support.functions_host import HostProcess

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text("utf-8")
PAGES = [
    str(path.relative_to(PROJECT))
    for folder in (".", ".github", "docs")
    for path in sorted((PROJECT / folder).glob("*.md"))
]
FOLDERS = ("agent", "bench", ".devcontainer", "docs", ".github", "infra", "local", "page", "tests")
# What docs/extend.md has its reader write.
OF_THE_READER = {
    *("agent/instructions.md", "agent/tools/orders.py", "tests/agent/tools/test_orders.py")
}
CURL_BLOCKS = [b for b in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "curl" in b]


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("block", CURL_BLOCKS, ids=range(len(CURL_BLOCKS)))
async def test_its_commands_work(block: str, host: HostProcess) -> None:
    script = block.replace("http://localhost:7071", host.url).replace("curl ", "curl -sS --fail ")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    answer = out.decode()
    if answer.startswith("data:"):
        assert '"RUN_FINISHED"' in answer
    else:
        last = json.loads("{" + answer.rpartition('{"output"')[2].join(['"output"', ""]))
        assert last["executions"][0]["status"] == "Succeeded"


def settings() -> dict[str, FieldInfo]:
    """The app settings by name: the app's, and those of the tools that come with it."""
    names = [info.name for info in pkgutil.iter_modules(tools.__path__)]
    modules = [importlib.import_module(f"agent.tools.{name}") for name in names]
    own = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ToolSettings) and value is not ToolSettings
    ]
    classes: list[type[BaseSettings]] = [Settings, *own]
    return {n.upper(): f for cls in classes for n, f in cls.model_fields.items()}


def test_its_settings_are_those_that_the_app_reads() -> None:
    documented = {cells[0].strip("`"): cells[1].strip("`") for cells in rows("App settings")}
    assert documented == {name: default_of(field) for name, field in settings().items()}


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return {"None": "none", "False": "false", "True": "true"}.get(
        str(field.default), str(field.default)
    )


def test_its_routes_are_those_of_the_app() -> None:
    documented = {
        path.partition("?")[0].removeprefix("/api/")
        for cells in rows("Routes")
        for path in re.findall(r"/api/[^`\s]+", cells[0])
    }
    functions = function_app.app.get_functions()
    triggers = [function.get_trigger() for function in functions]
    routes = {trigger.get_dict_repr()["route"].replace("*", "") for trigger in triggers if trigger}
    assert documented == routes


def test_its_example_settings_file_has_only_known_names() -> None:
    values = json.loads((PROJECT / "local.settings.json.example").read_text())["Values"]
    assert values.keys() - settings().keys() == {
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
        "FUNCTIONS_WORKER_RUNTIME",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
    }


def test_a_heading_is_linked_as_github_names_it() -> None:
    assert anchors("# A `path/to`\n## It's here, twice\n## It's here, twice") == {
        "a-pathto",
        "its-here-twice",
        "its-here-twice-1",
    }


def anchors(page: str) -> set[str]:
    """What a link to the page may have after its `#`."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]+))?\)", text)
    targets += [(path, "") for path in re.findall(r'(?:src|srcset)="([^"]+)"', text)]
    for path, anchor in targets:
        target = (PROJECT / page).parent / path if path else PROJECT / page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text("utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_files_that_it_names_are_there(page: str) -> None:
    text = (PROJECT / page).read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", text))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    for module in re.findall(r"python3? -m ((?:bench|local|tests)[\w.]*\w)", text):
        assert importlib.util.find_spec(module), module
    assert [path for path in named - OF_THE_READER if not (PROJECT / path).exists()] == []
