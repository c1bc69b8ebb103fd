"""What a worker does until its first answer, in a process of its own: nothing that can wait."""

import asyncio
import json
import subprocess
import sys

import pytest

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.support import PROJECT

pytestmark = pytest.mark.asyncio(loop_scope="session")

# As function_app.py and the worker do it; then what is loaded.
FIRST_ANSWER = """
import asyncio, gc, json, sys, threading

collected_in = []
gc.callbacks.append(lambda *_: collected_in.append(threading.current_thread().name))

import function_app
from starlette.requests import Request

async def answer():
    query = b"input=What+is+1+%2B+1%3F"
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": []}
    dispatch = await asyncio.wrap_future(function_app._dispatch)
    answered = await dispatch("chat", Request(scope, asyncio.Event().wait), sign_in_required=False)
    modules = sorted(sys.modules)
    body = json.loads(answered.body)
    print(json.dumps([body["output"], modules, sorted({*collected_in}), gc.isenabled()]))

asyncio.run(answer())
"""


async def test_the_first_answer_loads_nothing_that_it_does_not_need(azure: SharedAzure) -> None:
    with azure.model.script(CallTool(code="1 + 1"), Say("Two.")):
        finished = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", FIRST_ANSWER],
            cwd=PROJECT,
            env=azure.stack.app_settings,
            capture_output=True,
            text=True,
            check=True,
        )
    output, modules, collected_in, collects = json.loads(finished.stdout)
    assert output == "Two."
    assert "agent.http.chat" in modules
    unused = (
        "agent.http.openai",
        "agent.http.openapi",
        "agent.http.page",
        "azure.identity.aio._credentials.on_behalf_of",
        "ctypes",
        "cryptography.x509.",
        "httpcore2",
        "openai.providers.bedrock",
        "opentelemetry.sdk",
        "requests",
        "semantic_kernel.template_engine",
    )
    assert [name for name in modules if name.startswith(unused)] == []
    # Collections would walk all that is imported, which stays.
    assert "import-agent_0" not in collected_in
    assert collects
