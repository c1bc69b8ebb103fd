"""The fork server: one warm interpreter, from which every session is forked in milliseconds.

It runs inside an outer sandbox and executes no code of any guest: it only forks. The child locks
itself in (see `isolation`) before it becomes a kernel.
"""

import array
import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from . import figures, frames, init, isolation, kernel, plain
from .shell import Shell


def main(control_descriptor: int) -> None:
    """Load everything, then fork a session for each message on the control socket.

    All messages are JSON. The first is the configuration. Each further one has the `uid` of a
    session, null for this one, and carries its descriptors: the socket for its hello, its ends of
    the pipes, stdout and stderr.
    """
    control = socket.socket(fileno=fcntl.fcntl(control_descriptor, fcntl.F_DUPFD_CLOEXEC, 100))
    os.close(control_descriptor)
    for taken in (frames.REPLIES, frames.REQUESTS):
        # Or a library could have them for a file that it closes in each fork, as matplotlib does.
        os.dup2(0, taken, inheritable=False)
    configuration = json.loads(control.recv(1 << 16))
    configuration["covered"] = isolation.covers(configuration["masked"], configuration["empty"])
    configuration["seccomp"] = isolation.SystemCallFilter(configuration["seccomp"])
    program = init.make_program()
    plain.prepare_streams()
    plain.seed_font_cache()
    shell = Shell()
    shell.warm(configuration["preload"])
    figures.close_fonts()
    gc.collect()
    # The collector would write to every object it looks at, and so copy the shared pages.
    gc.freeze()
    control.send(b'{"ready": true}')
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, ancillary, _, _ = control.recvmsg(1 << 16, socket.CMSG_SPACE(64))
        if not message:
            return
        descriptors = _descriptors(ancillary)
        try:
            uid = json.loads(message)["uid"]
            if _fork(uid) == 0:
                _become_session(control, configuration, descriptors, uid, program, shell)
        except OSError as error:
            _say(descriptors[-1], error)
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return list(received)


def _fork(uid: int | None) -> int:
    """Fork into new namespaces, which belong to the user `uid`; the value is as `os.fork`'s."""
    if uid is None:
        return init.fork(isolation.NAMESPACES)
    own, child = os.getuid(), None
    isolation.become(uid)
    try:
        child = init.fork(isolation.NAMESPACES)
    finally:
        if child != 0:
            isolation.become(own)
    return child


def _become_session(
    control: socket.socket,
    configuration: dict[str, Any],
    descriptors: list[int],
    uid: int | None,
    program: int | None,
    shell: Shell,
) -> NoReturn:
    """Start the kernel, and stay as pid 1. An error reaches the host as text on stderr.

    What the kernel need not do itself pid 1 does, at the same time: its memory is not kept.
    """
    try:
        limits = configuration["limits"]
        *channel, stdout, stderr = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        control.close()
        # Before the fork: pid 1 ends when the pipe of the requests is closed, and needs it too.
        hello = kernel.place(*channel)
        kernel.end_before_others()
        isolation.map_user(uid)
        ready, said_ready = os.pipe()
        if os.fork() != 0:
            _isolate(configuration)
            init.become(said_ready, lambda: _lock_in(configuration, limits), program)
        os.close(said_ready)
        _run_kernel(configuration, hello, ready, shell)
    except BaseException as error:
        _say(2, error)
    finally:
        os._exit(70)


def _say(descriptor: int, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{type(error).__name__}: {error}".encode())


def _isolate(configuration: dict[str, Any]) -> None:
    isolation.mount_own_tree(
        configuration["tmpfs"], configuration["covered"], configuration["terminals"]
    )
    isolation.finish_namespaces()
    plain.seed_font_cache()


def _lock_in(configuration: dict[str, Any], limits: dict[str, int]) -> None:
    isolation.drop_privileges(limits, configuration["seccomp"])


def _run_kernel(
    configuration: dict[str, Any], hello: socket.socket, ready: int, shell: Shell
) -> None:
    limits = configuration["limits"]
    os.setsid()
    if "numpy" in sys.modules:
        # Every session would draw the same numbers otherwise; Python's own `random` sees to that.
        sys.modules["numpy"].random.seed(int.from_bytes(os.urandom(4)))
    _lock_in(configuration, kernel.before_hello(limits))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    init.wait_until_ready(ready)
    kernel.say_hello(hello, limits)
    os.closerange(frames.REQUESTS + 1, 1024)
    kernel.serve(shell)
