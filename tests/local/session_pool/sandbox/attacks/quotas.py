"""What Linux counts for a user: one session uses it up, and another one tries to have some.

Each pair are two programs; the second sets `won` to whether the first has left it nothing. Run as a
program it tries the pairs outside of any session and prints what won, as JSON: for an ordinary
user, since root may have more.
"""

import json
import resource
import subprocess
import sys

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


if __name__ == "__main__":
    print(json.dumps({name: outside(*pair) for name, pair in QUOTAS.items()}))
