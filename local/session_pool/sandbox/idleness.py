"""Whether a kernel waits for its next cell, as the kernel of the machine sees it.

A reply is bytes that code of the session can write as well; what its main thread waits for is not.
"""

import contextlib
import os
from pathlib import Path
from typing import Literal

from local.session_pool.sandbox.guest.frames import REQUESTS
from local.session_pool.sandbox.usage import GONE

# read, epoll_wait, epoll_pwait, epoll_pwait2: between cells it reads, or runs its event loop.
_READ = {"x86_64": "0", "aarch64": "63"}
_POLLS = {"x86_64": ("232", "281", "441"), "aarch64": ("22", "441")}
# The same by the functions of Linux in which a thread sleeps then; their names change.
_WAITING = {b"pipe_read", b"anon_pipe_read", b"ep_poll", b"do_epoll_wait"}

State = Literal["idle", "busy", "gone"]


class Idleness:
    """Looks at the main thread of one kernel."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._wchan: int | None = None
        with contextlib.suppress(OSError):  # gone already, or a Linux without it
            self._wchan = os.open(f"/proc/{pid}/wchan", os.O_RDONLY | os.O_CLOEXEC)

    def waits(self) -> bool:
        """Look for two microseconds; False where that does not tell.

        Unlike what `look` reads this takes no lock that a session can hold.
        """
        try:
            return self._wchan is not None and os.pread(self._wchan, 64, 0) in _WAITING
        except OSError:
            return False

    def look(self) -> State:
        """Return what it does; may block for as long as it is in exec.

        Raises:
            OSError: that cannot be seen, for any other reason than that it has ended.
        """
        machine = os.uname().machine
        try:
            call = Path(f"/proc/{self._pid}/syscall").read_text().split()
        except PermissionError:  # a container without the right to look: its state alone
            return self._look_coarsely()
        except GONE:
            return "gone"
        reads = call[0] == _READ[machine] and int(call[1], 16) == REQUESTS
        return "idle" if reads or call[0] in _POLLS[machine] else "busy"

    def close(self) -> None:
        """Free the descriptor."""
        if self._wchan is not None:
            os.close(self._wchan)
            self._wchan = None

    def _look_coarsely(self) -> State:
        try:
            state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        except GONE:
            return "gone"
        return "idle" if state == "S" else "busy"
