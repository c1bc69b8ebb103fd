"""A user without any files, for sandboxes that root starts.

bubblewrap maps the user inside to the one who started it. For root that leaves uid 0 of the host on
files such as /proc/sys/kernel/core_pattern, and processes without a limit on their number.
"""

import os
import secrets
from collections.abc import Sequence


def choose_uid() -> int | None:
    """Return a uid (and gid) that nobody has; None when this process is not root."""
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map") as file:
        return pick(file.read().splitlines())


def pick(uid_map: Sequence[str]) -> int:
    """Choose from the range that this user namespace has.

    Args:
        uid_map: lines of /proc/self/uid_map: first uid inside, first outside, how many.
    """
    first, _, count = max((tuple(map(int, line.split())) for line in uid_map), key=lambda r: r[2])
    # High, where neither accounts nor the ranges of /etc/subuid are; a container may have less.
    low, high = (1_900_000_000, 2_000_000_000)
    if first + count <= high:
        low, high = first + count * 3 // 4, first + count - 1
    return low + secrets.randbelow(high - low)
