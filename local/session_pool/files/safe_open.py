"""Opens files below a folder that code in a session can change at any moment.

Between a check and a later open a link can be swapped in; so the kernel checks while it opens:
openat2 with RESOLVE_BENEATH. Where that is missing (before Linux 5.6, or forbidden by a container)
each component is opened on its own without following links.
"""

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator

_SYS_OPENAT2 = 437  # on every architecture
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH

_libc = ctypes.CDLL(None, use_errno=True)
# What requests have opened up just now: how many of them, and the permissions to give back.
_opened: dict[tuple[int, int], tuple[int, int]] = {}
_opening = threading.Lock()


def open_beneath(folder: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below `folder` (a descriptor); never through a link, a mount or `..`.

    Raises:
        OSError: as open does; ELOOP or EXDEV for what would lead outside.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    if not flags & os.O_PATH:  # which takes no others
        flags |= os.O_NOCTTY | os.O_NONBLOCK
    how = struct.pack("QQQ", flags, mode, _RESOLVE)
    descriptor: int = _libc.syscall(_SYS_OPENAT2, folder, path, how, len(how))
    if descriptor >= 0:
        return descriptor
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EPERM):
        return open_by_components(folder, path, flags, mode)
    raise OSError(code, os.strerror(code))


def open_by_components(folder: int, path: bytes, flags: int, mode: int = 0) -> int:
    """The same without openat2: one step at a time, none of them through a link."""
    *parents, name = path.split(b"/")
    if any(part in (b"", b".", b"..") for part in (*parents, name)) and path != b".":
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    current = os.dup(folder)
    try:
        for part in parents:
            step = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            deeper = os.open(part, step, dir_fd=current)
            os.close(current)
            current = deeper
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=current)
    finally:
        os.close(current)


@contextlib.contextmanager
def opened_up(folder: int, path: bytes) -> Iterator[None]:
    """Let the owner of `path` read and write it, and enter all above it, while the block runs.

    Code may have taken these permissions from itself: an archive without permissions does so.

    Raises:
        OSError: as open does; ELOOP for what is neither a file nor a folder.
    """
    with contextlib.ExitStack() as given:
        held = os.dup(folder)
        given.callback(os.close, held)
        for part in (b".", *path.split(b"/")):
            if part != b".":  # which only those who may enter a folder can open
                held = open_beneath(held, part, os.O_PATH)
                given.callback(os.close, held)
            given.enter_context(_open_to_owner(held))
        yield


@contextlib.contextmanager
def _open_to_owner(held: int) -> Iterator[None]:
    with _opening:
        inode, users, mode = _opened_by(held)
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        wanted = mode | (0o700 if stat.S_ISDIR(mode) else 0o600)
        is_closed = mode != wanted
        if is_closed:
            _set_mode(held, wanted)
            _opened[inode] = (users + 1, mode)
    try:
        yield
    finally:
        if is_closed:
            with _opening:
                users, mode = _opened.pop(inode)
                if users > 1:
                    _opened[inode] = (users - 1, mode)
                else:
                    _set_mode(held, mode)


def _opened_by(held: int) -> tuple[tuple[int, int], int, int]:
    """Return the inode, how many requests have opened it up, and its mode without that."""
    found = os.fstat(held)
    inode = (found.st_dev, found.st_ino)
    return inode, *_opened.get(inode, (0, found.st_mode))


def _set_mode(held: int, mode: int) -> None:
    # By the descriptor: the name may lead elsewhere by now.
    os.chmod(f"/proc/self/fd/{held}", stat.S_IMODE(mode))


def open_closed(folder: int, path: bytes, flags: int) -> int:
    """Open as `open_beneath` does, also what its owner has closed to itself."""
    try:
        return open_beneath(folder, path, flags)
    except PermissionError:
        with opened_up(folder, path):
            return open_beneath(folder, path, flags)


@contextlib.contextmanager
def open_folder_beneath(folder: int, path: bytes) -> Iterator[int]:
    """Open a folder whose files can be looked at while the block runs, closed or not."""
    with contextlib.ExitStack() as resources:
        opened = open_closed(folder, path, os.O_RDONLY | os.O_DIRECTORY)
        resources.callback(os.close, opened)
        with _opening:
            *_, mode = _opened_by(opened)
        if mode & 0o500 != 0o500:
            resources.enter_context(opened_up(opened, b"."))
        yield opened
