"""Copies what a session leaves in its folder, after all of its processes have ended.

Holes stay holes, times and permissions stay, and no file is kept in part: the rest is named.
"""

import errno
import os
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from local.session_pool.files.owner import as_owner
from local.session_pool.files.safe_open import open_beneath
from local.session_pool.files.tree import MAX_DEPTH

_FOLDER = os.O_RDONLY | os.O_DIRECTORY


@dataclass
class TreeCopy:
    """One copy of a folder into an empty one.

    Attributes:
        target: descriptor of the empty folder.
        for_session: the copy is for code in a session again: it has symbolic links, which may lead
            anywhere, and all permissions; otherwise its owner can read and remove everything.
        room_bytes: how much content there may be, without holes.
        room_files: how many files and folders there may be.
        left_out: paths that are not in the copy.
    """

    target: int
    for_session: bool
    room_bytes: int
    room_files: int
    left_out: list[str] = field(default_factory=list)
    _copied: dict[int, bytes] = field(default_factory=dict)

    def run(self, source: int) -> list[str]:
        """Copy all of `source` (a descriptor); the value is `left_out`. Blocks."""
        os.fchmod(source, 0o700)  # code may have closed it to itself
        self._folder(source, self.target, b"", MAX_DEPTH)
        return self.left_out

    def _folder(self, source: int, target: int, path: bytes, depth: int) -> None:
        with os.scandir(source) as found:
            names = sorted(os.fsencode(each.name) for each in found)
        for name in names:
            inner = path + b"/" + name if path else name
            try:
                self._one(source, target, name, inner, depth)
            except OSError:
                self.left_out.append(os.fsdecode(inner))

    def _one(self, source: int, target: int, name: bytes, path: bytes, depth: int) -> None:
        if self.room_files <= 0:
            raise OSError(errno.ENOSPC, "the copy has no room for so many files")
        self.room_files -= 1
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode) and self.for_session:
            destination = os.readlink(name, dir_fd=source)
            with self._as_user():
                os.symlink(destination, name, dir_fd=target)
            return
        if not (stat.S_ISREG(found.st_mode) or (stat.S_ISDIR(found.st_mode) and depth > 0)):
            raise OSError(errno.EOPNOTSUPP, "neither a file nor a folder, or too deep")
        readable = 0o700 if stat.S_ISDIR(found.st_mode) else 0o400
        if found.st_mode & readable != readable:
            # Nothing runs that could put a link in its place.
            os.chmod(name, found.st_mode | readable, dir_fd=source)
        if stat.S_ISREG(found.st_mode):
            self._file(source, target, name, path, found)
            return
        with self._as_user():
            os.mkdir(name, 0o700, dir_fd=target)
        inner = open_beneath(source, name, _FOLDER)
        try:
            outer = open_beneath(target, name, _FOLDER)
            try:
                self._folder(inner, outer, path, depth - 1)
                self._finish(outer, found)
            finally:
                os.close(outer)
        finally:
            os.close(inner)

    def _file(
        self, source: int, target: int, name: bytes, path: bytes, found: os.stat_result
    ) -> None:
        first = self._copied.get(found.st_ino)
        if first is not None:
            ends = {"src_dir_fd": self.target, "dst_dir_fd": target}
            with self._as_user():
                os.link(first, name, follow_symlinks=False, **ends)
            return
        size = min(found.st_size, found.st_blocks * 512)
        if size > self.room_bytes:
            raise OSError(errno.ENOSPC, "the copy has no room")
        reading = open_beneath(source, name, os.O_RDONLY)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with self._as_user():
                writing = open_beneath(target, name, flags, 0o600)
            try:
                _copy_data(reading, writing, found.st_size)
                self._finish(writing, found)
            except OSError:
                os.unlink(name, dir_fd=target)
                raise
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        self.room_bytes -= size
        if found.st_nlink > 1:
            self._copied[found.st_ino] = path

    def _as_user(self) -> AbstractContextManager[None]:
        """Of whom what is made is; to read, root may do more than the user of another session."""
        return as_owner(self.target)

    def _finish(self, copy: int, found: os.stat_result) -> None:
        readable = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        mode = stat.S_IMODE(found.st_mode) & 0o777
        os.fchmod(copy, mode if self.for_session else mode | readable)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_data(reading: int, writing: int, size: int) -> None:
    os.ftruncate(writing, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(reading, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(reading, start, os.SEEK_HOLE)
        os.lseek(writing, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(writing, reading, start, min(end - start, 1 << 20))
            if sent == 0:
                raise OSError(errno.EIO, "the file became shorter")
            start += sent
