"""Anonymous shared memory, as the `mmap` module makes it, out of files that are counted."""

import mmap
import os
import tempfile
from typing import Any

_Map = mmap.mmap


class _CountedMap(_Map):
    def __new__(cls, fileno: int, length: int, *arguments: Any, **named: Any) -> "_CountedMap":
        flags = arguments[0] if arguments else named.get("flags", mmap.MAP_SHARED)
        if fileno != -1 or length <= 0 or not flags & mmap.MAP_SHARED:
            return super().__new__(cls, fileno, length, *arguments, **named)
        if arguments:
            arguments = (flags & ~mmap.MAP_ANONYMOUS, *arguments[1:])
        elif "flags" in named:
            named["flags"] = flags & ~mmap.MAP_ANONYMOUS
        with tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, length)
            return super().__new__(cls, file.fileno(), length, *arguments, **named)


def install() -> None:
    """Let `mmap.mmap(-1, …)` do what the filter of system calls refuses to others."""
    _CountedMap.__name__ = _CountedMap.__qualname__ = "mmap"
    _CountedMap.__module__ = "mmap"
    mmap.mmap = _CountedMap  # type: ignore[misc]  # mypy lets no class be replaced; all that a session imports later shall find this one
