"""The fork server: one warm interpreter, from which every session is forked in milliseconds.

It runs inside an outer sandbox and executes no code of any guest: it only forks. The child locks
itself in (see `isolation`) before it becomes a kernel.
"""

import array
import base64
import contextlib
import fcntl
import gc
import json
import os
import random
import signal
import socket
import sys
from typing import Any

from . import isolation, kernel, plain
from .shell import Shell


def main(control_descriptor: int) -> None:
    """Load everything, then fork a session for each message on the control socket.

    The first message is the configuration, as JSON. Each further one carries three descriptors: the
    guest's end of the channel, stdout and stderr.
    """
    control = socket.socket(fileno=control_descriptor)
    configuration = json.loads(control.recv(1 << 16))
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
            _become_session(control, configuration, descriptors, shell)
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return list(received)


def _become_session(
    control: socket.socket, configuration: dict[str, Any], descriptors: list[int], shell: Shell
) -> None:
    """Never returns. An error reaches the host as text on the session's stderr."""
    try:
        channel, stdout, stderr = descriptors
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        control.close()
        os.setsid()
        isolation.unshare_namespaces()
        init = _start_init()
        init_pidfd = os.pidfd_open(init)
        if os.fork() != 0:
            os._exit(0)
        _run_kernel(configuration, channel, init_pidfd, shell)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(70)


def _start_init() -> int:
    """Start pid 1 of the session. Killing it kills the session; it also reaps orphans.

    SIGCHLD stays ignored across exec, so the kernel reaps for it.
    """
    init = os.fork()
    if init == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.closerange(0, 1024)
        os.execve("/usr/bin/sleep", ["init", "infinity"], {})  # noqa: S606 - no shell wanted
    return init


def _run_kernel(
    configuration: dict[str, Any], channel_descriptor: int, init_pidfd: int, shell: Shell
) -> None:
    isolation.mount_own_tree(configuration["tmpfs"], configuration["masked"])
    isolation.finish_namespaces()
    # First out of the way of 3 and 4, which either of them may be.
    spare = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in (channel_descriptor, init_pidfd)]
    os.dup2(spare[0], 3, inheritable=False)
    os.dup2(spare[1], 4, inheritable=False)
    os.closerange(5, 1024)
    channel = socket.socket(fileno=3)
    plain.seed_font_cache()
    random.seed()
    if "numpy" in sys.modules:
        # Every session would draw the same numbers otherwise.
        sys.modules["numpy"].random.seed()
    isolation.drop_privileges(configuration["limits"], base64.b64decode(configuration["seccomp"]))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.say_hello(channel, 4)
    kernel.serve(channel, shell)
