"""The host's end of a session's stdout or stderr: bounded, always drained, never in the way."""

import asyncio
import contextlib
import fcntl
import functools
import os
from dataclasses import dataclass

_CHUNK_BYTES = 1 << 16
# Up to here output that nobody keeps is drained as fast as it comes; beyond it the writer has to
# wait, so that a flood cannot keep the event loop busy.
_FREE_FLOOD_BYTES = 64 << 20
_PAUSE_S = 0.001
_FLOOD_PIPE_BYTES = 1 << 20


# Room for the marks of outputs among the text.
_MARKS_BYTES = 64 << 10
# Bytes of UTF-8 that continue a character: all others begin one.
_CONTINUING = bytes(range(0x80, 0xC0))


@dataclass(frozen=True)
class StreamText:
    """The text that an execution wrote to one stream.

    Attributes:
        text: its head.
        total_chars: how many characters there were; of a flood beyond 64 MiB, how many bytes.
        pieces: the text, parted where outputs were shown.
    """

    text: str
    total_chars: int
    pieces: tuple[str, ...]

    @property
    def is_cut(self) -> bool:
        """Whether there was more than `text`."""
        return self.total_chars > len(self.text)


class OutputStream:
    """Collects the session's output between two calls of `take`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._null = _null()  # now: in the middle of a flood there may be no descriptor left
        self._kept = bytearray()
        self._room_bytes = _CHUNK_BYTES
        self._dropped_bytes = 0
        self._dropped_chars = 0
        self._marker = b""
        self._widened = False
        self._loop = asyncio.get_running_loop()
        self._resume: asyncio.TimerHandle | None = None
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._on_readable)

    def begin(self, max_chars: int, marker: str = "") -> None:
        """An execution starts; what came since the last one counts as its own.

        Args:
            max_chars: how much of it is kept.
            marker: what the kernel writes where an output was shown.
        """
        self._marker = marker.encode()
        room_bytes = 4 * max_chars + (_MARKS_BYTES if marker else 0)
        self._room_bytes = max(0, room_bytes - len(self._kept))
        self._dropped_bytes = self._dropped_chars = 0

    def take(self, max_chars: int) -> StreamText:
        """The execution is over: return the head of what it wrote."""
        # It may have written right before its reply. Bounded: a background thread may flood.
        for _ in range(8):
            if not self._read():
                break
        parts = self._kept.split(self._marker) if self._marker else [self._kept]
        room_chars, total_chars = max_chars, self._dropped_chars
        pieces = []
        for part in parts:
            text = part.decode("utf-8", "replace")
            pieces.append(text[:room_chars])
            room_chars -= len(pieces[-1])
            total_chars += len(text)
        self._kept.clear()
        self._room_bytes = _CHUNK_BYTES
        self._dropped_bytes = self._dropped_chars = 0
        return StreamText("".join(pieces), total_chars, tuple(pieces))

    def close(self) -> None:
        """Stop listening and close the descriptor."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _on_readable(self) -> None:
        self._read()
        if self._dropped_bytes > _FREE_FLOOD_BYTES:
            self._loop.remove_reader(self._descriptor)
            if not self._widened:
                self._widened = True
                with contextlib.suppress(OSError):  # an ordinary user may have only so many pages
                    fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _FLOOD_PIPE_BYTES)
            self._resume = self._loop.call_later(
                _PAUSE_S, self._loop.add_reader, self._descriptor, self._on_readable
            )

    def _read(self) -> bool:
        """Read once; False when there is nothing, now or ever."""
        try:
            if self._room_bytes > 0:
                chunk = os.read(self._descriptor, min(_CHUNK_BYTES, self._room_bytes))
                self._kept += chunk
                self._room_bytes -= len(chunk)
                size = len(chunk)
            elif self._dropped_bytes < _FREE_FLOOD_BYTES:
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
                size = len(chunk)
                self._dropped_bytes += size
                self._dropped_chars += _characters(chunk)
            else:
                # Inside the kernel, without a copy into this process.
                size = os.splice(self._descriptor, self._null, 1 << 20)
                self._dropped_bytes += size
                self._dropped_chars += size
        except BlockingIOError:
            return False
        if size == 0:  # every writer is gone
            self._loop.remove_reader(self._descriptor)
        return size > 0


@functools.cache
def _null() -> int:
    """Where floods go: one descriptor for all sessions."""
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _characters(text: bytes) -> int:
    return len(text) if text.isascii() else len(text.translate(None, _CONTINUING))
