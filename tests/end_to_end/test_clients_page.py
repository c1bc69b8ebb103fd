"""docs/clients.md: its programs run as they are printed, its tables are complete."""

import asyncio
import re
import sys

import pytest

from agent.http.openai.schemas import UNSUPPORTED, CompletionRequest
from agent.model.parameters import NAMES
from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.support import PROJECT
from tests.support.agui_client import install, run_node
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (PROJECT / "docs/clients.md").read_text("utf-8")


def program(language: str, host: HostProcess) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block).replace("http://localhost:7071", host.url)


async def test_its_javascript_runs(azure: SharedAzure, host: HostProcess) -> None:
    script = install().with_name("page.mjs")
    script.write_text(program("js", host))
    with azure.model.script(CallTool(code="6 * 7"), Say("It is 42.")):
        assert await run_node(script) == "It is 42. 3\n"


async def test_its_python_runs(azure: SharedAzure, host: HostProcess) -> None:
    with azure.model.script(CallTool(code="6 * 7"), Say("It is 42.")):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program("python", host)), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
    assert printed == b"It is 42."


async def test_its_table_has_every_parameter() -> None:
    rows = re.findall(r"^\| (`.*?) \| ([^|]*) \|$", PAGE.split("| Parameter |")[1], re.MULTILINE)
    names_by_reason = {reason: set(re.findall(r"`(\w+)`", names)) for names, reason in rows}
    used, tuning, unused, refused = names_by_reason.values()
    assert refused == UNSUPPORTED.keys()
    known = CompletionRequest.model_fields.keys() - {"model", "messages"}
    assert tuning - {"max_tokens"} == set(NAMES) - {"reasoning_effort"}
    assert used | tuning | unused | refused == known
