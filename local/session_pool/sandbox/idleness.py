"""Whether a kernel waits for its next cell, as the kernel of the machine sees it.

A reply is bytes that code of the session can write as well; what its main thread waits for is not.
"""

import os
from pathlib import Path
from typing import Literal

from local.session_pool.sandbox.guest.frames import REQUESTS

# read, epoll_wait, epoll_pwait, epoll_pwait2: between cells it reads, or runs its event loop.
_READ = {"x86_64": "0", "aarch64": "63"}
_POLLS = {"x86_64": ("232", "281", "441"), "aarch64": ("22", "441")}

State = Literal["idle", "busy", "gone"]


def state_of(pid: int) -> State:
    """Return what the main thread of a kernel does; may block for as long as it is in exec."""
    machine = os.uname().machine
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
    except PermissionError:  # a container without the right to look: its state alone
        return _coarse_state_of(pid)
    except OSError:
        return "gone"
    reads = call[0] == _READ[machine] and int(call[1], 16) == REQUESTS
    return "idle" if reads or call[0] in _POLLS[machine] else "busy"


def _coarse_state_of(pid: int) -> State:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
    return "idle" if state == "S" else "busy"
