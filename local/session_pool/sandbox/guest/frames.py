"""The words between a kernel in the sandbox and the pool outside: frames on two pipes.

A pipe cannot carry descriptors: closing those of a session could take as long as it likes.

A frame is a 4-byte big-endian length and that many bytes of JSON. A reply announces its images and
long texts in `blobs`; their raw bytes follow it, in that order, without lengths of their own.
"""

import json
import os
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct(">I")

# A frame that is longer is never read: the host kills the kernel instead.
MAX_FRAME_BYTES = 1 << 20
# All outputs of one execution together. What does not fit is left out, see `ResultCollector`.
MAX_BLOBS_BYTES = 32 << 20
# On top of them, a result that is too long for the frame.
MAX_RESULT_BYTES = 1 << 20
# How many outputs there can be, and what of them is in the frame itself: texts up to a size. Longer
# ones are blobs.
MAX_OUTPUTS = 500
MAX_ITEM_BYTES = 4 << 10
MAX_INLINE_BYTES = 128 << 10
# All that describes the outputs, so that the frame is never too long.
MAX_DESCRIBED_BYTES = 512 << 10
# Text of a result and of a traceback; what is beyond is cut.
MAX_RESULT_CHARS = 128 << 10
MAX_TRACEBACK_CHARS = 32 << 10
# A result that is nested deeper is answered as text.
MAX_RESULT_DEPTH = 64

# Where a kernel has its ends of the pipes.
REPLIES, REQUESTS = 3, 4

# Descriptors that come with the hello of a kernel, on a socket of its own, in this order.
HELLO_DESCRIPTORS = ("init", "kernel", "data", "tmp", "shm", "home")


def encode(message: dict[str, Any]) -> bytes:
    """Return `message` as one frame."""
    body = json.dumps(message, ensure_ascii=False).encode(errors="replace")
    return LENGTH.pack(len(body)) + body


def printable(text: str) -> str:
    """Return `text` as UTF-8 can hold it: half a surrogate pair is escaped, as stdout does it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def send(descriptor: int, message: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Write a frame and what follows it."""
    for part in (encode(message), *blobs):
        view = memoryview(part)
        while view:
            view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> dict[str, Any] | None:
    """Read the next frame; None when the other end is closed."""
    header = _exactly(descriptor, LENGTH.size)
    if header is None:
        return None
    body = _exactly(descriptor, LENGTH.unpack(header)[0])
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def _exactly(descriptor: int, size: int) -> bytes | None:
    chunks = bytearray()
    while len(chunks) < size:
        chunk = os.read(descriptor, min(size - len(chunks), 1 << 16))
        if not chunk:
            return None
        chunks += chunk
    return bytes(chunks)
