"""`python bench/apps/worker_channel.py`: what an invocation costs Azure's worker besides the app.

In Azure the functions host is a process of its own, which tells the worker of each invocation in a
protobuf message over one gRPC stream and gets its answer there; local/functions_host calls the
worker's library instead. Here a host and a worker exchange messages as large, as the worker does
it: a thread reads the stream, the event loop does the work. Printed is the worker's CPU time in
milliseconds for one invocation. Runs in the environment of the apps that ours is compared with.
"""

import argparse
import asyncio
import itertools
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
from google.protobuf.struct_pb2 import Struct

WARM_UP = 200
INVOCATIONS = 2_000
_METHOD = "/FunctionRpc/EventStream"


def main() -> int:
    """Measure as the worker, or with --host be the other side."""
    parser = argparse.ArgumentParser(prog="worker_channel.py")
    parser.add_argument("--host", action="store_true")
    if parser.parse_args().host:
        _serve()
        return 0
    command = [sys.executable, __file__, "--host"]
    with subprocess.Popen(  # noqa: S603 - this file once more, as the other end of the channel
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        print(asyncio.run(_work(int(host.stdout.readline()))))
        host.stdin.close()
    return 0


def _invocation(number: int) -> Struct:
    message = Struct()
    trace = {"trace_parent": f"00-{number:032x}-{number:016x}-01", "trace_state": ""}
    message.update(
        {
            "invocation_id": f"{number:036}",
            "function_id": "f" * 36,
            "input_data": [{"name": "req", "http": {"params": {}, "url": "u" * 60}}],
            "trigger_metadata": {name: name * 40 for name in ("Headers", "Query", "sys")},
            "trace_context": {**trace, "attributes": {"ProcessId": "1", "HostInstanceId": "h"}},
        }
    )
    return message


def _serve() -> None:
    """The host: sends an invocation when it has the answer to the one before."""

    def stream(answers: Iterator[Struct], _: object) -> Iterator[Struct]:
        for number in itertools.count():
            yield _invocation(number)
            if next(answers, None) is None:
                return

    handler = grpc.stream_stream_rpc_method_handler(
        stream, Struct.FromString, Struct.SerializeToString
    )
    service, _, method = _METHOD.removeprefix("/").partition("/")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


async def _work(port: int) -> float:
    """The worker; CPU milliseconds of one invocation."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    answers: queue.Queue[Struct | None] = queue.Queue()
    began_s = took_s = 0.0

    async def invoke(message: Struct, number: int) -> None:
        nonlocal began_s, took_s
        answer = Struct()
        answer.update({"invocation_id": message["invocation_id"], "result": {"status": 1}})
        if number == WARM_UP:
            began_s = time.process_time()
        if number == WARM_UP + INVOCATIONS:
            took_s = time.process_time() - began_s
            answers.put(None)
            done.set()
        else:
            answers.put(answer)

    def read() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream = channel.stream_stream(_METHOD, Struct.SerializeToString, Struct.FromString)
            for number, message in enumerate(stream(iter(answers.get, None))):
                asyncio.run_coroutine_threadsafe(invoke(message, number), loop)

    reader = threading.Thread(target=read)
    reader.start()
    await done.wait()
    await asyncio.to_thread(reader.join)
    return took_s / INVOCATIONS * 1e3


if __name__ == "__main__":
    sys.exit(main())
