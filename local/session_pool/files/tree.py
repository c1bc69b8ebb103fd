"""Files and folders below a descriptor that code in a session can change at any moment.

Everything here blocks: `files` runs it in threads.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from local.session_pool.errors import (
    FileFailedError,
    FileMissingError,
    FileRefusedError,
    StorageFullError,
)
from local.session_pool.files.safe_open import open_closed, open_folder_beneath, opened_up

UPLOAD_PREFIX = b".upload-"
# What is being written is not listed; code may call its own files nearly so.
_UPLOADING = re.compile(rb"\.upload-[0-9a-f]{16}")
MAX_DEPTH = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
# PATH_MAX of Linux, with the byte that ends it: what is longer, no request could name.
_MAX_PATH_BYTES = 4096
# What stands in a listing for bytes that are not UTF-8.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# A path leads nowhere that may be looked at; the last is that of a socket.
_ABSENT = {
    *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EINVAL),
    *(errno.ENAMETOOLONG, errno.ENXIO),
}
# A folder where a file is to be, or a file or link where a folder.
_IN_THE_WAY = _ABSENT | {errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}


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


def whole(folder: str, name: str) -> str:
    """The path of a file, relative to /mnt/data."""
    return f"{folder}/{name}" if folder else name


@contextlib.contextmanager
def open_folder(root: int, folder: str) -> Iterator[int]:
    """Open a folder while the block runs; raises `FileMissingError`."""
    with contextlib.ExitStack() as resources:
        with missing_is_ours(folder):
            opened = resources.enter_context(open_folder_beneath(root, os.fsencode(folder) or b"."))
        yield opened


@contextlib.contextmanager
def made_folder(root: int, folder: str) -> Iterator[int]:
    """Open a folder to write into, closed or not, making it and those above it where missing."""
    with contextlib.ExitStack() as resources:
        current = root
        resources.enter_context(opened_up(current, b"."))
        for part in os.fsencode(folder).split(b"/") if folder else []:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
            current = open_closed(current, part, _FOLDER)
            resources.callback(os.close, current)
            resources.enter_context(opened_up(current, b"."))
        yield current


def entries_of(folder: int, recursive: bool) -> Iterator[FileEntry]:
    """Yield the entries of a folder (a descriptor); if `recursive`, then those of folders below."""
    pending = deque([""])
    while pending:
        directory = pending.popleft()
        with contextlib.ExitStack() as resources:
            try:
                path = os.fsencode(directory) or b"."
                opened = resources.enter_context(open_folder_beneath(folder, path))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                continue  # gone meanwhile
            for each in resources.enter_context(os.scandir(opened)):
                entry = _listed(each, directory)
                if entry is None:
                    continue
                yield entry
                inner = whole(directory, each.name)
                if recursive and entry.is_directory and len(os.fsencode(inner)) < _MAX_PATH_BYTES:
                    pending.append(inner)


def _listed(found: os.DirEntry[str], directory: str) -> FileEntry | None:
    if _UPLOADING.fullmatch(os.fsencode(found.name)):
        return None
    try:
        return entry_of(found.name, directory, found.stat(follow_symlinks=False))
    except FileNotFoundError:  # gone meanwhile
        return None


def entry_of(name: str, directory: str, found: os.stat_result) -> FileEntry | None:
    """The entry, or None if it is neither file nor folder: links, pipes, sockets are not served."""
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None
    seconds = min(max(found.st_mtime, 0), 253402300799)  # a session sets what it likes
    modified_at = datetime.fromtimestamp(seconds, UTC)
    is_directory = stat.S_ISDIR(found.st_mode)
    return FileEntry(name, directory, is_directory, found.st_size, modified_at)


def remove_tree(folder: int, name: bytes, depth: int) -> None:
    """Remove a file, or a folder with all that is in it."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.unlink(name, dir_fd=folder)
        return
    deeper = _open_for_good(folder, name)
    try:
        with os.scandir(deeper) as inside:
            names = [os.fsencode(each.name) for each in inside]
        for inner in names:
            if depth > 0:
                remove_tree(deeper, inner, depth - 1)
            else:
                _remove_flat(deeper, inner)
    finally:
        os.close(deeper)
    os.rmdir(name, dir_fd=folder)


def _remove_flat(folder: int, name: bytes) -> None:
    """Remove a tree of any depth: each folder found in it is first moved up into `folder`."""
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if not stat.S_ISDIR(os.stat(current, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(current, dir_fd=folder)
            continue
        deeper = _open_for_good(folder, current)
        try:
            with os.scandir(deeper) as inside:
                found = [(os.fsencode(e.name), e.is_dir(follow_symlinks=False)) for e in inside]
            for inner, is_folder in found:
                if is_folder:
                    moved = UPLOAD_PREFIX + secrets.token_hex(8).encode()
                    os.rename(inner, moved, src_dir_fd=deeper, dst_dir_fd=folder)
                    waiting.append(moved)
                else:
                    os.unlink(inner, dir_fd=deeper)
        finally:
            os.close(deeper)
        os.rmdir(current, dir_fd=folder)


def _open_for_good(folder: int, name: bytes) -> int:
    """Open a folder that is to be removed, whatever its permissions."""
    deeper = open_closed(folder, name, _FOLDER)
    os.fchmod(deeper, 0o700)
    return deeper


def real_path(root: int, path: str) -> str:
    """Return the path that a listing shows as `path`, where bytes that are not UTF-8 are replaced.

    Raises:
        FileMissingError: there is no such file, or more than one.
    """
    if _REPLACEMENT not in path:
        return path
    real = ""
    for part in path.split("/"):
        names = [part]
        if _REPLACEMENT in part:
            with open_folder(root, real) as folder, os.scandir(folder) as inside:
                found = [each.name for each in inside if printable(each.name) == part]
            names = [part] if part in found else found
        if len(names) != 1:
            raise FileMissingError(f"{len(names)} files are listed as {path}.")
        real = whole(real, names[0])
    return real


def printable(name: str) -> str:
    """Return a name as listings show it: bytes that are not UTF-8 become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def missing_is_ours(name: str) -> Iterator[None]:
    """Report an unreachable file as missing: the caller learns nothing of links that lead away.

    Raises:
        FileFailedError: something else is the reason, and the file may be there.
        FileMissingError: see above.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _ABSENT:
            raise FileMissingError(f"The file {name} was not found.") from error
        raise _failed(name, error) from error


@contextlib.contextmanager
def full_is_ours(name: str) -> Iterator[None]:
    """Turn a full disk, or what has the name already, into an error of the service."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("The session has no room for the file.") from error
        if error.errno in _IN_THE_WAY:
            raise FileRefusedError(
                f"{name} cannot be written: {os.strerror(error.errno)}."
            ) from error
        raise _failed(name, error) from error


def _failed(name: str, error: OSError) -> FileFailedError:
    return FileFailedError(f"{name or 'The folder'}: {os.strerror(error.errno or 0)}.")
