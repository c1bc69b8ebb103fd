"""Users without any files, for sandboxes that root starts: one for each session.

bubblewrap maps the user inside to the one who started it. For root that leaves uid 0 of the host on
files such as /proc/sys/kernel/core_pattern, and processes without a limit on their number. What
Linux counts by user (descriptors under way in sockets, pages of pipes, places in epoll) it counts
for each session alone.
"""

import os
import secrets
from collections import deque
from collections.abc import Sequence

from local.session_pool.sandbox.kernel_process import KernelStartError

# More sessions than can be alive at once.
_COUNT = 4096
# The first is root of the fork server's namespace and does nothing, the second runs the server.
_OWN = 2
# Who these are inside the fork server's sandbox; then come the sessions'.
_ROOT_INSIDE, _SERVER_INSIDE, _SESSIONS_INSIDE = 0, 1000, 1001


class ThrowawayUsers:
    """A range of uids (and gids) that nobody has."""

    def __init__(self, first: int, count: int) -> None:
        self.server = first + 1
        self._first = first
        self._free = deque(range(first + _OWN, first + count))
        self.uid_map = (
            f"{_ROOT_INSIDE} {first} 1\n{_SERVER_INSIDE} {self.server} 1\n"
            f"{_SESSIONS_INSIDE} {first + _OWN} {count - _OWN}\n"
        )

    @classmethod
    def find(cls) -> "ThrowawayUsers | None":
        """Return a range for this process; None when it is not root."""
        if os.geteuid() != 0:
            return None
        with open("/proc/self/uid_map") as file:
            return cls(*pick(file.read().splitlines()))

    def take(self) -> int:
        """Return a user whom no other session has; raises `KernelStartError`."""
        if not self._free:
            raise KernelStartError("no user is free for another session")
        return self._free.popleft()

    def give_back(self, uid: int) -> None:
        """Nothing runs as this user any more."""
        self._free.append(uid)

    def inside(self, uid: int) -> int:
        """Return who `uid` is in the fork server's sandbox."""
        return uid - self._first - _OWN + _SESSIONS_INSIDE


def pick(uid_map: Sequence[str]) -> tuple[int, int]:
    """Choose from the range that this user namespace has: the first uid, and how many.

    Args:
        uid_map: lines of /proc/self/uid_map: first uid inside, first outside, how many.
    """
    first, _, count = max((tuple(map(int, line.split())) for line in uid_map), key=lambda r: r[2])
    # High, where neither accounts nor the ranges of /etc/subuid are; a container may have less.
    low, high = (1_900_000_000, 2_000_000_000)
    if first + count <= high:
        low, high = first + count * 3 // 4, first + count - 1
    size = min(_COUNT, high - low)
    return low + secrets.randbelow(high - low - size + 1), size
