"""A function app that shows what its host hands it."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
from azurefunctions.extensions.http.fastapi import (
    JSONResponse,
    Request,
    Response,
    StreamingResponse,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
anonymous = func.AuthLevel.ANONYMOUS
released = asyncio.Event()
blocked_threads: list[Request] = []


@app.route("hello", methods=["GET", "POST"])
async def hello(req: Request) -> JSONResponse:
    return JSONResponse({"method": req.method, "query": dict(req.query_params)})


@app.route("open", methods=["GET"], auth_level=anonymous)
async def open_to_all(req: Request) -> JSONResponse:
    return JSONResponse("open")


@app.route("master", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
async def master(req: Request) -> JSONResponse:
    return JSONResponse("admin")


@app.route("items/{number:int}", methods=["GET"])
async def item_by_number(req: Request) -> JSONResponse:
    return JSONResponse({"number": req.path_params["number"]})


@app.route("items/{name}", methods=["GET"])
async def item_by_name(req: Request) -> JSONResponse:
    return JSONResponse({"name": req.path_params["name"]})


@app.route("items/special", methods=["GET"])
async def special_item(req: Request) -> JSONResponse:
    return JSONResponse("special")


@app.route("settings/{name}", methods=["GET"])
async def setting(req: Request) -> JSONResponse:
    return JSONResponse(os.environ.get(req.path_params["name"]))  # noqa: TID251 - the route tells a test which settings the host has given its app


@app.route("headers", methods=["GET"])
async def headers(req: Request, context: func.Context) -> JSONResponse:
    trace = context.trace_context
    return JSONResponse(
        {
            "headers": dict(req.headers),
            "invocation_id": context.invocation_id,
            "trace": [trace.trace_parent, trace.trace_state],
        }
    )


@app.route("digest", methods=["POST"])
async def digest(req: Request) -> JSONResponse:
    total = hashlib.sha256()
    async for chunk in req.stream():
        total.update(chunk)
    return JSONResponse(total.hexdigest())


@app.route("raises", methods=["GET"])
async def raises(req: Request) -> JSONResponse:
    raise ValueError("the function's own trouble")


@app.route("breaks", methods=["GET"])
async def breaks(req: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[str]:
        yield "first\n"
        raise ValueError("in the middle of the stream")

    return StreamingResponse(chunks())


@app.route("events", methods=["GET"])
async def events(req: Request) -> StreamingResponse:
    """Send one line, and the second only once `release` was called."""

    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await released.wait()
        yield "second\n"

    return StreamingResponse(lines())


@app.route("release", methods=["POST"])
async def release(req: Request) -> Response:
    released.set()
    return Response(status_code=204)


@app.route("hangs", methods=["GET"])
async def hangs(req: Request) -> StreamingResponse:
    """Send one line and nothing more; when it is closed, say so in a file."""

    async def lines() -> AsyncIterator[str]:
        try:
            yield "first\n"
            await asyncio.Event().wait()
        finally:
            Path(req.query_params["hang_up_file"]).write_text("closed")  # noqa: ASYNC240 - one word, of a generator that is being closed: what it awaits could be cancelled again

    return StreamingResponse(lines())


@app.route("blocked", methods=["GET"])
async def blocked(req: Request) -> JSONResponse:
    return JSONResponse(len(blocked_threads))


@app.route("blocking", methods=["GET"])
def blocking(req: Request) -> JSONResponse:
    blocked_threads.append(req)
    time.sleep(float(req.query_params["seconds"]))
    return JSONResponse("done")
