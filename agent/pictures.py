"""Pictures that a model can be shown: PNG, JPEG, GIF and WebP, known by their first bytes.

What a caller declares is not trusted, and nothing is decompressed here: width and height stand in
the header.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Final, Literal, get_args

from agent.errors import InvalidRequestError, PayloadTooLargeError
from agent.frozen import frozen

Detail = Literal["auto", "low", "high"]
DETAILS: Final[tuple[Detail, ...]] = get_args(Detail)

# Azure OpenAI takes 20 MB and 10 pictures in a request; all of them travel again with each call of
# the model. https://learn.microsoft.com/azure/ai-foundry/openai/how-to/gpt-with-vision
PICTURE_MAX_BYTES: Final = 8 * 1024**2
PICTURES_MAX_BYTES: Final = 10 * 1024**2
PICTURES_MAX: Final = 10
# A phone's largest photo. A small file may say that it has any number of them, and whoever opens it
# needs four bytes for each.
PIXELS_MAX: Final = 50_000_000

_EXTENSIONS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
}
_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_HASH_CHARS: Final = 10
_KINDS: Final = "PNG, JPEG, GIF and WebP are taken"
# Before the frame of a JPEG; a file may say that it has millions.
_SEGMENTS_MAX: Final = 1000


@frozen
class Picture:
    """A picture.

    Attributes:
        name: of its file.
        media_type: by its content.
        width: in pixels.
        height: in pixels.
        content: the file.
        detail: how closely the model shall look; None leaves it to the service.
    """

    name: str
    media_type: str
    width: int
    height: int
    content: bytes = field(repr=False)
    detail: Detail | None = None

    @property
    def size(self) -> str:
        """Width and height, for people and models."""
        return f"{self.width}x{self.height}"

    @property
    def data_url(self) -> str:
        """All of it in one address."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode('ascii')}"


def picture_of(content: bytes, field: str, name: str = "", detail: Detail | None = None) -> Picture:
    """The picture in a file.

    Args:
        content: of the file.
        field: of the request, for errors.
        name: of the file; without it, one that is the same for the same content.
        detail: how closely the model shall look.

    Raises:
        InvalidRequestError: it is no picture that a model takes.
        PayloadTooLargeError: it has too many bytes or pixels.
    """
    if len(content) > PICTURE_MAX_BYTES:
        raise too_large(field)
    header = header_of(content)
    if header is None:
        raise InvalidRequestError(
            f"`{field}` is no picture that a model can be shown, or is broken: {_KINDS}.",
            field=field,
        )
    media_type, width, height = header
    if width * height > PIXELS_MAX:
        raise PayloadTooLargeError(
            f"`{field}` has {width:,} times {height:,} pixels, which are more than "
            f"{PIXELS_MAX:,}: make it smaller.",
            field=field,
        )
    if not name:
        digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARS]
        name = f"picture-{digest}.{_EXTENSIONS[media_type]}"
    return Picture(name, media_type, width, height, content, detail)


def picture_in(url: str, field: str, detail: Detail | None = None) -> Picture:
    """The picture in a data: URL.

    Raises:
        InvalidRequestError: it is another address, or holds no picture that a model takes.
        PayloadTooLargeError: the picture has too many bytes or pixels.
    """
    begin = _DATA_URL.match(url)
    if begin is None:
        raise InvalidRequestError(
            f"`{field}` is not fetched: send the picture itself, as data:image/png;base64,….",
            field=field,
        )
    if ";base64" not in begin[2].lower():
        raise InvalidRequestError(f"`{field}` must be a data: URL in base64.", field=field)
    return picture_from(url[begin.end() :], begin[1], field, detail)


def picture_from(text: str, media_type: str, field: str, detail: Detail | None = None) -> Picture:
    """The picture in base64.

    Args:
        text: in base64, with its padding.
        media_type: what it is declared to be. Which of the four it is, its content says.
        field: of the request, for errors.
        detail: how closely the model shall look.

    Raises:
        InvalidRequestError: it is not base64, or no picture that a model takes.
        PayloadTooLargeError: the picture has too many bytes or pixels.
    """
    declared = media_type.strip().lower()
    if _ALIASES.get(declared, declared) not in _EXTENSIONS:
        raise InvalidRequestError(
            f"`{field}` has the media type of no picture that a model can be shown: {_KINDS}.",
            field=field,
        )
    if len(text) > PICTURE_MAX_BYTES * 4 // 3 + 4:
        raise too_large(field)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(f"`{field}` is not valid base64.", field=field) from None
    return picture_of(content, field, detail=detail)


def too_large(field: str) -> PayloadTooLargeError:
    """The error for a picture of too many bytes."""
    return PayloadTooLargeError(
        f"`{field}` has more than {PICTURE_MAX_BYTES:,} bytes: make it smaller.", field=field
    )


def check_number(pictures: Sequence[Picture | str], field: str) -> None:
    """Refuse more pictures than one question may have.

    Raises:
        PayloadTooLargeError: there are more, or they have too many bytes together.
    """
    if len(pictures) > PICTURES_MAX:
        raise PayloadTooLargeError(
            f"`{field}` has {len(pictures):,} pictures; a question may have {PICTURES_MAX}.",
            field=field,
        )
    if sum(len(p.content) for p in pictures if isinstance(p, Picture)) > PICTURES_MAX_BYTES:
        raise PayloadTooLargeError(
            f"All pictures of a question may have {PICTURES_MAX_BYTES:,} bytes: make them smaller.",
            field=field,
        )


def note(picture: Picture, more: str = "") -> str:
    """A line that tells a model of a picture."""
    return f"[image: {picture.name}, {picture.size}{more}]"


def header_of(content: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height by the first bytes; None if it is none of the four."""
    for signature, media_type, size in _READERS:
        if signature.match(content):
            try:
                width, height = size(content)
            except (IndexError, struct.error, ValueError):
                return None
            return (media_type, width, height) if width > 0 and height > 0 else None
    return None


def _png_size(content: bytes) -> tuple[int, int]:
    # https://www.w3.org/TR/png/#11IHDR
    if content[12:16] != b"IHDR":
        raise ValueError("its first chunk is another")
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif_size(content: bytes) -> tuple[int, int]:
    # https://www.w3.org/Graphics/GIF/spec-gif89a.txt, section 18
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _jpeg_size(content: bytes) -> tuple[int, int]:
    # Segments up to the start of the frame: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
    at = 2
    for _ in range(_SEGMENTS_MAX):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if marker == 0xFF:  # one more may stand before it
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        if content[at] != 0xFF or length < 2 or marker in (0xD8, 0xD9, 0xDA):
            break
        at += 2 + length
    raise ValueError("there is no frame before its data or its end")


def _webp_size(content: bytes) -> tuple[int, int]:
    # https://developers.google.com/speed/webp/docs/riff_container and RFC 6386, section 9.1
    match content[12:16]:
        case b"VP8 ":
            if content[23:26] != b"\x9d\x01\x2a":
                raise ValueError("no key frame")
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            if content[20] != 0x2F:
                raise ValueError("no lossless bitstream")
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            sides = content[24:30]
            if len(sides) < 6:
                raise ValueError("too short")
            return (
                int.from_bytes(sides[:3], "little") + 1,
                int.from_bytes(sides[3:], "little") + 1,
            )
    raise ValueError("another kind of chunk")


_READERS: Final[Sequence[tuple[re.Pattern[bytes], str, Callable[[bytes], tuple[int, int]]]]] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", _png_size),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", _jpeg_size),
    (re.compile(rb"GIF8[79]a"), "image/gif", _gif_size),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp", _webp_size),
)
