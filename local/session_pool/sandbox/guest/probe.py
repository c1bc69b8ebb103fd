"""Tries, from inside, the actions that a session must not be able to do: a sandbox's first code."""

import json
import os
import resource
import socket
from collections.abc import Callable

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
)

CODE = "from guest import probe as _probe; _probe.main(); del _probe"


def main() -> None:
    """Print the findings as JSON."""
    print(json.dumps({"controls": findings()}))


def findings() -> dict[str, bool]:
    """Try each; True where the control holds."""
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
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
    )
    return dict(zip(CONTROLS, found, strict=True))


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
