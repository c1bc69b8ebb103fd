"""`make run TRACE=1`: each turn of the running app as a tree; what is left is sent at the stop."""

import asyncio
import json
import re
from pathlib import Path

import httpx2
import pytest

from local.azure_openai import CallTool, Failed, Say
from local.tracing import tracing
from tests.conftest import SharedAzure
from tests.support import PROJECT
from tests.support.functions_host import host_process

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_turn_is_shown_as_a_tree_when_the_app_is_told_to_stop(
    azure: SharedAzure, tmp_path: Path
) -> None:
    shown: asyncio.Queue[str] = asyncio.Queue()
    file = tmp_path / "telemetry.jsonl"
    file.write_text("of an earlier start\n")
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with tracing(azure.stack.identity, shown.put_nowait, file) as settings:
        environment = {**azure.stack.app_settings, **settings, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        with (
            host_process(PROJECT, environment=environment) as host,
            azure.model.script(CallTool(code="6 * 7"), Say("It is 42.")),
        ):
            await asyncio.to_thread(host.wait_until_ready)
            async with httpx2.AsyncClient(base_url=host.url, timeout=30) as client:
                reply = await client.get(
                    "/api/chat",
                    params={"input": "private-question"},
                    headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
                )
                assert reply.json()["output"] == "It is 42."
                azure.stack.openai.faults.inject(Failed(status=404))
                no_trace = {"traceparent": f"ff-{trace_id}-b7ad6b7169203331-01"}
                asked = client.get("/api/chat", params={"input": "Hi"}, headers=no_trace)
                problem = (await asked).json()
            assert await asyncio.to_thread(host.stop) == 0
        tree = await asyncio.wait_for(shown.get(), 10)
        failed = await asyncio.wait_for(shown.get(), 10)
    lines = [
        re.sub(r"\s+\d+\.\d ms|tokens in .*| retry \d", "", line).rstrip()
        for line in tree.splitlines()
    ]
    model = azure.stack.openai.deployment
    assert lines[:7] == [
        f"trace {trace_id}",
        "invoke_agent code-interpreter  outcome stop,",
        f"├─ chat {model}",
        "│  └─ get token",
        "├─ execute_tool execute_python  status Succeeded",
        "│  ├─ get token",
        "│  └─ POST executions  HTTP 200",
    ]
    # What the caller was told finds the trace, also where its own header was none.
    assert problem["operation_id"] != trace_id
    assert failed.splitlines()[0] == f"trace {problem['operation_id']}"
    assert f"outcome failed, error {problem['code']}" in failed.splitlines()[1]
    assert failed.splitlines()[-1].strip().startswith("└─ POST chat/completions")
    assert "error 404, HTTP 404" in failed
    sent = file.read_text()
    assert "private-question" not in sent
    assert all(json.loads(line)["iKey"] for line in sent.splitlines())
