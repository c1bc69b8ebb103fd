"""What a kernel answers, read as bytes that nobody vouches for."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.session_pool.sandbox.guest.frames import MAX_BLOBS_BYTES, MAX_TRACEBACK_CHARS

# Images up to here stay in memory, larger ones go to a file that has no name.
_SPOOL_BYTES = 256 << 10
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
    """One image, in memory or in an unnamed file."""

    def __init__(self, media_type: str, size_bytes: int) -> None:
        self.media_type = media_type
        self.size_bytes = size_bytes
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - lives as long as the reply
            max_size=_SPOOL_BYTES
        )
        self._written_bytes = 0

    @property
    def missing_bytes(self) -> int:
        """How much has not arrived yet."""
        return self.size_bytes - self._written_bytes

    def write(self, data: bytes | bytearray) -> None:
        """Append what arrived."""
        self._file.write(data)
        self._written_bytes += len(data)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; every chunk but the last is a multiple of three bytes, for base64."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk


@dataclass(frozen=True)
class Reply:
    """A kernel's answer to one execution."""

    frame: ReplyFrame
    blobs: tuple[Blob, ...]
