"""The system call filter: an allowlist, as a BPF program built without any library.

A call that is not on the list answers EPERM; one that is newer than the list answers ENOSYS, so
that the C library falls back to an older one. Checked by argument: no namespaces by clone, sockets
of three families and their usual protocols only, no ioctl that types into a terminal, and of fcntl
only the commands that touch nobody else.

https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import errno
import platform
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_TABLE = Path(__file__).with_name("system_calls.tsv")
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Offsets in struct seccomp_data; the low half of a 64-bit argument comes first on these machines.
_NUMBER, _ARCH, _ARGUMENT_0, _ARGUMENT_1, _ARGUMENT_2 = 0, 4, 16, 24, 32
_LOAD, _EQUALS, _AT_LEAST, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_X32 = 0x40000000

# CLONE_NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_NAMESPACE_FLAGS = 0x7E020080
# AF_VSOCK above all: a network namespace does not hold it, and it leads to the hypervisor.
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
# Large and rarely used parts of the kernel, which the families above would open.
_IPPROTO_UDPLITE, _IPPROTO_MPTCP = 136, 262
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# F_DUPFD to F_GETSIG, the locks of open files, F_DUPFD_QUERY, F_DUPFD_CLOEXEC, F_GETPIPE_SZ.
# Not F_SETLEASE: who opens a leased file waits for its holder, and all share the image's files.
# Not F_NOTIFY, which tells what others do, nor F_SETPIPE_SZ: all sessions share the pages of pipes.
_FCNTL_COMMANDS = ((0, 11), (36, 38), (1027, 1027), (1030, 1030), (1032, 1032))
# ENOSYS makes the C library use clone, whose flags a filter can read. Pages of a memfd that nothing
# maps belong to no process, so no limit would see them.
_ABSENT = ("clone3", "memfd_create")
_CHECKED = ("clone", "socket", "socketpair", "ioctl", "fcntl")


class UnsupportedMachineError(Exception):
    """There is no table of system calls for this processor."""

    def __init__(self, machine: str) -> None:
        super().__init__(
            f"the sandbox knows the system calls of {', '.join(_AUDIT_ARCH)}, not of {machine}"
        )


def system_calls(machine: str) -> dict[str, int]:
    """Return the numbers of the calls in the table, by name."""
    column = 1 + list(_AUDIT_ARCH).index(machine)
    rows = (line.split("\t") for line in _TABLE.read_text().splitlines() if line[0] != "#")
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def build_filter(machine: str | None = None) -> bytes:
    """Return the program for `machine` (this one when None): 8 bytes for each instruction.

    Raises:
        UnsupportedMachineError: see there.
    """
    machine = machine or platform.machine()
    if machine not in _AUDIT_ARCH:
        raise UnsupportedMachineError(machine)
    return b"".join(_program(machine, system_calls(machine)))


def _program(machine: str, numbers: dict[str, int]) -> Iterator[bytes]:
    yield _instruction(_LOAD, _ARCH)
    yield _instruction(_EQUALS, _AUDIT_ARCH[machine], yes=1)
    yield _instruction(_RETURN, _KILL)
    yield _instruction(_LOAD, _NUMBER)
    if machine == "x86_64":  # the x32 calls have numbers of their own and would pass unchecked
        yield _instruction(_AT_LEAST, _X32, no=1)
        yield _instruction(_RETURN, _KILL)
    for name in _ABSENT:
        yield _instruction(_EQUALS, numbers[name], no=1)
        yield _error(errno.ENOSYS)
    yield _instruction(_EQUALS, numbers["clone"], no=4)
    yield _instruction(_LOAD, _ARGUMENT_0)
    yield _instruction(_ANY_BIT, _NAMESPACE_FLAGS, no=1)
    yield _error(errno.EPERM)
    yield _instruction(_RETURN, _ALLOW)
    for name in ("socket", "socketpair"):
        yield _instruction(_EQUALS, numbers[name], no=9)
        yield _instruction(_LOAD, _ARGUMENT_0)
        yield _instruction(_EQUALS, _FAMILIES[0], yes=2)
        yield _instruction(_EQUALS, _FAMILIES[1], yes=1)
        yield _instruction(_EQUALS, _FAMILIES[2], no=4)
        yield _instruction(_LOAD, _ARGUMENT_2)
        yield _instruction(_EQUALS, _IPPROTO_UDPLITE, yes=2)
        yield _instruction(_EQUALS, _IPPROTO_MPTCP, yes=1)
        yield _instruction(_RETURN, _ALLOW)
        yield _error(errno.EAFNOSUPPORT)
    yield _instruction(_EQUALS, numbers["ioctl"], no=5)
    yield _instruction(_LOAD, _ARGUMENT_1)
    yield _instruction(_EQUALS, _TIOCSTI, yes=1)
    yield _instruction(_EQUALS, _TIOCLINUX, no=1)
    yield _error(errno.EPERM)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_EQUALS, numbers["fcntl"], no=3 * len(_FCNTL_COMMANDS) + 2)
    yield _instruction(_LOAD, _ARGUMENT_1)
    for low, high in _FCNTL_COMMANDS:
        yield _instruction(_AT_LEAST, low, no=2)
        yield _instruction(_GREATER, high, yes=1)
        yield _instruction(_RETURN, _ALLOW)
    yield _error(errno.EPERM)
    allowed = sorted({numbers[name] for name in numbers if name not in _ABSENT + _CHECKED})
    for low, high in _ranges(allowed):
        yield _instruction(_AT_LEAST, low, yes=1)
        yield _error(errno.EPERM)
        yield _instruction(_GREATER, high, yes=1)
        yield _instruction(_RETURN, _ALLOW)
    yield _error(errno.ENOSYS)


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    low = high = numbers[0]
    for number in numbers[1:]:
        if number > high + 1:
            yield low, high
            low = number
        high = number
    yield low, high


def _instruction(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` say how many to skip after a comparison."""
    return struct.pack("=HBBI", code, yes, no, operand)


def _error(code: int) -> bytes:
    return _instruction(_RETURN, 0x00050000 | code)
