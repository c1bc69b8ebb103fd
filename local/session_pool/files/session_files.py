"""The files of a session, as the host may safely touch them."""

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from local.session_pool.errors import FileMissingError, FileRefusedError
from local.session_pool.files.copying import TreeCopy
from local.session_pool.files.owner import as_owner
from local.session_pool.files.safe_open import open_beneath, open_closed, opened_up
from local.session_pool.files.tree import (
    MAX_DEPTH,
    UPLOAD_PREFIX,
    FileEntry,
    entries_of,
    entry_of,
    full_is_ours,
    made_folder,
    missing_is_ours,
    open_folder,
    real_path,
    remove_tree,
    whole,
    write_all,
)

T = TypeVar("T")

_CHUNK_BYTES = 256 << 10
# A longer listing would be a way to fill the host's memory, a longer export one to fill its disk.
_MAX_ENTRIES = 5_000


class SessionFiles:
    """Reads and writes /mnt/data of sessions, beside the event loop and as their users."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="session-files")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def list_folder(self, root: int, folder: str, *, recursive: bool) -> list[FileEntry]:
        """List a folder; `root` is a descriptor of /mnt/data.

        Raises:
            FileMissingError: there is no such folder.
        """

        def work(root: int) -> list[FileEntry]:
            with open_folder(root, real_path(root, folder)) as descriptor, missing_is_ours(folder):
                return list(islice(entries_of(descriptor, recursive), _MAX_ENTRIES))

        return sorted(await self._run(root, work), key=lambda entry: (entry.directory, entry.name))

    async def describe(self, root: int, folder: str, name: str) -> FileEntry:
        """Return one file's or folder's entry.

        Raises:
            FileMissingError: there is none.
        """

        def work(root: int) -> FileEntry:
            real_folder, _, real_name = real_path(root, whole(folder, name)).rpartition("/")
            with open_folder(root, real_folder) as descriptor, missing_is_ours(name):
                found = os.stat(real_name, dir_fd=descriptor, follow_symlinks=False)
            entry = entry_of(name, "", found)
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
            path = os.fsencode(real_path(root, whole(folder, name)))
            with missing_is_ours(name):
                descriptor = open_closed(root, path, os.O_RDONLY)
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
            temporary = UPLOAD_PREFIX + secrets.token_hex(8).encode()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with made_folder(root, folder) as descriptor:
                file = open_beneath(descriptor, temporary, flags, 0o644)
                try:
                    while chunk := content.read(_CHUNK_BYTES):
                        write_all(file, chunk)
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
            entry = entry_of(name, "", found)
            if entry is None:
                raise FileRefusedError(f"{name} is not a file.")
            return entry

        with full_is_ours(name):
            return await self._run(root, work)

    async def delete(self, root: int, folder: str, name: str) -> None:
        """Remove a file, or a folder with all that is in it.

        Raises:
            FileMissingError: there is none.
        """

        def work(root: int) -> None:
            real_folder, _, real_name = real_path(root, whole(folder, name)).rpartition("/")
            with (
                open_folder(root, real_folder) as descriptor,
                missing_is_ours(name),
                opened_up(descriptor, b"."),
            ):
                remove_tree(descriptor, os.fsencode(real_name), MAX_DEPTH)

        await self._run(root, work)

    async def copy_all(
        self, source: int, target: int, *, max_bytes: int, max_files: int
    ) -> list[str]:
        """Copy everything from one /mnt/data to another, empty one; return what is left out."""
        copy = TreeCopy(target, for_session=True, room_bytes=max_bytes, room_files=max_files)
        # As ourselves: the two may have different users.
        return await self._in_thread(source, copy.run)

    async def export(self, source: int, folder: Path, *, max_bytes: int) -> list[str]:
        """Copy files and folders from a /mnt/data to a new folder of the host; no links.

        Returns:
            What is left out: also what is beyond as many files as a listing shows.

        Raises:
            OSError: the folder cannot be made; then nothing is there.
        """

        def work() -> list[str]:
            folder.parent.mkdir(parents=True, exist_ok=True)
            # It has its name when it is whole.
            unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
            target = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
            try:
                copy = TreeCopy(
                    target, for_session=False, room_bytes=max_bytes, room_files=_MAX_ENTRIES
                )
                left_out = copy.run(source)
                os.fchmod(target, 0o755)
                unfinished.rename(folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            finally:
                os.close(target)
            return left_out

        # As ourselves: the session's user may not be allowed to write there.
        return await asyncio.to_thread(work)

    async def _run(self, root: int, work: Callable[[int], T]) -> T:
        """Do `work` in a thread as the user of the session."""

        def as_session(root: int) -> T:
            with as_owner(root):
                return work(root)

        return await self._in_thread(root, as_session)

    async def _in_thread(self, root: int, work: Callable[[int], T]) -> T:
        """Do `work` in a thread, with a copy of `root` of its own.

        The session may end meanwhile, and its descriptor become that of another session.
        """
        with missing_is_ours("/mnt/data"):
            duplicate = os.dup(root)

        def hold() -> T:
            try:
                return work(duplicate)
            finally:
                os.close(duplicate)

        return await asyncio.get_running_loop().run_in_executor(self._threads, hold)
