"""multipart/form-data as it arrives: one file after the other, none of them ever whole in memory.

https://www.rfc-editor.org/rfc/rfc7578
"""

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import (
    DEFAULT_MAX_HEADER_COUNT,
    MAX_BOUNDARY_LENGTH,
    MultipartParser,
    parse_options_header,
)

from agent.errors import InvalidRequestError, UnsupportedMediaTypeError
from agent.frozen import frozen

MEDIA_TYPE: Final = "multipart/form-data"
_HEADERS_MAX_BYTES: Final = 8 * 1024
# Each costs the store some calls, and all together have the time of one request.
FILES_MAX: Final = 1000
# Quotes that nothing closes reach to the end: whatever is sent, no place is read twice.
_PARAMETER: Final = re.compile(
    rb';[ \t]*([\w!#$&+.^`|~-]+\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*+(?:"|\Z)|[^;]*)'
)
# RFC 2047, as .NET's HttpClient writes a name that is not ASCII.
_ENCODED_WORD: Final = re.compile(r"=\?[\w.:*-]+\?[BbQq]\?[^?\s]*\?=")
# What browsers write for what cannot stand in quotes: https://url.spec.whatwg.org and RFC 7578.
_BY_BROWSERS: Final = {"%22": '"', "%0D": "\r", "%0A": "\n"}


def file_name_of(disposition: bytes) -> str | None:
    """The name of the file in a Content-Disposition; None if the part is no file.

    `filename*` (RFC 5987) is taken before `filename`, which may be UTF-8 or, as .NET's HttpClient
    sends it, an encoded word of RFC 2047.
    """
    options = {name.lower(): value for name, value in _PARAMETER.findall(disposition)}
    extended = options.get(b"filename*")
    if extended is not None:
        charset, _, rest = extended.strip(b'" ').partition(b"'")
        try:
            raw = unquote_to_bytes(rest.partition(b"'")[2])
            return raw.decode(charset.decode("ascii") or "utf-8")
        except (LookupError, UnicodeDecodeError):
            pass
    value = options.get(b"filename")
    if value is None:
        return None if extended is None else ""
    value = value.strip()
    if value.startswith(b'"'):
        value = re.sub(rb'\\(["\\])', rb"\1", value[1:].removesuffix(b'"'))
    name = value.decode("utf-8", "replace")
    if _ENCODED_WORD.search(name):
        try:
            return str(make_header(decode_header(name)))
        except (HeaderParseError, LookupError, ValueError):
            return name
    return re.sub("%22|%0[AD]", lambda found: _BY_BROWSERS[found[0].upper()], name, flags=re.I)


@frozen
class Upload:
    """One file of the form; read `content` before asking for the next."""

    name: str
    content: AsyncIterator[bytes]


class _End:
    """A file is complete."""


_Piece = str | bytes | type[_End]


async def uploads(content_type: str, body: AsyncIterator[bytes]) -> AsyncGenerator[Upload]:
    """The files of a form, in order; other fields are an error.

    Args:
        content_type: of the request.
        body: of the request, in any pieces.

    Raises:
        UnsupportedMediaTypeError: it is not a form with files.
        InvalidRequestError: the form is malformed, or has a field that is no file.
    """
    media_type, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if media_type.lower() != MEDIA_TYPE.encode() or not boundary:
        raise UnsupportedMediaTypeError(
            f"Send files as {MEDIA_TYPE}: curl -F file=@data.csv does.", field="Content-Type"
        )
    pieces = _pieces(boundary, body)
    count = 0
    async for piece in pieces:
        if isinstance(piece, str):
            count += 1
            if count > FILES_MAX:
                raise InvalidRequestError(
                    f"A form may have {FILES_MAX:,} files. None is uploaded; send them in more "
                    "than one.",
                    field="file",
                )
            yield Upload(piece, _content(pieces))
    if not count:
        raise InvalidRequestError("The form has no file.", field="file")


async def _content(pieces: AsyncIterator[_Piece]) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        if piece is _End:
            return
        if isinstance(piece, bytes):
            yield piece


async def _pieces(boundary: bytes, body: AsyncIterator[bytes]) -> AsyncGenerator[_Piece]:
    """For each file its name, its content in pieces, and its end."""
    form = _Form(boundary)
    async for chunk in body:
        form.feed(chunk)
        while form.pieces:
            yield form.pieces.popleft()
    form.finish()


@contextmanager
def _or_malformed() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InvalidRequestError(
            f"The form is malformed, or its boundary is longer than {MAX_BOUNDARY_LENGTH} bytes, "
            f"or a part has more than {DEFAULT_MAX_HEADER_COUNT} headers or one that is too long."
        ) from error


class _Form:
    """python-multipart's callbacks, collected."""

    def __init__(self, boundary: bytes) -> None:
        self.pieces: deque[_Piece] = deque()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._header_bytes = 0
        self._name: str | None = None
        self._complete = False
        with _or_malformed():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_text,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )

    def feed(self, chunk: bytes) -> None:
        with _or_malformed():
            self._parser.write(chunk)

    def finish(self) -> None:
        if not self._complete:
            raise InvalidRequestError("The form ends before its last boundary.")

    def _begin_part(self) -> None:
        self._name = None
        self._header_bytes = 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._header_name, data[start:end])

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._grow(self._header_value, data[start:end])

    def _grow(self, text: bytearray, more: bytes) -> None:
        self._header_bytes += len(more)
        if self._header_bytes > _HEADERS_MAX_BYTES:
            raise InvalidRequestError("The headers of a part of the form are too long.")
        text += more

    def _end_header(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            self._name = file_name_of(bytes(self._header_value))
        self._header_name.clear()
        self._header_value.clear()

    def _begin_content(self) -> None:
        if self._name is None:
            raise InvalidRequestError("The form has a field that is not a file.", field="file")
        self.pieces.append(self._name)

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(data[start:end])

    def _end_part(self) -> None:
        self.pieces.append(_End)

    def _end(self) -> None:
        self._complete = True
