"""The files of a session, as the host may safely touch them."""

import asyncio
import contextlib
import ctypes
import errno
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from local.session_pool.errors import FileMissingError, FileRefusedError, StorageFullError
from local.session_pool.safe_open import open_beneath

T = TypeVar("T")

_CHUNK_BYTES = 256 << 10
# A listing longer than this would be a way to fill the host's memory.
_MAX_ENTRIES = 5_000
_MAX_DEPTH = 64
_UPLOAD_PREFIX = b".upload-"


@dataclass(frozen=True)
class FileEntry:
    """One file or folder.

    Attributes:
        name: its last component.
        directory: its folder, relative to where the listing began; "" for that itself.
        is_directory: whether it is a folder.
        size_bytes: of its content.
        modified_at: in UTC.
    """

    name: str
    directory: str
    is_directory: bool
    size_bytes: int
    modified_at: datetime


class SessionFiles:
    """Reads and writes /mnt/data of sessions, beside the event loop.

    Args:
        uid: who owns the files there as seen from here, None when that is us. A file system that
            was mounted inside a user namespace takes no files of users whom it does not know.
    """

    def __init__(self, uid: int | None) -> None:
        self._threads = ThreadPoolExecutor(
            4, thread_name_prefix="session-files", initializer=_become, initargs=(uid,)
        )

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def list_folder(self, root: int, folder: str, *, recursive: bool) -> list[FileEntry]:
        """List a folder; `root` is a descriptor of /mnt/data.

        Raises:
            FileMissingError: there is no such folder.
        """

        def work(root: int) -> list[FileEntry]:
            descriptor = _open_folder(root, folder)
            try:
                return list(islice(_entries(descriptor, "", recursive, _MAX_DEPTH), _MAX_ENTRIES))
            finally:
                os.close(descriptor)

        return sorted(await self._run(root, work), key=lambda entry: (entry.directory, entry.name))

    async def describe(self, root: int, folder: str, name: str) -> FileEntry:
        """Return one file's or folder's entry.

        Raises:
            FileMissingError: there is none.
        """

        def work(root: int) -> FileEntry:
            descriptor = _open_folder(root, folder)
            try:
                with _missing_is_ours(name):
                    found = os.stat(os.fsencode(name), dir_fd=descriptor, follow_symlinks=False)
            finally:
                os.close(descriptor)
            entry = _entry(name, "", found)
            if entry is None:
                raise FileMissingError(f"The file {name} was not found.")
            return entry

        return await self._run(root, work)

    async def read(self, root: int, folder: str, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """Return a file's size and its content.

        Raises:
            FileMissingError: there is no such file.
        """

        def open_file(root: int) -> tuple[int, int]:
            with _missing_is_ours(name):
                descriptor = open_beneath(root, _join(folder, name), os.O_RDONLY)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                os.close(descriptor)
                raise FileMissingError(f"{name} is not a file.")
            return descriptor, found.st_size

        descriptor, size = await self._run(root, open_file)
        return size, self._content(descriptor, size)

    async def _content(self, descriptor: int, size: int) -> AsyncIterator[bytes]:
        left = size
        loop = asyncio.get_running_loop()
        try:
            while left > 0:
                chunk = await loop.run_in_executor(
                    self._threads, os.read, descriptor, min(left, _CHUNK_BYTES)
                )
                if not chunk:  # it became shorter meanwhile; the announced length must be met
                    chunk = bytes(min(left, _CHUNK_BYTES))
                left -= len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    async def write(self, root: int, folder: str, name: str, content: IO[bytes]) -> FileEntry:
        """Write a file, making its folders; it appears whole or not at all.

        Raises:
            FileRefusedError: a folder of this name is in the way, or a link.
            StorageFullError: the session's storage is full.
        """

        def work(root: int) -> FileEntry:
            descriptor = _make_folders(root, folder)
            temporary = _UPLOAD_PREFIX + secrets.token_hex(8).encode()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                file = open_beneath(descriptor, temporary, flags, 0o644)
                try:
                    while chunk := content.read(_CHUNK_BYTES):
                        _write_all(file, chunk)
                    os.rename(
                        temporary, os.fsencode(name), src_dir_fd=descriptor, dst_dir_fd=descriptor
                    )
                    found = os.fstat(file)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary, dir_fd=descriptor)
                    raise
                finally:
                    os.close(file)
            finally:
                os.close(descriptor)
            entry = _entry(name, "", found)
            if entry is None:
                raise FileRefusedError(f"{name} is not a file.")
            return entry

        with _full_is_ours(name):
            return await self._run(root, work)

    async def delete(self, root: int, folder: str, name: str) -> None:
        """Remove a file, or a folder with all that is in it.

        Raises:
            FileMissingError: there is none.
        """

        def work(root: int) -> None:
            with _missing_is_ours(name):
                descriptor = _open_folder(root, folder)
                try:
                    _remove(descriptor, os.fsencode(name), _MAX_DEPTH)
                finally:
                    os.close(descriptor)

        await self._run(root, work)

    async def copy_all(self, source: int, target: int) -> None:
        """Copy regular files and folders from one /mnt/data to another."""
        await self._run(source, partial(_copy, target=target, depth=_MAX_DEPTH))

    async def export(self, source: int, folder: Path) -> None:
        """Copy regular files and folders from a /mnt/data to a folder of the host."""

        def work() -> None:
            folder.mkdir(parents=True)
            target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _copy(source, target, _MAX_DEPTH)
            finally:
                os.close(target)

        # As ourselves: the threads of this object may be of a user who can write nowhere else.
        await asyncio.to_thread(work)

    async def _run(self, root: int, work: Callable[[int], T]) -> T:
        """Do `work` in a thread, with a copy of `root` of its own.

        The session may end meanwhile, and its descriptor become that of another session.
        """
        held = os.dup(root)

        def hold() -> T:
            try:
                return work(held)
            finally:
                os.close(held)

        return await asyncio.get_running_loop().run_in_executor(self._threads, hold)


def _become(uid: int | None) -> None:
    if uid is not None:
        libc = ctypes.CDLL(None)
        libc.setfsgid(uid)
        libc.setfsuid(uid)


def _join(folder: str, name: str) -> bytes:
    return os.fsencode(f"{folder}/{name}" if folder else name)


def _open_folder(root: int, folder: str) -> int:
    with _missing_is_ours(folder):
        return open_beneath(root, os.fsencode(folder) or b".", os.O_RDONLY | os.O_DIRECTORY)


def _make_folders(root: int, folder: str) -> int:
    current = os.dup(root)
    for part in os.fsencode(folder).split(b"/") if folder else []:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
            deeper = open_beneath(current, part, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(current)
        current = deeper
    return current


def _entries(folder: int, directory: str, recursive: bool, depth: int) -> Iterator[FileEntry]:
    with os.scandir(folder) as found:
        for each in found:
            name = each.name
            if os.fsencode(name).startswith(_UPLOAD_PREFIX):
                continue
            try:
                entry = _entry(name, directory, each.stat(follow_symlinks=False))
            except OSError:  # gone meanwhile
                continue
            if entry is None:
                continue
            yield entry
            if recursive and entry.is_directory and depth > 0:
                try:
                    deeper = open_beneath(folder, os.fsencode(name), os.O_RDONLY | os.O_DIRECTORY)
                except OSError:  # not readable, or not a folder any more
                    continue
                try:
                    inner = f"{directory}/{name}" if directory else name
                    yield from _entries(deeper, inner, recursive, depth - 1)
                finally:
                    os.close(deeper)


def _entry(name: str, directory: str, found: os.stat_result) -> FileEntry | None:
    """None for what is neither a file nor a folder: links, pipes, sockets are not served."""
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    seconds = min(max(found.st_mtime, 0), 253402300799)  # a session sets what it likes
    modified_at = datetime.fromtimestamp(seconds, UTC)
    is_directory = stat.S_ISDIR(found.st_mode)
    return FileEntry(name, directory, is_directory, found.st_size, modified_at)


def _remove(folder: int, name: bytes, depth: int) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    deeper = open_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(deeper) as inside:
            names = [os.fsencode(each.name) for each in inside]
        for inner in names if depth > 0 else []:
            _remove(deeper, inner, depth - 1)
    finally:
        os.close(deeper)
    os.rmdir(name, dir_fd=folder)


def _copy(source: int, target: int, depth: int) -> None:
    with os.scandir(source) as found:
        names = [os.fsencode(each.name) for each in found]
    for name in names:
        with contextlib.suppress(OSError):  # what cannot be read is left behind
            mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) and depth > 0:
                os.mkdir(name, 0o755, dir_fd=target)
                flags = os.O_RDONLY | os.O_DIRECTORY
                inner, outer = open_beneath(source, name, flags), open_beneath(target, name, flags)
                try:
                    _copy(inner, outer, depth - 1)
                finally:
                    os.close(inner)
                    os.close(outer)
            elif stat.S_ISREG(mode):
                _copy_file(source, target, name)


def _copy_file(source: int, target: int, name: bytes) -> None:
    reading = open_beneath(source, name, os.O_RDONLY)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        writing = open_beneath(target, name, flags, 0o644)
        try:
            while os.sendfile(writing, reading, None, 1 << 20):
                pass
            times = os.fstat(reading)
            os.utime(writing, ns=(times.st_atime_ns, times.st_mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _missing_is_ours(name: str) -> Iterator[None]:
    """What cannot be reached is missing, for whatever reason: the caller learns nothing else."""
    try:
        yield
    except OSError as error:
        raise FileMissingError(f"The file {name} was not found.") from error


@contextlib.contextmanager
def _full_is_ours(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("The session has no room for the file.") from error
        raise FileRefusedError(
            f"{name} cannot be written: {os.strerror(error.errno or 0)}."
        ) from error
