"""Isolates a session of the fork server: own namespaces inside the outer ones."""

import base64
import ctypes
import fcntl
import os
import socket
import struct
from typing import Any

from . import kernel

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]

NAMESPACES = (
    os.CLONE_NEWUSER
    | os.CLONE_NEWNS
    | os.CLONE_NEWPID
    | os.CLONE_NEWNET
    | os.CLONE_NEWIPC
    | os.CLONE_NEWUTS
    | os.CLONE_NEWCGROUP
)
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND = 4096
_MS_REC_PRIVATE = (1 << 14) | (1 << 18)
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = (
    4,
    24,
    38,
    22,
    47,
)
_PR_CAP_AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER = 4, 2
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_SANDBOX_UID = 1000


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class SystemCallFilter:
    """A filter that is ready to be installed, in each fork with as few new pages as can be."""

    def __init__(self, encoded: str) -> None:
        program = base64.b64decode(encoded)
        self._program = ctypes.create_string_buffer(program, len(program))
        address = ctypes.cast(self._program, ctypes.c_void_p)
        self._described = _SockFprog(len(program) // 8, address)
        self._reference = ctypes.byref(self._described)

    def install(self) -> None:
        """Hold this process and all that it starts to it."""
        _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._reference, 0, 0), "seccomp")


def become(uid: int) -> None:
    """Go on as another user of the outer namespace, whose files in /proc are its own."""
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def map_user(uid: int | None) -> None:
    """Be the sandbox's user in this new user namespace, for `uid` outside; None is its namesake."""
    kernel.write("/proc/self/setgroups", "deny")
    for name in ("uid_map", "gid_map"):
        kernel.write(f"/proc/self/{name}", f"{_SANDBOX_UID} {uid or _SANDBOX_UID} 1")


def covers(masked: list[str], empty: str) -> list[tuple[bytes, bytes]]:
    """Return what covers what, for `mount_own_tree`: files and folders that become empty.

    Args:
        masked: paths; not each has to exist.
        empty: an empty folder.
    """
    found = [(empty if os.path.isdir(path) else "/dev/null", path) for path in masked]
    return [(cover.encode(), path.encode()) for cover, path in found if os.path.exists(path)]


def mount_own_tree(
    tmpfs: dict[str, dict[str, Any]], covered: list[tuple[bytes, bytes]], terminals: int
) -> None:
    """Cover what sessions must not share: /proc, /dev/pts and every writable folder.

    Args:
        tmpfs: for each folder `bytes`, `inodes` and `mode`.
        covered: see `covers`.
        terminals: how many pseudo terminals there can be.
    """
    _mount(b"none", b"/", b"", _MS_REC_PRIVATE, b"")
    _mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"")
    for cover, path in covered:
        _mount(cover, path, b"", _MS_BIND, b"")
    for folder, size in tmpfs.items():
        options = f"size={size['bytes']},nr_inodes={size['inodes']},mode={size['mode']}"
        _mount(b"tmpfs", folder.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())
    options = f"newinstance,ptmxmode=0666,mode=620,max={terminals}"
    _mount(b"devpts", b"/dev/pts", b"devpts", _MS_NOSUID | _MS_NOEXEC, options.encode())


def finish_namespaces() -> None:
    """No further user namespaces, a host name, and a loopback interface that is up."""
    kernel.write("/proc/sys/user/max_user_namespaces", "0")
    _check(_libc.sethostname(b"sandbox", 7), "sethostname")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
        fcntl.ioctl(interface, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", _IFF_UP, b""))


def drop_privileges(limits: dict[str, int], system_calls: SystemCallFilter) -> None:
    """Give up every capability, set the limits, install the system call filter. In this order."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient set")
    header = struct.pack("II", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")
    kernel.apply_limits(limits)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    system_calls.install()


def _mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes) -> None:
    _check(_libc.mount(source, target, kind, flags, options), f"mount {target.decode()}")


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
