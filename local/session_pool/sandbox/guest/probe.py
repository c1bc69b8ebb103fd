"""Tries, from inside, the actions that a session must not be able to do: a sandbox's first code."""

import ctypes
import fcntl
import json
import os
import resource
import socket
import stat
import struct
import tempfile
from collections.abc import Callable
from functools import partial

from . import frames

CONTROLS = (
    "no capabilities",
    "no_new_privs",
    "system call filter",
    "own pid namespace",
    "own network namespace",
    "kernel settings are read-only",
    "the root folder is read-only",
    "/dev is read-only",
    "no AF_VSOCK sockets",
    "no further user namespaces",
    "no environment in pid 1",
    "no home folders of the host",
    "limit on processes",
    "limit on memory",
    "not root on the host",
    "no keys of the host",
    "pid 1 is filtered and without capabilities",
    "the memory of pid 1 is closed",
    "no leases and notices on files",
    "no lock on a pipe that others read",
    "no sockets of rare protocols",
    "no programs of the packet filter",
    "no socket to the host",
)

CODE = "from guest import probe as _probe; _probe.main(); del _probe"


def main() -> None:
    """Print the findings as JSON."""
    print(json.dumps({"controls": findings()}))


def findings() -> dict[str, bool]:
    """Try each; True where the control holds."""
    status, first = _status("self"), _status("1")
    with open("/proc/net/dev") as file:
        interfaces = [line.split(":")[0].strip() for line in file.read().splitlines()[2:]]
    found = (
        status["CapEff"] == status["CapPrm"] == status["CapBnd"] == status["CapInh"] == "0" * 16,
        status["NoNewPrivs"] == "1",
        status["Seccomp"] == "2",
        len([name for name in os.listdir("/proc") if name.isdigit()]) <= 2,
        interfaces == ["lo"],
        _refused(lambda: open("/proc/sys/kernel/core_pattern", "r+").close()),
        _refused(lambda: open("/probe", "w").close()),
        _refused(lambda: open("/dev/probe", "w").close()),
        _refused(lambda: socket.socket(40, socket.SOCK_STREAM).close()),
        _refused(lambda: os.unshare(os.CLONE_NEWUSER)),
        _content("/proc/1/environ") == b"",
        not os.path.exists("/root") and os.listdir("/home") == ["sandbox"],
        resource.getrlimit(resource.RLIMIT_NPROC)[1] != resource.RLIM_INFINITY,
        resource.getrlimit(resource.RLIMIT_DATA)[1] != resource.RLIM_INFINITY,
        # Files of the host's root would seem to be ours.
        os.stat("/usr/bin").st_uid != os.getuid(),
        _content("/proc/keys") == b"",
        first["Seccomp"] == "2" and first["NoNewPrivs"] == "1" and first["CapEff"] == "0" * 16,
        # As its parent would be by itself: same user, and Yama allows it where it is off.
        _refused(lambda: open("/proc/1/mem", "r+b").close())
        and _refused(lambda: open("/proc/1/maps").close()),
        all(_refused(partial(_fcntl, command)) for command in (1024, 1026)),
        _refused(lambda: _splice(os.splice)) and _refused(lambda: _splice(os.sendfile)),
        all(_refused(partial(_socket, *each)) for each in ((1, 262), (2, 136), (5, 132), (6, 33))),
        _refused(_attach_filter),
        # Beyond these are the kernel's own: its event loop has a pair.
        not any(map(_is_socket, (0, 1, 2, frames.REPLIES, frames.REQUESTS))),
    )
    return dict(zip(CONTROLS, found, strict=True))


def _status(process: str) -> dict[str, str]:
    with open(f"/proc/{process}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def _fcntl(command: int) -> None:
    with tempfile.TemporaryFile() as file:
        fcntl.fcntl(file, command, 1)


def _splice(call: Callable[..., int]) -> None:
    reading, writing = os.pipe()
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
            file.flush()
            if call is os.sendfile:
                os.sendfile(writing, file.fileno(), 0, 1)
            else:
                call(file.fileno(), writing, 1, offset_src=0)
    finally:
        os.close(reading)
        os.close(writing)


def _socket(kind: int, protocol: int) -> None:
    socket.socket(socket.AF_INET, kind, protocol).close()


def _attach_filter() -> None:
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(program)))


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _refused(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError:
        return True
    return False


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, PermissionError):
        return b""
