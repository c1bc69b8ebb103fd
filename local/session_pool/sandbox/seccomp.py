"""The system call filter: an allowlist, as a BPF program built without any library.

A call that is not on the list answers EPERM; one that is newer than the list answers ENOSYS, so
that the C library falls back to an older one. Where one call is a door to many (clone, sockets and
their options, ioctl, fcntl, prctl, madvise) its arguments are on lists of their own.

https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import errno
import platform
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("system_calls.tsv")
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Offsets in struct seccomp_data; the low half of a 64-bit argument comes first on these machines.
_NUMBER, _ARCH, _ARGUMENT_0 = 0, 4, 16
_LOAD, _EQUALS, _AT_LEAST, _GREATER, _RETURN = 0x20, 0x15, 0x35, 0x25, 0x06
_AND, _JUMP = 0x54, 0x05
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_X32 = 0x40000000

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Condition:
    """What an argument may be.

    Attributes:
        argument: which, from 0; the kernel takes the lower half of each of those that are checked.
        ranges: the values, ends included.
        mask: the bits that count.
    """

    argument: int
    ranges: Ranges
    mask: int = 0xFFFFFFFF


# NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | PTRACE | UNTRACED
_REFUSED_CLONE_FLAGS = 0x7E020080 | 0x2000 | 0x800000
# AF_VSOCK above all: a network namespace does not hold it, and it leads to the hypervisor.
_FAMILIES = ((socket.AF_UNIX, socket.AF_INET), (socket.AF_INET6, socket.AF_INET6))
# The kernel loads a module for a type or protocol that it does not know: DCCP, SCTP, MPTCP, SMC.
_SOCKET_TYPES = ((socket.SOCK_STREAM, socket.SOCK_RAW), (socket.SOCK_SEQPACKET,) * 2)
_PROTOCOLS = (
    (0, socket.IPPROTO_ICMP),
    (socket.IPPROTO_TCP,) * 2,
    (socket.IPPROTO_UDP,) * 2,
    (socket.IPPROTO_ICMPV6,) * 2,
)
# Of CLONE_FILES and CLONE_THREAD not the first alone: the locks of such a process stay after it.
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
# F_DUPFD to F_GETSIG, F_DUPFD_QUERY, F_DUPFD_CLOEXEC, F_GETPIPE_SZ.
# Not F_SETLEASE: who opens a leased file waits for its holder, and all share the image's files.
# Not F_NOTIFY, which tells what others do, nor F_SETPIPE_SZ: all sessions share the pages of pipes.
# Not the locks of open files: of those nobody can tell whose they are, see `usage.locks_count`.
_FCNTL_COMMANDS = ((0, 11), (1027, 1027), (1030, 1030), (1032, 1032))
# MAP_TYPE, MAP_ANONYMOUS and MAP_HUGETLB. Memory that is shared and has no file stays where nothing
# maps it, and no process shows it; what is in files of the session its file systems count.
_MAP_BITS = 0x4002F
_MAP_KINDS = ((0, 0x20), (0x22, 0x22), (0x24, 0x2F))
# RWF_NOWAIT tells which pages of shared files others have read.
_RWF_NOWAIT = 0x8
# Names, timers, death signals, capabilities to read and to give up. Not PR_SET_MM, PR_SCHED_CORE,
# PR_SET_PTRACER, a filter with a listener, nor what is not known yet.
_PRCTL_OPTIONS = (
    *((1, 4), (7, 8), (15, 16), (21, 21), (23, 23), (25, 25), (27, 27), (29, 30), (36, 42)),
    *((47, 47), (50, 56)),
)
# What allocators ask for. Not MADV_MERGEABLE, whose timing tells of equal pages of others, nor
# MADV_PAGEOUT, MADV_HWPOISON.
_ADVICE = ((0, 4), (8, 11), (14, 20), (22, 25), (102, 103))
# Terminals without TIOCSTI, TIOCLINUX and TIOCSETD, how much there is to read, names of interfaces.
_IOCTLS = (
    (0x5401, 0x5411),
    (0x5413, 0x5416),
    (0x541B, 0x541B),
    (0x5420, 0x5422),
    (0x5429, 0x5429),
    (0x5441, 0x5441),
    (0x5450, 0x5452),
    (0x8903, 0x8905),
    (0x8910, 0x8933),
    (0x40045431, 0x40045431),
    (0x402C542B, 0x402C542D),
    (0x80045430, 0x80045430),
    (0x80045438, 0x80045439),
    (0x802C542A, 0x802C542A),
)
_CHECKS: dict[str, tuple[int, tuple[_Condition, ...]]] = {
    "mmap": (errno.EPERM, (_Condition(3, _MAP_KINDS, _MAP_BITS),)),
    "clone": (
        errno.EPERM,
        (
            _Condition(0, ((0, 0),), _REFUSED_CLONE_FLAGS),
            _Condition(
                0,
                ((0, 0), (_CLONE_THREAD, _CLONE_THREAD | _CLONE_FILES)),
                _CLONE_THREAD | _CLONE_FILES,
            ),
        ),
    ),
    "preadv2": (errno.EOPNOTSUPP, (_Condition(5, ((0, 0),), _RWF_NOWAIT),)),
    **dict.fromkeys(
        ("socket", "socketpair"),
        (
            errno.EAFNOSUPPORT,
            (
                _Condition(0, _FAMILIES),
                _Condition(1, _SOCKET_TYPES, 0xF),
                _Condition(2, _PROTOCOLS),
            ),
        ),
    ),
    "ioctl": (errno.ENOTTY, (_Condition(1, _IOCTLS),)),
    "fcntl": (errno.EPERM, (_Condition(1, _FCNTL_COMMANDS),)),
    "prctl": (errno.EPERM, (_Condition(0, _PRCTL_OPTIONS),)),
    "madvise": (errno.EPERM, (_Condition(2, _ADVICE),)),
}
# What is in files of the session is in memory: there is nothing to write to a disk. Of shared files
# and of the machine as a whole it would slow others, or throw out or fetch pages that they use.
_DONE_ALREADY = (
    *("sync", "syncfs", "fsync", "fdatasync", "sync_file_range", "msync"),
    *("readahead", "fadvise64"),
)
# By level, which options of sockets. No programs of the packet filter, no zero copy, no upper layer
# (TLS), no other level.
_SOCKET_OPTIONS: dict[int, Ranges] = {
    socket.SOL_SOCKET: ((1, 6), (9, 21), (25, 25), (29, 29), (35, 35), (66, 67)),
    socket.IPPROTO_IP: ((1, 50),),
    socket.IPPROTO_TCP: ((1, 13), (18, 18), (23, 25), (30, 30)),
    socket.IPPROTO_UDP: ((1, 1),),
    socket.IPPROTO_IPV6: ((1, 62), (66, 78)),
}
# Silently not done, as where the system's bound is the default: `usage.sockets_bytes` counts on it.
_BUFFER_SIZES = (socket.SO_SNDBUF, socket.SO_RCVBUF)
# ENOSYS makes the C library use clone, whose flags a filter can read. Pages of a memfd that nothing
# maps belong to no process, so no limit would see them. Who splices from a socket without data into
# a pipe holds the lock of the pipe, and whoever reads it, even without blocking, waits: the host.
_ABSENT = ("clone3", "memfd_create", "splice", "tee", "sendfile")


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
    for name in _DONE_ALREADY:
        yield _instruction(_EQUALS, numbers[name], no=1)
        yield _error(0)
    for name, (code, conditions) in _CHECKS.items():
        yield from _only_if(numbers[name], _conditions(conditions, code))
    yield from _only_if(numbers["setsockopt"], _socket_options())
    checked = (*_ABSENT, *_DONE_ALREADY, *_CHECKS, "setsockopt")
    allowed = sorted({numbers[name] for name in numbers if name not in checked})
    for low, high in _ranges(allowed):
        yield _instruction(_AT_LEAST, low, yes=1)
        yield _error(errno.EPERM)
        yield _instruction(_GREATER, high, yes=1)
        yield _instruction(_RETURN, _ALLOW)
    yield _error(errno.ENOSYS)


def _only_if(value: int, body: list[bytes]) -> list[bytes]:
    """Do `body`, which returns, if the loaded value is `value`; skip it otherwise."""
    return [_instruction(_EQUALS, value, no=len(body)), *body]


def _conditions(conditions: Sequence[_Condition], code: int) -> list[bytes]:
    """Allow if every condition holds, else answer with the error."""
    body = []
    for condition in conditions:
        body.append(_instruction(_LOAD, _ARGUMENT_0 + 8 * condition.argument))
        body.append(_instruction(_AND, condition.mask))
        for number, (low, high) in enumerate(condition.ranges, 1):
            body.append(_instruction(_AT_LEAST, low, no=2))
            body.append(_instruction(_GREATER, high, yes=1))
            body.append(_instruction(_JUMP, 3 * (len(condition.ranges) - number) + 1))
        body.append(_error(code))
    return [*body, _instruction(_RETURN, _ALLOW)]


def _socket_options() -> list[bytes]:
    body = [_instruction(_LOAD, _ARGUMENT_0 + 8)]
    for level, options in _SOCKET_OPTIONS.items():
        checks = _conditions([_Condition(2, options)], errno.ENOPROTOOPT)
        if level == socket.SOL_SOCKET:
            done = [each for option in _BUFFER_SIZES for each in _only_if(option, [_error(0)])]
            checks = [_instruction(_LOAD, _ARGUMENT_0 + 16), *done, *checks]
        body += _only_if(level, checks)
    return [*body, _error(errno.ENOPROTOOPT)]


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
