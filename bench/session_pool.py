"""The session pool against its targets, and beside other ways to run code that a model wrote.

The pool runs as its users start it, in a process of its own, and is called over HTTP on kept
connections. Figures of the sandbox alone (new sessions, memory, killing) are taken without HTTP.
Peers are measured only where they are installed: `--install-peers` does that, into .local/.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import session_pool_peers
from bench.judging import OtherWork, verdict
from bench.session_pool_peers import SCIENCE, Peer
from local.session_pool import PoolOptions, SessionLimits, prepare_session_image
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.kernel_process import KernelProcess
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.start import SandboxStarter

ROOT = Path(__file__).parents[1]
VERSION = "2025-10-02-preview"
AUDIENCE = "https://dynamicsessions.io"
FORK_BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
UNSTOPPABLE = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: what it is, with its unit.
        value: in that unit.
        at_most: the target; None where there is none.
    """

    name: str
    value: float
    at_most: float | None

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.at_most is None or self.value <= self.at_most


@dataclass
class Client:
    """Calls the pool from one thread, on one connection."""

    endpoint: str
    token: str
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex)
    _connection: http.client.HTTPConnection | None = None

    def another(self) -> "Client":
        """The same pool, another session, the same connection."""
        return Client(self.endpoint, self.token, _connection=self._connected())

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the status and the parsed answer."""
        url = urllib.parse.urlsplit(self.endpoint)
        connection = self._connected()
        connection.request(
            method,
            f"{url.path}/{path}?api-version={VERSION}&identifier={self.identifier}",
            body=json.dumps(body) if body is not None else None,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        content = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return json.loads(content) if content else None

    def execute(self, code: str, timeout_s: int = 60) -> Any:
        """Run code; the value is the answer."""
        return self.request("POST", "executions", {"code": code, "timeoutInSeconds": timeout_s})

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            url = urllib.parse.urlsplit(self.endpoint)
            self._connection = http.client.HTTPConnection(url.netloc, timeout=120)
        return self._connection


def main() -> int:
    """Measure, print the table; see `verdict` for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.session_pool", description=__doc__)
    parser.add_argument("--install-peers", action="store_true", help="install the peers first")
    if parser.parse_args().install_peers:
        session_pool_peers.install()
    prepare_session_image(print)
    machine = OtherWork()
    figures = [*_over_http(), *asyncio.run(_of_the_sandbox())]
    other_cores = machine.cores()
    _print_figures(figures)
    ours = {figure.name: figure.value for figure in figures}
    _print_peers(session_pool_peers.measure(), ours)
    return verdict(met=all(figure.holds for figure in figures), other_cores=other_cores)


def _over_http() -> Iterator[Figure]:
    with _running_pool() as (client, ready_s):
        yield Figure("start to ready, s", ready_s, 2)
        time.sleep(1)
        yield Figure(
            "allocate over HTTP, p95 ms",
            _p95(_spaced(lambda: client.another().request("GET", "files"), 40)),
            5,
        )
        client.execute("1")
        warm = [_timed(lambda: client.execute("print(1)")) for _ in range(300)]
        yield Figure("warm print over HTTP, p50 ms", statistics.median(warm), 4)
        yield Figure("warm print over HTTP, p95 ms", _p95(warm), None)
        prints = _spaced(lambda: client.another().execute("print(1)"), 20)
        yield Figure("first print of a session, p50 ms", statistics.median(prints), None)
        science = _spaced(lambda: client.another().execute(SCIENCE), 15)
        yield Figure("first numpy+pandas+plot, p50 ms", statistics.median(science), 150)
        again = [_timed(lambda: client.execute(SCIENCE)) for _ in range(6)]
        yield Figure("repeated numpy+pandas+plot, p50 ms", statistics.median(again[1:]), None)
        over = _timed(lambda: client.execute("while True: pass", 1)) / 1000 - 1
        yield Figure("timeout of a loop: answered after, s", over, 0.2)
        over = _timed(lambda: client.execute(UNSTOPPABLE, 1)) / 1000 - 1
        yield Figure("timeout of what ignores SIGINT: after, s", over, 2.2)
    with _running_pool() as (client, _):
        clients = [Client(client.endpoint, client.token) for _ in range(200)]
        with ThreadPoolExecutor(100) as threads:
            alive_s = _timed(lambda: list(threads.map(lambda c: c.execute("x = 1"), clients)))
            alive = len(client.request("GET", "listSessions")["sessions"])
            yield Figure(f"{alive} sessions alive, s to get there", alive_s / 1000, None)
            took = _timed(lambda: list(threads.map(lambda c: c.execute("x + 1"), clients[:100])))
            yield Figure("100 sessions print at once, s", took / 1000, None)


async def _of_the_sandbox() -> list[Figure]:
    figures = []
    runtime = GuestRuntime.of_this_interpreter(await asyncio.to_thread(prepare_session_image))
    starter = SandboxStarter(runtime, SessionLimits())
    source = ForkServerKernels(starter, PoolOptions().preload)
    await source.start()
    kernels: list[KernelProcess] = []
    spawned = []
    for _ in range(40):
        started_s = time.perf_counter()
        kernels.append(await source.spawn())
        spawned.append((time.perf_counter() - started_s) * 1000)
    figures.append(Figure("new session with libraries, p50 ms", statistics.median(spawned), 20))
    figures.append(Figure("new session with libraries, p95 ms", _p95(spawned), 35))
    idle = statistics.mean(_private_mib(kernel) for kernel in kernels[:-1])
    figures.append(Figure("idle session, MiB of its own", idle, 4))
    figures.append(Figure("kill, all gone, p95 ms", _p95([await _kill(k) for k in kernels]), 100))
    await asyncio.sleep(1)  # the kernel still takes forty network namespaces apart
    bombs = []
    for _ in range(5):
        kernel = await source.spawn()
        bomb = asyncio.ensure_future(kernel.execute(FORK_BOMB))
        await asyncio.sleep(0.5)
        bombs.append(await _kill(kernel))
        await asyncio.gather(bomb, return_exceptions=True)
    figures.append(Figure("kill a fork bomb, all gone, ms", statistics.median(bombs), 100))
    await source.close()
    starter.close()
    return figures


@contextlib.contextmanager
def _running_pool() -> Iterator[tuple[Client, float]]:
    """The pool as a command; a client for it, and how long its start took."""
    command = [sys.executable, "-m", "local.session_pool", "--port", "0", "--identity-port", "0"]
    started_s = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - the pool's own command with the options that stand here
        [*command, "--max-sessions", "400"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        output = ""
        while "Ctrl-C" not in output:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(f"the pool did not start: {output}")
            output += line
        ready_s = time.perf_counter() - started_s
        drain = ThreadPoolExecutor(1)
        drain.submit(process.stdout.read if process.stdout else bytes)
        settings = dict(re.findall(r"([A-Z_]+)=(\S+)", output))
        yield Client(settings["POOL_MANAGEMENT_ENDPOINT"], _token(settings)), ready_s
        process.send_signal(signal.SIGINT)
        process.wait(30)
        drain.shutdown()


def _token(settings: dict[str, str]) -> str:
    url = urllib.parse.urlsplit(settings["IDENTITY_ENDPOINT"])
    connection = http.client.HTTPConnection(url.netloc)
    query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": AUDIENCE})
    connection.request(
        "GET", f"{url.path}?{query}", headers={"X-IDENTITY-HEADER": settings["IDENTITY_HEADER"]}
    )
    token: str = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return token


async def _kill(kernel: KernelProcess) -> float:
    started_s = time.perf_counter()
    await kernel.kill()
    took_ms = (time.perf_counter() - started_s) * 1000
    kernel.close()
    return took_ms


def _private_mib(kernel: KernelProcess) -> float:
    """Memory that one session has for itself: what the fork server shares counts for nobody."""
    kib = 0
    for pid in kernel.pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                kib += int(line.split()[1])
    return kib / 1024


def _spaced(call: Callable[[], object], times: int) -> list[float]:
    """Time calls with pauses in which the pool gets new sessions ready."""
    durations = []
    for _ in range(times):
        time.sleep(0.06)
        durations.append(_timed(call))
    return durations


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return (time.perf_counter() - started_s) * 1000


def _p95(values: list[float]) -> float:
    return sorted(values)[round(0.95 * (len(values) - 1))]


def _print_figures(figures: list[Figure]) -> None:
    print("\n| session pool | measured | target |\n|---|---|---|")
    for figure in figures:
        target = f"≤ {figure.at_most:g}" if figure.at_most is not None else ""
        mark = "" if figure.holds else ", MISSED"
        print(f"| {figure.name} | {figure.value:.2f} | {target}{mark} |")


def _print_peers(peers: list[Peer], ours: dict[str, float]) -> None:
    rows = [
        Peer(
            "this pool",
            ours["first print of a session, p50 ms"],
            ours["warm print over HTTP, p50 ms"],
            ours["first numpy+pandas+plot, p50 ms"],
            "isolated, keeps state",
        ),
        *peers,
    ]
    print("\n| ms (median) | first print | warm print | first plot | |\n|---|---|---|---|---|")
    for row in rows:
        values = (row.first_print_ms, row.warm_print_ms, row.first_plot_ms)
        cells = " | ".join("" if value is None else f"{value:.1f}" for value in values)
        print(f"| {row.name} | {cells} | {row.note} |")


if __name__ == "__main__":
    sys.exit(main())
