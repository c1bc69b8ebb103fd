"""Child processes that never outlive the process which started them."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def stop_with_parent() -> None:
    """Have this process receive SIGTERM when its parent ends, however that ends.

    The kernel does this on Linux only; elsewhere nothing happens, and only a parent that stops in
    good order takes this process along.
    """
    if sys.platform != "linux":
        return
    parent_pid = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:  # it ended before the kernel knew of our wish
        os.kill(os.getpid(), signal.SIGTERM)
