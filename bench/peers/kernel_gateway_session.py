"""Jupyter Kernel Gateway: a kernel, then prints, then a plot; milliseconds as JSON."""

import asyncio
import json
import socket
import statistics
import sys
import time
import uuid
from typing import Any

# Installed for these programs only, see session_pool_peers.py.
from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect


async def main() -> dict[str, float]:
    """Start a gateway and measure."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kernel_gateway", f"--KernelGatewayApp.port={port}"]
    null = asyncio.subprocess.DEVNULL
    gateway = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
    try:
        http = AsyncHTTPClient()
        await ready(http, port)
        started_s = time.perf_counter()
        channel = await new_kernel(http, port)
        await execute(channel, "print(1)")
        first_print = (time.perf_counter() - started_s) * 1000
        warm = [await timed(channel, "print(1)") for _ in range(30)]
        fresh = await new_kernel(http, port)
        await execute(fresh, "1")
        return {
            "first_print": first_print,
            "warm_print": statistics.median(warm),
            "first_plot": await timed(fresh, sys.argv[1]),
        }
    finally:
        gateway.terminate()
        await gateway.wait()


async def ready(http: AsyncHTTPClient, port: int) -> None:
    """Wait until the gateway answers."""
    for _ in range(600):
        try:
            await http.fetch(f"http://127.0.0.1:{port}/api")
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    raise TimeoutError("the gateway does not answer")


async def new_kernel(http: AsyncHTTPClient, port: int) -> WebSocketClientConnection:
    """Start a kernel and return its channel."""
    made = await http.fetch(f"http://127.0.0.1:{port}/api/kernels", method="POST", body="{}")
    kernel = json.loads(made.body)["id"]
    return await websocket_connect(f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels")


async def timed(channel: WebSocketClientConnection, code: str) -> float:
    """Return the milliseconds that code takes."""
    started_s = time.perf_counter()
    await execute(channel, code)
    return (time.perf_counter() - started_s) * 1000


async def execute(channel: WebSocketClientConnection, code: str) -> None:
    """Run code; over when the kernel has replied and is idle again."""
    message_id = uuid.uuid4().hex
    header = {"msg_id": message_id, "msg_type": "execute_request", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
    message: dict[str, Any] = {"header": header, "parent_header": {}, "metadata": {}}
    await channel.write_message(json.dumps(message | {"content": content, "channel": "shell"}))
    pending = {"execute_reply", "idle"}
    while pending:
        answer = json.loads(await channel.read_message() or "null")
        if answer["parent_header"].get("msg_id") != message_id:
            continue
        pending.discard(answer["msg_type"])
        pending.discard(answer["content"].get("execution_state", ""))


print(json.dumps(asyncio.run(main())))
