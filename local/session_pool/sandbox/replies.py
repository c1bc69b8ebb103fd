"""What a kernel answers, read as bytes that nobody vouches for."""

import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.session_pool.sandbox.guest.frames import MAX_BLOBS_BYTES, MAX_TRACEBACK_CHARS

# Images up to here stay in memory.
_MEMORY_BYTES = 256 << 10
_CHUNK_BYTES = 48 << 10


class BlobFrame(BaseModel):
    """Announces one image."""

    model_config = ConfigDict(extra="forbid")

    media_type: Literal["image/png", "image/jpeg"]
    size_bytes: Annotated[int, Field(alias="bytes", ge=0, le=MAX_BLOBS_BYTES)]


class ReplyFrame(BaseModel):
    """The JSON of a reply."""

    model_config = ConfigDict(extra="forbid")

    id: int
    status: Literal["ok", "error"]
    traceback: Annotated[str, Field(max_length=MAX_TRACEBACK_CHARS)] = ""
    kind: Literal["nothing", "none", "value", "image"] = "nothing"
    value: Any = None
    outputs: list[dict[str, Any]] = []
    blobs: list[BlobFrame] = []


class Blob:
    """One image: in memory, or in a file without a name that goes when the blob does."""

    def __init__(self, media_type: str, size_bytes: int) -> None:
        self.media_type = media_type
        self.size_bytes = size_bytes
        self._memory = bytearray()
        self._file: int | None = None
        self._written_bytes = 0
        if size_bytes > _MEMORY_BYTES:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)

    @property
    def missing_bytes(self) -> int:
        """How much has not arrived yet."""
        return self.size_bytes - self._written_bytes

    def write(self, data: bytes | bytearray) -> None:
        """Append what arrived."""
        if self._file is None:
            self._memory += data
        else:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        self._written_bytes += len(data)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; every chunk but the last is a multiple of three bytes, for base64."""
        for offset in range(0, self.size_bytes, _CHUNK_BYTES):
            if self._file is None:
                yield bytes(self._memory[offset : offset + _CHUNK_BYTES])
            else:
                yield os.pread(self._file, _CHUNK_BYTES, offset)


@dataclass(frozen=True)
class Reply:
    """A kernel's answer to one execution."""

    frame: ReplyFrame
    blobs: tuple[Blob, ...]
