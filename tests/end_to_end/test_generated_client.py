"""The description of the API as a generator of clients reads it: openapi-python-client."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from local.azure_openai import CallTool, Say
from local.defaults import DEPLOYMENT
from tests.conftest import SharedAzure
from tests.support import PROJECT
from tests.support.functions_host import HostProcess
from tests.support.installation import python_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

REQUIREMENTS = PROJECT / "tests/support/openapi_client.txt"
USE = Path(__file__).with_name("openapi_client") / "use.py"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def document(host: HostProcess) -> dict[str, Any]:
    async with httpx2.AsyncClient() as client:
        described: dict[str, Any] = (await client.get(f"{host.url}/api/openapi.json")).json()
    return described


async def run(*command: str | Path, path: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={"PATH": os.defpath, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, stderr.decode()[-3000:]
    return stdout.decode()


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """All schemas of a description, wherever they are."""
    match value:
        case dict():
            if isinstance(value.get("title"), str):
                yield value
            for inner in value.values():
                yield from schemas_in(inner)
        case list():
            for inner in value:
                yield from schemas_in(inner)


async def test_no_two_schemas_share_a_title(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    assert len(components) > 20
    assert {name: schema["title"] for name, schema in components.items()} == {
        name: name for name in components
    }
    # The API's own title is one too.
    titles = Counter(schema["title"] for schema in schemas_in(document))
    assert set(titles.values()) == {1}


async def test_a_generated_client_has_every_operation_and_works(
    azure: SharedAzure, host: HostProcess, document: dict[str, Any], tmp_path: Path
) -> None:
    packages = str(await asyncio.to_thread(python_packages, "openapi-client", REQUIREMENTS))
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "config.yml").write_text("post_hooks: []")
    client = tmp_path / "agent_api"
    log = await run(
        *("-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--path", tmp_path / "openapi.json", "--config", tmp_path / "config.yml"),
        *("--output-path", client, "--fail-on-warning"),
        path=packages,
    )
    assert "WARNING" not in log
    operations = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    generated = {file.stem for file in (client / "api/default").glob("*.py")} - {"__init__"}
    assert generated == {name.lower().replace(".", "_") for name in operations}
    answers = (
        Say("The first."),
        CallTool(code="print(open('/mnt/data/data.csv').read())"),
        Say("The second."),
        Say("The third."),
    )
    with azure.model.script(*answers):
        printed = await run(
            USE, f"{host.url}/api", DEPLOYMENT, path=f"{packages}{os.pathsep}{tmp_path}"
        )
    assert json.loads(printed) == {
        "question": "The first.",
        "uploaded": [["data.csv", "text/csv", 8]],
        "answer": "The second.",
        "executions": [["Succeeded", "a,b\n1,2\n\n"]],
        "turns": [["Two?", "The second."]],
        "files": ["data.csv"],
        "content": "a,b\n1,2\n",
        "missing": ["ConversationNotFound", 404],
        "models": [DEPLOYMENT],
        "model": DEPLOYMENT,
        "completion": "The third.",
    }
