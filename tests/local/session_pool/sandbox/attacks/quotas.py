"""What Linux counts for a user: one session uses it up, and another one tries to have some.

Each pair are two programs; the second sets `won` to whether the first has left it nothing. Run as a
program by an ordinary user it tries the pairs in sessions (`plain`: without a fork server) or
`outside` of any, and prints what won, as JSON.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys

import httpx2

from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool
from tests.support.pool_client import AUDIENCE, PoolClient

_IN_FLIGHT = """
import socket
kept, sent = [], 0
try:
    while sent < 2000:
        kept.append(socket.socketpair())
        for _ in range(4):
            socket.send_fds(kept[-1][0], [b'x'], [0] * 200); sent += 200
except OSError:
    pass
"""
_SENDS = """
import socket
one, other = socket.socketpair()
try:
    socket.send_fds(one, [b'x'], [0] * 10); won = False
except OSError:
    won = True
one.close(); other.close()
"""
_PIPES = """
import ctypes, os, time
for _ in range(8):
    ends = os.pipe()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG
        kept = [os.pipe() for _ in range(200)]
        os.write(ends[1], b'x'); time.sleep(60); os._exit(0)
    os.read(ends[0], 1)
"""
_PIPE = """
import fcntl, os
ends = os.pipe()
won = fcntl.fcntl(ends[0], 1032) < 65536  # F_GETPIPE_SZ
os.close(ends[0]); os.close(ends[1])
"""
_SIGNALS = """
import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
while ctypes.CDLL(None).sigqueue(os.getpid(), 40, None) == 0:
    pass
"""
_SIGNAL = """
import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
won = ctypes.CDLL(None).sigqueue(os.getpid(), 40, None) != 0
"""
_TIMERS = """
import ctypes
libc, timer = ctypes.CDLL(None), ctypes.c_void_p()
while libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    pass
"""
_TIMER = """
import ctypes
won = ctypes.CDLL(None).timer_create(1, None, ctypes.byref(ctypes.c_void_p())) != 0
"""
QUOTAS = {
    "descriptors under way": (_IN_FLIGHT, _SENDS),
    "pages of pipes": (_PIPES, _PIPE),
    "queued signals": (_SIGNALS, _SIGNAL),
    "timers": (_TIMERS, _TIMER),
}
_UNDER_WAY = """
import socket
outer, many = socket.socketpair(), 200
while many:
    inner = socket.socketpair()
    try:
        socket.send_fds(inner[0], [b'x'], [0] * many)
        socket.send_fds(outer[0], [b'x'], [end.fileno() for end in inner])
    except OSError:
        many //= 2
    for end in inner:
        end.close()
"""
_NOT_ACCEPTED = """
import socket
server = socket.socket(socket.AF_UNIX); server.bind('\\0server'); server.listen(10)
client = socket.socket(socket.AF_UNIX); client.connect('\\0server')
try:
    while True:
        socket.send_fds(client, [b'x'], [0] * 200)
except OSError:
    pass
client.close()
"""
# Where nobody sees them.
HIDDEN = {
    "descriptors in sockets under way": (_UNDER_WAY, _SENDS),
    "descriptors for who has not accepted": (_NOT_ACCEPTED, _SENDS),
}
# What only a user of its own keeps apart; the rest Linux counts by user namespace too.
SHARED = {"descriptors under way", "pages of pipes"} | HIDDEN.keys()


def outside(first: str, second: str) -> bool:
    """Try a pair in two processes with the limits of a session."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (128, 128))
    holding = subprocess.Popen(
        [sys.executable, "-c", f"{first}\nprint(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holding:
        assert holding.stdout is not None
        holding.stdout.readline()
        program = f"{second}\nprint(won)"
        tried = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
        holding.kill()
    return tried.stdout == b"True\n"


async def inside(*, fork_server: bool) -> dict[str, tuple[bool, bool]]:
    """Try the pairs in sessions.

    Returns:
        Whether the first left the other nothing for long, and whether it was ended for it.
    """
    options = PoolOptions(preload=(), ready_sessions=1, fork_server=fork_server)
    identity = ManagedIdentity()
    tried = {}
    async with (
        SessionPool(identity.verifier(AUDIENCE), options) as pool,
        serve(pool.app) as base_url,
        httpx2.AsyncClient(base_url=base_url, timeout=60) as http,
    ):
        for name, (first, second) in (QUOTAS | HIDDEN).items():
            # The other one starts when the first has all that it can have.
            holding, other = (PoolClient(pool, http, identity) for _ in range(2))
            # While it executes it is looked at often; then now and then.
            wait = "import time; time.sleep(0.5)" if name in SHARED else ""
            said = (await holding.execute(f"{first}\n{wait}"))["result"]["stderr"]
            left = 100
            while left and (await other.result(f"{second}\nwon"))["executionResult"]:
                left -= 1
                await asyncio.sleep(0.1)
            said = said or (await holding.result("1"))["stderr"]
            tried[name] = (left == 0, "Kernel restarted" in said)
            for session in (holding, other):
                await session.request("DELETE", "session")
    return tried


if __name__ == "__main__":
    found: object
    if "outside" in sys.argv:
        found = {name: outside(*pair) for name, pair in (QUOTAS | HIDDEN).items()}
    else:
        found = asyncio.run(inside(fork_server="plain" not in sys.argv))
    print(json.dumps({"user": os.getuid(), "found": found}))
