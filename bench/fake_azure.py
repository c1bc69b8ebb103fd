"""An Azure that costs nothing: `python -m bench.fake_azure` answers every call after a delay.

Model, session pool (TLS) and managed identity in a process of their own, so that their CPU time is
not the app's. The answers are fixed: what is measured is the app. One line of JSON on stdout says
where they are.
"""

import argparse
import asyncio
import base64
import itertools
import json
import re
import sys
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.managed_identity import ManagedIdentity
from local.serving import serve

STORAGE = "https://storage.azure.com"
# A survey says by what mark it finds its answer again (agent/session_pool/survey.py).
_MARK = re.compile(r"'mark': '(<[0-9a-f]+>)'")
_NO_FILE = base64.b64encode(zlib.compress(b'{"files": [], "count": 0, "failed": []}')).decode()
CODE = "import datetime; print(datetime.datetime.now())"
ANSWER = "It is noon."
PNG = b"\x89PNG\r\n\x1a\n"


class FakeAzure:
    """The three services and how often each was called."""

    def __init__(self, model_s: float, pool_s: float) -> None:
        """Args: the delay of a model call and of an execution, in seconds."""
        self.model_s = model_s
        self.pool_s = pool_s
        self.answer = ANSWER
        self.figures: list[dict[str, object]] = []
        self.calls = dict.fromkeys(
            ("token", "model", "execute", "survey", "delete", "telemetry"), 0
        )
        self._ids = itertools.count()
        self._identity = ManagedIdentity()

    def model(self) -> Starlette:
        """Chat completions: first a tool call, then a sentence."""
        path = "/openai/deployments/{deployment}/chat/completions"
        return Starlette(
            routes=[
                Route(path, self._complete, methods=["POST"]),
                Route("/calls", self._report),
                Route("/delays", self._set_delays, methods=["POST"]),
            ]
        )

    def pool(self) -> Starlette:
        """Both generations of the execution call, and the deletion of a session."""
        return Starlette(
            routes=[
                Route("/pool/executions", self._execute, methods=["POST"]),
                Route("/pool/code/execute", self._execute_old, methods=["POST"]),
                Route("/pool/session", self._delete, methods=["DELETE"]),
                Route("/pool/files", self._files, methods=["GET", "POST"]),
            ]
        )

    def identity(self) -> Starlette:
        """The App Service token endpoint, and the ingestion endpoint of Application Insights."""
        return Starlette(
            routes=[
                Route("/msi/token", self._token),
                Route("//v2.1/track", self._track, methods=["POST"]),
            ]
        )

    async def _track(self, request: Request) -> Response:
        self.calls["telemetry"] += 1
        items = await request.json()
        answer = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
        return JSONResponse(answer)

    async def _report(self, _: Request) -> Response:
        return JSONResponse(self.calls)

    async def _set_delays(self, request: Request) -> Response:
        body = await request.json()
        self.model_s, self.pool_s = body["model_s"], body["pool_s"]
        self.answer = " ".join(["word"] * body["words"]) if "words" in body else ANSWER
        figure = base64.b64encode(PNG + bytes(body.get("figure_bytes", 0))).decode()
        self.figures = [
            {"output_type": "display_data", "data": {"image/png": figure}, "metadata": {}}
        ] * body.get("figures", 0)
        return Response(status_code=204)

    async def _token(self, request: Request) -> Response:
        self.calls["token"] += 1
        resource = request.query_params["resource"]
        expires_on = int(time.time()) + 86400  # noqa: TID251 - App Service gives a token's end in seconds since 1970
        return JSONResponse(
            {
                # Azurite looks into it.
                "access_token": self._identity.mint(STORAGE) if resource == STORAGE else "token",
                "expires_on": str(expires_on),
                "resource": resource,
                "token_type": "Bearer",
            }
        )

    async def _complete(self, request: Request) -> Response:
        self.calls["model"] += 1
        body = await request.json()
        await asyncio.sleep(self.model_s)
        answered = body["messages"][-1]["role"] == "tool"
        common = {"id": f"c{next(self._ids)}", "created": 1, "model": "fake"}
        call = {
            "id": f"call_{next(self._ids)}",
            "type": "function",
            "function": {
                "name": body["tools"][0]["function"]["name"] if body.get("tools") else "none",
                "arguments": json.dumps({"code": CODE}),
            },
        }
        reason = "stop" if answered else "tool_calls"
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        if body.get("stream"):
            deltas: list[dict[str, object]] = (
                [{"role": "assistant", "content": word} for word in self.answer.split(" ")]
                if answered
                else [{"role": "assistant", "tool_calls": [{"index": 0, **call}]}]
            )
            return StreamingResponse(
                _stream(common, deltas, reason, usage), media_type="text/event-stream"
            )
        message: dict[str, object] = {
            "role": "assistant",
            "content": self.answer if answered else None,
        }
        if not answered:
            message["tool_calls"] = [call]
        choice = {"index": 0, "finish_reason": reason, "message": message}
        return JSONResponse(
            {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        )

    async def _execute(self, request: Request) -> Response:
        survey = _MARK.search((await request.json())["code"])
        if survey:
            self.calls["survey"] += 1
            stdout = f"{survey[1]}{_NO_FILE}{survey[1]}\n"
        else:
            self.calls["execute"] += 1
            await asyncio.sleep(self.pool_s)
            stdout = "12:00\n"
        result = {
            "stdout": stdout,
            "stderr": "",
            "executionResult": "" if survey else self.figures or "",
            "executionTimeInMilliseconds": 5,
        }
        return JSONResponse(
            {
                "id": str(next(self._ids)),
                "identifier": request.query_params["identifier"],
                "executionType": "Synchronous",
                "status": "Succeeded",
                "result": result,
            },
            headers={"x-ms-session-guid": "guid"},
        )

    async def _execute_old(self, request: Request) -> Response:
        self.calls["execute"] += 1
        await request.body()
        await asyncio.sleep(self.pool_s)
        return JSONResponse(
            {
                "$id": "1",
                "properties": {
                    "$id": "2",
                    "status": "Success",
                    "stdout": "12:00\n",
                    "stderr": "",
                    "result": "",
                    "executionTimeInMilliseconds": 5,
                },
            }
        )

    async def _files(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"value": []})
        async for _ in request.stream():
            pass
        return JSONResponse({"name": "upload", "type": "file"})

    async def _delete(self, _: Request) -> Response:
        self.calls["delete"] += 1
        return Response(status_code=204)


async def _stream(
    common: dict[str, object],
    deltas: list[dict[str, object]],
    reason: str,
    usage: dict[str, int],
) -> AsyncIterator[bytes]:
    chunk = {**common, "object": "chat.completion.chunk"}
    for delta in deltas:
        yield _event({**chunk, "choices": [{"index": 0, "delta": delta}]})
    last = {"index": 0, "delta": {}, "finish_reason": reason}
    yield _event({**chunk, "choices": [last]})
    yield _event({**chunk, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _event(chunk: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("certificate", help="PEM files for 127.0.0.1")
    parser.add_argument("key")
    arguments = parser.parse_args()
    azure, tls = FakeAzure(0, 0), (arguments.certificate, arguments.key)
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(serve(azure.model(), tls_files=tls))
        pool = await stack.enter_async_context(serve(azure.pool(), tls_files=tls))
        identity = await stack.enter_async_context(serve(azure.identity()))
        where = {
            "AZURE_OPENAI_ENDPOINT": model,
            "POOL_MANAGEMENT_ENDPOINT": f"{pool}/pool",
            "IDENTITY_ENDPOINT": f"{identity}/msi/token",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                "InstrumentationKey=10ca1000-0000-4000-8000-000000000004;"
                f"IngestionEndpoint={identity}/"
            ),
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        }
        print(json.dumps(where), flush=True)
        # Whoever started this closes its stdin to end it.
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
