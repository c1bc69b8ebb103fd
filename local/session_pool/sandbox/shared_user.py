"""What sessions of one user take from each other: descriptors under way in sockets, pages of pipes.

Root gives each session a user of its own; an ordinary user's have theirs together.
"""

import contextlib
import errno
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.sandbox.usage import GONE, threads_of

# As a session does it: exits with the error.
_SEND = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({open_files}, {open_files}))
one, other = socket.socketpair()
try:
    socket.send_fds(one, [b"x"], [0])
except OSError as error:
    sys.exit(error.errno)
"""
_TRY_EVERY_S, _TRY_TIMEOUT_S = 1, 10

Roots = tuple[int, int]


class SharedUser:
    """Looks for sessions that take more than their share."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        # Where descriptors were under way at the last look.
        self._sending: set[Roots] = set()
        self._tried_s = -math.inf

    def forget_all_but(self, sessions: set[Roots]) -> None:
        """The others have ended."""
        self._sending &= sessions

    def takes_too_much(self, roots: Roots, pids: list[int]) -> bool:
        """Look at all descriptors of a session.

        What waits in a socket that waits itself cannot be seen: so any is too much where it stays
        and nobody can send more.

        Args:
            roots: its pid 1, which has none, and its kernel.
            pids: all of its processes.
        """
        try:
            sockets = Path(f"/proc/{roots[1]}/net/unix").read_text().splitlines()[1:]
        except GONE:
            return False
        # Before the descriptors: what is opened meanwhile is not looked for. A connection that
        # nobody has accepted has the number 0.
        listed = [f"socket:[{each.split()[6]}]" for each in sockets]
        opened: dict[str, str] = {}
        closed_processes = 0
        for pid in pids:
            if pid == roots[0]:
                continue
            try:
                opened.update(_descriptors_of(pid))
            except PermissionError:  # it does not let itself be looked at
                closed_processes += 1
        # All that such a process has open may be pipes.
        pipes = sum(each.startswith("pipe:") for each in opened)
        pipes += closed_processes * self._limits.open_files // 2
        seen = sum(_waiting(opened[each]) for each in opened if each.startswith("socket:"))
        if seen > self._limits.under_way or pipes > self._limits.pipes:
            return True
        was_sending = roots in self._sending
        self._sending.discard(roots)
        if seen or any(each not in opened for each in listed):
            self._sending.add(roots)
            return was_sending and self._is_used_up()
        return False

    def _is_used_up(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._tried_s < _TRY_EVERY_S:
            return False
        self._tried_s = now_s
        program = _SEND.format(open_files=self._limits.open_files)
        sent = subprocess.run(  # noqa: S603 - the code above, with one number put into it
            [sys.executable, "-I", "-S", "-c", program],
            timeout=_TRY_TIMEOUT_S,
            check=False,
            env={},
        )
        return sent.returncode == errno.ETOOMANYREFS


def _descriptors_of(pid: int) -> Iterator[tuple[str, str]]:
    """Yield what each is, and where in /proc more is told; a thread may have descriptors alone."""
    for task in threads_of(pid):
        with contextlib.suppress(*GONE):
            for number in os.listdir(f"/proc/{pid}/task/{task}/fd"):
                with contextlib.suppress(*GONE):
                    link = os.readlink(f"/proc/{pid}/task/{task}/fd/{number}")
                    yield link, f"/proc/{pid}/task/{task}/fdinfo/{number}"


def _waiting(details: str) -> int:
    """Return how many descriptors wait in a Unix socket; before Linux 5.6 none can be seen."""
    with contextlib.suppress(*GONE):
        for line in Path(details).read_text().splitlines():
            if line.startswith("scm_fds:"):
                return int(line.split()[1])
    return 0
