"""Opens files below a folder that code in a session can change at any moment.

Between a check and a later open a link can be swapped in; so the kernel checks while it opens:
openat2 with RESOLVE_BENEATH. Where that is missing (before Linux 5.6, or forbidden by a container)
each component is opened on its own without following links.
"""

import ctypes
import errno
import os
import struct

_SYS_OPENAT2 = 437  # on every architecture
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH

_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(folder: int, path: bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below `folder` (a descriptor); never through a link, a mount or `..`.

    Raises:
        OSError: as open does; ELOOP or EXDEV for what would lead outside.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK
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
