"""Has one session take a core by many processes, and prints what another gets of it, as JSON.

A program of its own, to run as an ordinary user. Other work may be on that core: what is printed
are parts of what the two sessions got together, first while nothing is done about it, then when
that has had its effect.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx2

from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from local.session_pool.sandbox import usage
from tests.support.pool_client import AUDIENCE, PoolClient

# With a share of its own for each where Linux gives one to what calls `setsid`.
_ONE_CORE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
_GREEDY = """
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        while True: pass
os.readlink('/proc/self/ns/pid')
"""
# So many hundredths of a second of the two together make one measurement.
_TICKS = 30
_WANTED, _WAIT_S = 0.3, 90


def ticks_of(namespace: str) -> int:
    """Return how long all that lives in a pid namespace has had the processor."""
    ticks = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/pid") == namespace:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:  # it has ended, or is another user's
            continue
    return ticks


async def share_of(namespace: str, other: str) -> float:
    """Return the part that the first gets of what both get from now on."""
    before = ticks_of(namespace), ticks_of(other)
    while True:
        await asyncio.sleep(0.1)
        got, others = ticks_of(namespace) - before[0], ticks_of(other) - before[1]
        if got + others >= _TICKS:
            return got / (got + others)


async def measured(fork_server: bool, remedy: asyncio.Event) -> dict[str, Any]:
    identity = ManagedIdentity()
    options = PoolOptions(
        fork_server=fork_server, control_groups=False, preload=(), ready_sessions=2
    )
    async with (
        SessionPool(identity.verifier(AUDIENCE), options) as pool,
        serve(pool.app) as base_url,
        httpx2.AsyncClient(base_url=base_url, timeout=240) as http,
    ):
        client = PoolClient(pool, http, identity)
        modest = client.of()
        named = await modest.result(_ONE_CORE + "os.readlink('/proc/self/ns/pid')")
        running = asyncio.create_task(modest.execute("while True: pass", timeoutInSeconds=220))
        greedy = (await client.result(_ONE_CORE + _GREEDY))["executionResult"]
        without = await share_of(named["executionResult"], greedy)
        remedy.set()
        until_s = time.monotonic() + _WAIT_S
        while (share := await share_of(named["executionResult"], greedy)) < _WANTED:
            if time.monotonic() > until_s:
                break
        await client.request("DELETE", "session")
        await modest.request("DELETE", "session")
        running.cancel()
        return {"kernels": pool.kernels, "without": without, "with": share}


async def main() -> None:
    share_processor, remedy = usage.share_processor, asyncio.Event()

    def share_when_it_is_time(pids: list[int], roots: tuple[int, ...]) -> None:
        if remedy.is_set():
            share_processor(pids, roots)

    usage.share_processor = share_when_it_is_time
    found = []
    for fork_server in (True, False):
        remedy.clear()
        found.append(await measured(fork_server, remedy))
    print(json.dumps({"user": os.getuid(), "found": found}))


if __name__ == "__main__":
    asyncio.run(main())
