"""The fork server: one warm interpreter, from which every session is forked in milliseconds.

It runs inside an outer sandbox and executes no code of any guest: it only forks. The child locks
itself in (see `isolation`) before it becomes a kernel.
"""

import array
import contextlib
import gc
import json
import os
import random
import signal
import socket
import sys
from typing import Any

from . import frames, init, isolation, kernel, plain
from .shell import Shell


def main(control_descriptor: int) -> None:
    """Load everything, then fork a session for each message on the control socket.

    All messages are JSON. The first is the configuration. Each further one has the `uid` of a
    session, null for this one, and carries its descriptors: the socket for its hello, its ends of
    the pipes, stdout and stderr.
    """
    control = socket.socket(fileno=control_descriptor)
    configuration = json.loads(control.recv(1 << 16))
    configuration["seccomp"] = isolation.SystemCallFilter(configuration["seccomp"])
    program = init.make_program()
    plain.prepare_streams()
    plain.seed_font_cache()
    shell = Shell()
    shell.warm(configuration["preload"])
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
        if os.fork() == 0:
            uid = json.loads(message)["uid"]
            _become_session(control, configuration, descriptors, uid, program, shell)
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return list(received)


def _become_session(
    control: socket.socket,
    configuration: dict[str, Any],
    descriptors: list[int],
    uid: int | None,
    program: int | None,
    shell: Shell,
) -> None:
    """Never returns. An error reaches the host as text on the session's stderr."""
    try:
        hello, requests, replies, stdout, stderr = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        control.close()
        greeting = kernel.place(hello, requests, replies)
        os.setsid()
        kernel.end_before_others()
        if uid is not None:
            isolation.become(uid)
        isolation.unshare_namespaces()
        ready, said_ready = os.pipe()
        first = init.fork()
        if first == 0:
            init.become(
                said_ready, lambda: _lock_in(configuration, configuration["limits"]), program
            )
        os.close(said_ready)
        init_pidfd = os.pidfd_open(first)
        if os.fork() != 0:
            os._exit(0)
        _run_kernel(configuration, greeting, init_pidfd, ready, shell)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(70)


def _lock_in(configuration: dict[str, Any], limits: dict[str, int]) -> None:
    isolation.drop_privileges(limits, configuration["seccomp"])


def _run_kernel(
    configuration: dict[str, Any],
    hello: socket.socket,
    init_pidfd: int,
    ready: int,
    shell: Shell,
) -> None:
    isolation.mount_own_tree(
        configuration["tmpfs"],
        configuration["masked"],
        configuration["empty"],
        configuration["terminals"],
    )
    isolation.finish_namespaces()
    plain.seed_font_cache()
    random.seed()
    if "numpy" in sys.modules:
        # Every session would draw the same numbers otherwise.
        sys.modules["numpy"].random.seed()
    _lock_in(configuration, kernel.before_hello(configuration["limits"]))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    init.wait_until_ready(ready)
    kernel.say_hello(hello, init_pidfd, configuration["limits"])
    os.closerange(frames.REQUESTS + 1, 1024)
    kernel.serve(shell)
