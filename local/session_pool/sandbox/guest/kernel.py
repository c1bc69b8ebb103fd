"""The loop of a kernel: a request comes in, a cell runs, a reply goes out."""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from . import frames, maps
from .frames import printable
from .values import say

if TYPE_CHECKING:
    from .shell import Shell

DIRECTORIES = ("/mnt/data", "/tmp", "/dev/shm", "/home/sandbox")  # noqa: S108 - the sandbox mounts each of them for this kernel alone: nobody else can have put a file there


def apply_limits(limits: dict[str, int]) -> None:
    """Set hard resource limits, by the names of `resource.RLIMIT_*` without the prefix.

    Inside the user namespace, or NPROC would count the processes of the host's user. A limit that
    is lower here already stays; that of cores has to be what it is, see `SessionLimits.rlimits`.
    """
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(number)
        is_lower = name != "CORE" and hard != resource.RLIM_INFINITY and hard < value
        limit = hard if is_lower else value
        resource.setrlimit(number, (limit, limit))


def end_before_others() -> None:
    """Where the machine runs out of memory, this process and its children are ended first."""
    write("/proc/self/oom_score_adj", "1000")


def write(path: str, text: str) -> None:
    """Write to a file of /proc; what `open` gives touches five times as many pages of memory."""
    file = os.open(path, os.O_WRONLY)
    os.write(file, text.encode())
    os.close(file)


def before_hello(limits: dict[str, int]) -> dict[str, int]:
    """Return the limits that hold from the start.

    Who may have fewer open files than are under way in sockets of this user cannot send its own.
    """
    return {name: value for name, value in limits.items() if name != "NOFILE"}


def place(hello: int, requests: int, replies: int) -> socket.socket:
    """Move the ends of the pipes to where `serve` has them; return the socket for `say_hello`."""
    # First out of the way of 3 and 4, which any of them may be.
    given = (hello, requests, replies)
    spare = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in given]
    for descriptor in given:
        os.close(descriptor)
    for descriptor, target in zip(spare[1:], (frames.REQUESTS, frames.REPLIES), strict=True):
        os.dup2(descriptor, target, inheritable=False)
        os.close(descriptor)
    return socket.socket(fileno=spare[0])


def say_hello(hello: socket.socket, limits: dict[str, int]) -> None:
    """Hand the host what it needs to kill, interrupt and look into the session.

    Before any code of the guest has run, so that none of these can be something else; then the
    socket is closed, and all limits hold.
    """
    descriptors = [os.pidfd_open(1), os.pidfd_open(os.getpid())]
    for directory in DIRECTORIES:
        descriptors.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    socket.send_fds(hello, [b"hello"], descriptors)
    hello.close()
    for descriptor in descriptors:
        os.close(descriptor)
    apply_limits(limits)


def serve(shell: "Shell") -> None:
    """Answer execution requests until the host closes the pipe."""
    process = os.getpid()
    os.chdir("/home/sandbox")
    maps.install()
    shell.begin()
    while True:
        # Between cells an interrupt that comes too late must not end the kernel.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        shell.run_tasks_until_readable(frames.REQUESTS)
        request = frames.receive(frames.REQUESTS)
        if request is None:
            os._exit(0)
        reply, blobs = _execute(shell, request)
        if os.getpid() != process:
            os._exit(0)  # the code forked and its child came back here: it must not speak for us
        frames.send(frames.REPLIES, reply, blobs)


def _execute(shell: "Shell", request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        succeeded, results, traceback = shell.run(
            request["code"], request["variables"], request["marker"]
        )
    except KeyboardInterrupt:
        # It struck between the handler being set and the cell, or right behind the cell.
        return {"id": request["id"], "status": "error", "traceback": "KeyboardInterrupt: "}, []
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the code may have closed or replaced them
            stream.flush()
    try:
        parts, blobs = results.frame(every_output=bool(request["marker"]))
    except Exception as error:
        # What code made of its outputs must not cost its variables.
        say(f"[the outputs are left out: {printable(repr(error))[:1000]}]")
        parts, blobs = {}, []
    reply = {
        "id": request["id"],
        "status": "ok" if succeeded else "error",
        "traceback": traceback,
        **parts,
    }
    return reply, blobs
