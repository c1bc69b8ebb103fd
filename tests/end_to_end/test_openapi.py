"""The description of the API against the running app: schemathesis finds where they differ."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.support import PROJECT
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOOKS = "tests.end_to_end.schemathesis_hooks"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
ANY_ID = "0" * 32


@pytest_asyncio.fixture(loop_scope="session")
async def document(api: httpx2.AsyncClient) -> dict[str, Any]:
    reply = await api.get("/openapi.json")
    assert reply.headers["content-type"] == "application/json"
    described: dict[str, Any] = reply.json()
    return described


async def schemathesis(folder: Path, host: HostProcess, *options: str, config: str = "") -> None:
    """Run it; whatever it finds fails the test."""
    (folder / "schemathesis.toml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{host.url}/api/openapi.json",
        *("--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS)),
        # A random case takes ten times as long as one of the two thousand of the phase before.
        *("--max-examples", "4"),
        *("--seed", "1", "--no-color", "--continue-on-failure", *options),
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT), "SCHEMATHESIS_HOOKS": HOOKS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert re.search(r"\d{2,} generated", output.decode()), "it tried nothing"


async def test_every_route_is_described_and_nothing_else(
    host: HostProcess, document: dict[str, Any]
) -> None:
    served = set(re.findall(r"^\t\w+: \[\S+\] \S+?/api(/\S+)$", host.output, re.MULTILINE))
    # A page for people is no operation of the API.
    served -= {"/ui", "/ui/{asset}"}
    # The name of a file may have slashes, for which OpenAPI has no notation.
    assert document["paths"].keys() == {path.replace("{*", "{") for path in served}


async def test_only_the_probe_for_life_needs_no_key(document: dict[str, Any]) -> None:
    open_ = [
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") == []
    ]
    assert open_ == ["/health/live"]
    assert document["security"] == [{"function_key": []}, {"code": []}]


async def test_every_method_is_described_and_nothing_else(
    api: httpx2.AsyncClient, document: dict[str, Any]
) -> None:
    assert "/chat" in document["paths"]
    for path, operations in document["paths"].items():
        refused = await api.patch(path.format(conversation_id=ANY_ID, name="a.csv"))
        assert refused.status_code == 405, path
        allowed = refused.headers["allow"].lower().split(", ")
        assert sorted(allowed) == sorted(operations), path


async def test_whatever_is_sent_the_answer_is_as_described(
    host: HostProcess, document: dict[str, Any], tmp_path: Path
) -> None:
    await schemathesis(tmp_path, host)


async def test_a_conversation_and_its_files_are_as_described(
    api: httpx2.AsyncClient, host: HostProcess, document: dict[str, Any], tmp_path: Path
) -> None:
    started = await api.post("/chat", json={"input": "Hi", "conversation_id": "new"})
    conversation_id = started.json()["conversation_id"]
    files = {"file": ("data.csv", b"a,b\n1,2\n")}
    uploaded = await api.post(f"/conversations/{conversation_id}/files", files=files)
    assert uploaded.status_code == 201
    known = f"""
        [parameters]
        "path.conversation_id" = "{conversation_id}"
        "path.name" = "data.csv"
    """
    only = ("--include-path-regex", "^/conversations/", "--exclude-method", "DELETE")
    await schemathesis(tmp_path, host, *only, config=known)
