"""A kernel's replies, read as untrusted bytes."""

import json
import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from local.session_pool.sandbox.guest.frames import (
    MAX_BLOBS_BYTES,
    MAX_OUTPUTS,
    MAX_TRACEBACK_CHARS,
)

# Blobs up to here stay in memory.
_MEMORY_BYTES = 256 << 10
_CHUNK_BYTES = 48 << 10


class BlobFrame(BaseModel):
    """Announces one image or long text."""

    model_config = ConfigDict(extra="forbid")

    media_type: Annotated[str, Field(max_length=200)]
    size_bytes: Annotated[int, Field(alias="bytes", ge=0, le=MAX_BLOBS_BYTES)]
    is_text: Annotated[bool, Field(alias="text")] = False


class OutputFrame(BaseModel):
    """One output: each of its formats is a text, or a blob by its index.

    An error's formats are its `ename`, `evalue` and `traceback`; the error that ended the cell has
    its traceback in the reply.
    """

    model_config = ConfigDict(extra="forbid")

    output_type: Literal["display_data", "execute_result", "error"]
    data: dict[str, str]
    blobs: dict[str, Annotated[int, Field(ge=0)]]
    metadata: dict[str, Any] = {}
    mark: Annotated[int, Field(ge=0)] = 0
    execution_count: int | None = None


class ReplyFrame(BaseModel):
    """The JSON of a reply.

    Attributes:
        value_blob: index of the blob that holds `value` as JSON, if it is long.
        cleared: the mark in the streams where `clear_output` was called last.
        clear_at_next: the mark from which the next thing shown clears what was before.
    """

    model_config = ConfigDict(extra="forbid")

    id: int
    status: Literal["ok", "error"]
    traceback: Annotated[str, Field(max_length=MAX_TRACEBACK_CHARS)] = ""
    kind: Literal["nothing", "none", "value", "image"] = "nothing"
    value: Any = None
    value_blob: Annotated[int, Field(ge=0)] | None = None
    outputs: Annotated[list[OutputFrame], Field(max_length=MAX_OUTPUTS)] = []
    cleared: Annotated[int, Field(ge=0)] = 0
    clear_at_next: Annotated[int, Field(ge=0)] | None = None
    blobs: list[BlobFrame] = []

    @model_validator(mode="after")
    def _no_blob_is_missing(self) -> "ReplyFrame":
        indices = [index for output in self.outputs for index in output.blobs.values()]
        indices += [] if self.value_blob is None else [self.value_blob]
        if any(index >= len(self.blobs) for index in indices):
            raise ValueError("a blob that was not announced")
        return self


class Blob:
    """An image or long text: in memory, or in a file without a name that goes with it."""

    def __init__(self, media_type: str, size_bytes: int, *, is_text: bool = False) -> None:
        self.media_type = media_type
        self.is_text = is_text
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
        """The number of bytes that have not arrived yet."""
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

    def text(self) -> str:
        """Return the content as text."""
        return b"".join(self.chunks()).decode("utf-8", "replace")


@dataclass(frozen=True)
class Reply:
    """A kernel's answer to one execution."""

    frame: ReplyFrame
    blobs: tuple[Blob, ...]

    @property
    def value(self) -> Any:
        """The value of the last expression; None if the kernel sent no JSON."""
        if self.frame.value_blob is None:
            return self.frame.value
        try:
            return json.loads(self.blobs[self.frame.value_blob].text())
        except (ValueError, RecursionError):
            return None

    def part(self, output: OutputFrame, media_type: str) -> str:
        """Return one format of an output as text; "" if it has none."""
        if media_type in output.blobs:
            return self.blobs[output.blobs[media_type]].text()
        return output.data.get(media_type, "")
