"""`python -m tests.support.azures_worker`: the app as Azure's worker process has it.

That is Microsoft's runtime library on the event loop of the main thread, with the server of its
HTTP extension: uvicorn, which takes SIGTERM. It asks the app one question, prints the HTTP status,
and waits. In Azure a proxy does the calls that are made here; it handles no signal and no message
of the host that a worker is to end.
https://github.com/Azure/azure-functions-python-worker/tree/dev/workers/proxy_worker
"""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
import httpx2

from local.functions_host import messages
from tests.support import PROJECT

INVOCATION = "10ca1000-0000-4000-8000-00000000000a"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


async def _tell(kind: str, **fields: object) -> Any:
    request = SimpleNamespace(**{kind: SimpleNamespace(**fields)})
    properties = {"protos": messages, "host": "127.0.0.1"}
    return await getattr(runtime, kind)(
        SimpleNamespace(name=kind, request=request, properties=properties)
    )


async def _work(app_dir: Path) -> None:
    sys.path.insert(0, str(app_dir))
    runtime.start_threadpool_executor()
    directory = str(app_dir)
    init = await _tell("worker_init_request", capabilities={}, function_app_directory=directory)
    url = init.capabilities["HttpUri"]
    indexed = await _tell("functions_metadata_request")
    chat = next(f for f in indexed.function_metadata_results if f.name == "chat")
    trigger = messages.TypedData(http=messages.RpcHttp())
    invocation = asyncio.create_task(
        _tell(
            "invocation_request",
            invocation_id=INVOCATION,
            function_id=chat.function_id,
            trigger_metadata={},
            input_data=[messages.ParameterBinding(name="req", data=trigger)],
            trace_context=messages.RpcTraceContext(
                trace_parent=f"00-{TRACE_ID}-b7ad6b7169203331-01", trace_state="", attributes={}
            ),
            retry_context=messages.RetryContext(),
        )
    )
    transport = httpx2.AsyncHTTPTransport(retries=5)
    async with httpx2.AsyncClient(base_url=url, timeout=30, transport=transport) as client:
        headers = {"x-ms-invocation-id": INVOCATION}
        reply = await client.get("/api/chat", params={"input": "Hi"}, headers=headers)
    await invocation
    print(reply.status_code, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_work(PROJECT))
