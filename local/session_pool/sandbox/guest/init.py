"""Pid 1 of a session: orphans end with it, and nothing in it is worth taking over.

It ends when the pool has closed the pipe of the requests, or was killed: whatever has become of the
kernel, nothing of the session stays then.

It has the user of the code that runs beside it. So it is not dumpable, which closes its memory in
/proc to that code, whatever Yama says; and it has the filter and the limits of the session too.
"""

import ctypes
import fcntl
import os
import select
import struct
from collections.abc import Callable
from typing import NoReturn

from . import frames

_PR_SET_DUMPABLE = 4
_SIGCHLD, _SIG_IGN, _SIGNALS = 17, 1, range(1, 65)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]

_READY = 3
_HEADERS_BYTES = 64 + 56
_CODE = {
    "x86_64": bytes.fromhex(
        # prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), which exec has undone; if that fails, the end
        "b89d000000 bf04000000 31f6 31d2 4d31d2 4d31c0 0f05 85c0 753d"
        # write(ready, "1", 1), close(ready)
        "6a31 4889e6 b801000000 bf03000000 ba01000000 0f05 b803000000 bf03000000 0f05"
        # until it is hung up: poll({requests, 0}, 1, -1)
        "6a04 4889e7 be01000000 baffffffff b807000000 0f05 83f801 75ea"
        # the end: exit_group(70)
        "b8e7000000 bf46000000 0f05"
    )
}


def fork(namespaces: int) -> int:
    """Fork as `os.fork` does, without what Python and libraries do then, into new namespaces.

    Nothing of them is used in pid 1, and each page that they touch is one more per session.
    """
    number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
    child = int(_libc.syscall(number, _SIGCHLD | namespaces, 0, 0, 0, 0))
    if child < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"clone: {os.strerror(code)}")
    return child


def make_program() -> int | None:
    """Return a descriptor of a program that does what `become` ends with, in a page of memory.

    Killing pid 1 ends its memory before it ends the others: a fork of an interpreter with libraries
    would let a fork bomb live three times as long. None on processors that it is not written for.
    """
    code = _CODE.get(os.uname().machine)
    if code is None:
        return None
    start = 0x400000
    size = _HEADERS_BYTES + len(code)
    # https://man7.org/linux/man-pages/man5/elf.5.html: one segment, to read and to execute.
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, start + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 4096)
    file = os.memfd_create("init", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(file, identity + header + segment + code)
    # The same for all sessions: nobody can change it any more.
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    # Out of the way of the descriptors that `kernel.place` gives their numbers.
    program = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(file)
    return program


def become(ready: int, lock: Callable[[], None], program: int | None = None) -> NoReturn:
    """Lock this process in, say so, and reap until it is killed or the pool has gone.

    Args:
        ready: a descriptor; one byte is written to it when nothing can be taken over any more.
        lock: sets limits and filter; raises where it cannot.
        program: from `make_program`; None stays in this one.
    """
    try:
        if _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "pid 1 stays dumpable")
        lock()
        # Of SIGCHLD the kernel takes it as: reap for me. The others must not even be queued.
        for number in _SIGNALS:
            _libc.signal(number, _SIG_IGN)
        if program is not None:
            spare = fcntl.fcntl(program, fcntl.F_DUPFD_CLOEXEC, 10)
            os.dup2(ready, _READY)
            os.set_inheritable(frames.REQUESTS, True)
            os.closerange(0, _READY)
            os.closerange(frames.REQUESTS + 1, spare)
            os.closerange(spare + 1, 1 << 20)
            os.execve(spare, ["init"], {})  # noqa: S606 - becomes the program in the descriptor, which has no name that a shell could start
        os.write(ready, b"1")
        os.closerange(0, frames.REQUESTS)
        os.closerange(frames.REQUESTS + 1, 1024)
        requests = select.poll()
        requests.register(frames.REQUESTS, 0)
        requests.poll()
    except BaseException as error:
        os.write(2, f"pid 1: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(70)


def wait_until_ready(ready: int) -> None:
    """Return when pid 1 has said so; raises `ChildProcessError` if it ended instead."""
    said = os.read(ready, 1)
    os.close(ready)
    if said != b"1":
        raise ChildProcessError("pid 1 of the session did not start")
