"""The folder store's disk operations: blocking functions, for threads.

A name appears only with its whole content (written elsewhere, flushed, renamed); what is appended
counts from its line end on.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Self

from agent.conversations.file_names import name_of_stored, stored_name
from agent.conversations.store import conversation_busy, file_not_stored, no_such_conversation
from agent.errors import StoreAccessError, StoreError

_BLOCK_BYTES: Final = 64 * 1024
# Of one component, with room for a mark.
_PART_MAX_BYTES: Final = 250
# An upload does not take that long: what is older belongs to a process that died.
_ABANDONED_AFTER_S: Final = 24 * 3600


# Of a file: its number, length and times. Whatever changes the file changes some of them.
type Mark = tuple[int, int, int, int]


@contextlib.contextmanager
def as_store_errors() -> Iterator[None]:
    """Errors of the operating system become ours; they would show paths."""
    try:
        yield
    except PermissionError as error:
        raise StoreAccessError(
            "The app may not write to the folder of the conversations. "
            "Check the folder's owner, or set CONVERSATIONS_URL to another one."
        ) from error
    except OSError as error:
        raise StoreError(
            f"The folder of the conversations failed ({os.strerror(error.errno or 0)}). "
            "Check its disk."
        ) from error


def read_or_make(path: Path, content: bytes) -> bytes:
    """The file's content; `content`, if the file did not exist before.

    Two processes that ask at once read the same: a hard link, unlike a rename, fails where the
    name exists, and unlike O_EXCL it shows no file that is still empty.
    """
    with as_store_errors():
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        _make_folder(path.parent)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        _write(draft, content)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
        _flush_folder(path.parent)
        return path.read_bytes()


def check_writable(folder: Path) -> None:
    """Refuse a folder in which the app can make nothing.

    Raises:
        StoreAccessError: it is.
    """
    with as_store_errors():
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError


class ConversationFolder:
    """One conversation on disk, which may not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # As texts: to put a Path together takes as long as to open its file.
        self._manifest = f"{path}/conversation.json"
        self._turns = f"{path}/turns.jsonl"
        self._files = f"{path}/files"
        self._arriving = f"{path}/arriving"
        # Held while a turn runs.
        self.lock_path = f"{path}/lock"

    def make(self, manifest: bytes, lock: "Lock") -> None:
        """Make it, empty and held.

        Each of the three flushes is needed for its first turn to be there after a power cut: of
        the manifest's content, of the names beside it, and of the conversation's own.
        """
        draft = ConversationFolder(self.path.with_name(f".new-{secrets.token_hex(8)}"))
        with as_store_errors():
            try:
                os.mkdir(draft.path, 0o700)
            except FileNotFoundError:
                # The owner's first.
                _make_folder(self.path.parent)
                os.mkdir(draft.path, 0o700)
            os.mkdir(draft._files)
            os.mkdir(draft._arriving)
            _write(draft._manifest, manifest)
            # Empty: all that they are is their names, which the folder keeps.
            os.close(_create(draft._turns))
            lock.make(draft.lock_path)
            _flush_folder(draft.path)
            os.rename(draft.path, self.path)
            _flush_folder(self.path.parent)

    def read_manifest(self) -> bytes:
        """The file that `make` wrote."""
        with as_store_errors(), _or_no_conversation():
            return Path(self._manifest).read_bytes()

    def history_size(self) -> int:
        """Bytes of the history up to its last line end; the rest was never completed."""
        with as_store_errors(), _or_no_conversation(), _opened(self._turns) as file:
            return _behind_line_end(file, os.fstat(file).st_size)

    def history_mark(self) -> Mark:
        """See Mark."""
        with as_store_errors(), _or_no_conversation():
            return _mark_of(os.stat(self._turns))

    def read_ends(self, max_bytes: int) -> tuple[bytes, bytes]:
        """How the first and the last whole line of the history begin; empty if there is none."""
        with as_store_errors(), _or_no_conversation(), _opened(self._turns) as file:
            size_bytes = _behind_line_end(file, os.fstat(file).st_size)
            last = _behind_line_end(file, size_bytes - 1)
            first_line = os.pread(file, min(max_bytes, size_bytes), 0)
            if last == 0:
                return first_line, first_line
            return first_line, os.pread(file, min(max_bytes, size_bytes - last), last)

    def read_history(self, start: int, end: int) -> bytes:
        """The bytes of the history from one offset up to another."""
        with as_store_errors(), _or_no_conversation(), _opened(self._turns) as file:
            return os.pread(file, end - start, start)

    def append_history(self, data: bytes, at: int, changed_ns: int) -> Mark:
        """Add lines behind the first `at` bytes, safe from a power cut when this returns.

        The history then counts as changed at that time, in ns since the epoch. The value is the
        mark that it has then.
        """
        with as_store_errors(), _or_no_conversation(), _opened(self._turns, os.O_WRONLY) as file:
            os.ftruncate(file, at)
            _write_at(file, data, at)
            os.utime(file, ns=(changed_ns, changed_ns))
            os.fsync(file)
            return _mark_of(os.fstat(file))

    def delete(self) -> None:
        """Remove everything; gone at once for everybody else, and for good."""
        with as_store_errors(), _or_no_conversation():
            self.path.rename(self.path.with_name(f".deleted-{secrets.token_hex(8)}"))
            # Before anything is removed: a power cut could bring back what is left by then.
            _flush_folder(self.path.parent)
            # Others than ours are of a process that died here.
            for remains in self.path.parent.glob(".deleted-*"):
                shutil.rmtree(remains, ignore_errors=True)

    def open_arrival(self) -> BinaryIO:
        """A new file, not yet one of the conversation's; `take_in` or `discard` ends it."""
        with as_store_errors(), _or_no_conversation():
            oldest = datetime.now(UTC).timestamp() - _ABANDONED_AFTER_S
            for entry in list(os.scandir(self._arriving)):
                with contextlib.suppress(FileNotFoundError):  # taken in meanwhile
                    if entry.stat().st_mtime < oldest:
                        os.unlink(entry.path)
            return open(f"{self._arriving}/{secrets.token_hex(8)}", "xb")

    def write(self, arrival: BinaryIO, block: bytes) -> None:
        """Add to a file that arrives."""
        with as_store_errors():
            arrival.write(block)

    def take_in(self, arrival: BinaryIO, name: str) -> None:
        """Give a file that is whole its name, in place of the one that has it."""
        with as_store_errors(), _or_no_conversation():
            arrival.flush()
            os.fsync(arrival.fileno())
            arrival.close()
            place = self._path_of(name)
            self._make_folders_of(place)
            Path(arrival.name).rename(place)
            _flush_folder(place.parent)

    def discard(self, arrival: BinaryIO) -> None:
        """Remove a file that was not taken in."""
        with contextlib.suppress(OSError):
            arrival.close()
        with contextlib.suppress(OSError):
            Path(arrival.name).unlink()

    def files(self) -> list[tuple[str, int, datetime]]:
        """Names and lengths of the files and when they were kept, by name."""
        with as_store_errors(), _or_no_conversation():
            return sorted(self._files_in(self._files, ""))

    def _files_in(self, folder: str, stored: str) -> Iterator[tuple[str, int, datetime]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from self._files_in(entry.path, stored + entry.name[:-1])
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue  # deleted meanwhile
                modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
                yield name_of_stored(stored + entry.name), found.st_size, modified_at

    def _path_of(self, name: str) -> Path:
        """One component, or as many as the file system needs to hold a name that is longer.

        A folder's name ends with `%`, which that of no file does: it stands before two digits.
        """
        place, part = Path(self._files), ""
        for char in stored_name(name):
            if len((part + char).encode()) > _PART_MAX_BYTES:
                place, part = place / f"{part}%", ""
            part += char
        return place / part

    def _make_folders_of(self, place: Path) -> None:
        """Make those in which a long name lies.

        None of those above them, which would bring back a conversation that is deleted meanwhile.
        One that is there is flushed too: it may be another upload's, which has not done so yet.
        """
        depth = len(place.relative_to(self._files).parts) - 1
        for folder in reversed(place.parents[:depth]):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)
            _flush_folder(folder.parent)

    def open_file(self, name: str) -> BinaryIO:
        """The file of that name."""
        with as_store_errors(), self._or_no_file():
            return self._path_of(name).open("rb")

    def delete_file(self, name: str) -> None:
        """Remove the file of that name."""
        with as_store_errors(), self._or_no_file():
            place = self._path_of(name)
            place.unlink()
            _flush_folder(place.parent)

    @contextlib.contextmanager
    def _or_no_file(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise (
                file_not_stored() if os.path.isdir(self._files) else no_such_conversation()
            ) from None


class Lock:
    """The hold of one turn; it ends with the block or with the process, whichever is first."""

    def __init__(self, folder: ConversationFolder) -> None:
        self._path = folder.lock_path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def make(self, path: str) -> None:
        """Make the lock of a conversation that has no name yet, and take the hold."""
        self._descriptor = _create(path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Take the hold.

        Raises:
            ConversationBusyError: somebody else has it.
            ConversationNotFoundError: there is no such conversation, or not any more.
        """
        with as_store_errors(), _or_no_conversation():
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise conversation_busy() from None
            # Deleted between the two calls: the lock is then of a folder that has no name.
            if os.fstat(self._descriptor).st_ino != os.stat(self._path).st_ino:
                raise no_such_conversation()


@contextlib.contextmanager
def _or_no_conversation() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise no_such_conversation() from None


def _mark_of(file: os.stat_result) -> Mark:
    return file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns


def _behind_line_end(file: int, end: int) -> int:
    """The place behind the last line end before `end`; 0 if there is none."""
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        block = os.pread(file, end - start, start)
        if b"\n" in block:
            return start + block.rindex(b"\n") + 1
        end = start
    return 0


@contextlib.contextmanager
def _opened(path: str | Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor: a file object asks the system about it first, and where it stands."""
    file = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _create(path: str | Path) -> int:
    """A descriptor of a new, empty file."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_at(file: int, data: bytes, at: int) -> None:
    """Write all of it: a system may write less than it is given, of a disk that is nearly full."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written


def _write(path: str | Path, content: bytes) -> None:
    file = _create(path)
    try:
        _write_at(file, content, 0)
        os.fsync(file)
    finally:
        os.close(file)


def _make_folder(path: Path) -> None:
    """Make one that only the app reads, and those above it, if there is none."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in missing:
        _flush_folder(folder.parent)


def _flush_folder(path: str | Path) -> None:
    """Make names in the folder survive a power cut."""
    with _opened(path, os.O_DIRECTORY) as folder:
        os.fsync(folder)
