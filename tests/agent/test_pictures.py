"""Which files are pictures, how large they are, and what is refused by its name."""

import struct
import time
from typing import Any

import pytest

from agent.errors import AgentError
from agent.pictures import (
    PICTURE_MAX_BYTES,
    PICTURES_MAX,
    PIXELS_MAX,
    check_number,
    header_of,
    picture_in,
    picture_of,
)
from tests.support.pictures import (
    HEIGHT,
    PICTURES,
    WEBP_LOSSLESS,
    WEBP_WITH_ALPHA,
    WIDTH,
    data_url,
    png_that_says,
)

PNG, JPEG, GIF, WEBP = PICTURES.values()


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments)


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


FRAME = struct.pack(">BHH", 8, HEIGHT, WIDTH) + bytes(10)


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        *PICTURES.items(),
        ("image/webp", WEBP_LOSSLESS),
        ("image/webp", WEBP_WITH_ALPHA),
        ("image/gif", GIF.replace(b"GIF87a", b"GIF89a")),
        ("image/jpeg", jpeg(segment(0xE1, bytes(60_000)), segment(0xC2, FRAME))),
        ("image/jpeg", jpeg(segment(0xC4, bytes(20)), b"\xff\xff\xff", segment(0xC0, FRAME))),
    ],
)
def test_type_and_size_are_read_from_the_content(media_type: str, content: bytes) -> None:
    assert header_of(content) == (media_type, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='20' height='10'/>",
        b"%PDF-1.7",
        b"BM" + bytes(60),
        b"\x00\x00\x00\x18ftypavif" + bytes(60),
        b" " + PNG,
        PNG[:20],
        PNG[:12] + b"CgBI" + PNG[16:],
        png_that_says(0, 10),
        png_that_says(10, 0),
        GIF[:9],
        GIF[:6] + bytes(4) + GIF[10:],
        b"GIF88a" + GIF[6:],
        JPEG[:30],
        jpeg(segment(0xDA), segment(0xC0, FRAME)),
        jpeg(segment(0xD9), segment(0xC0, FRAME)),
        jpeg(segment(0xC4)),
        jpeg(struct.pack(">BBH", 0xFF, 0xE0, 0), segment(0xC0, FRAME)),
        jpeg(b"\xff\xe0"),
        jpeg(segment(0xE0), b"\x00\x00", segment(0xC0, FRAME)),
        WEBP[:20],
        WEBP[:23] + bytes(3) + WEBP[26:],
        WEBP_LOSSLESS[:20] + b"\x00" + WEBP_LOSSLESS[21:],
        WEBP_LOSSLESS[:22],
        WEBP_WITH_ALPHA[:27],
        b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(60),
        b"RIFF" + bytes(4) + b"WEBPXXXX" + bytes(60),
    ],
)
def test_what_is_broken_or_something_else_is_no_picture(content: bytes) -> None:
    assert header_of(content) is None


@pytest.mark.parametrize(
    "content", [jpeg(segment(0xE0) * 2_000_000), jpeg(b"\xff" * PICTURE_MAX_BYTES)]
)
def test_a_picture_of_endless_segments_costs_no_time(content: bytes) -> None:
    began = time.process_time()
    assert header_of(content) is None
    assert time.process_time() - began < 0.1


PLAIN = data_url(PNG).partition(",")[2]


@pytest.mark.parametrize(
    "url",
    [
        data_url(PNG),
        data_url(PNG).replace("data:image/png", "DATA:Image/PNG"),
        data_url(PNG, "image/png;name=a.png"),
        data_url(PNG, "image/x-png"),
        # What it is declared to be counts for nothing, as long as it is some picture.
        data_url(PNG, "image/jpg"),
    ],
)
def test_a_data_url_is_read_by_its_content(url: str) -> None:
    picture = picture_in(url, "images.0")
    assert (picture.media_type, picture.content) == ("image/png", PNG)
    assert picture.data_url == data_url(PNG)
    assert picture.name == picture_in(data_url(PNG), "images.1").name
    assert picture.name != picture_of(PNG + b"\0", "images.0").name


# An address → what is wrong with it, by the same words on every surface.
ODD_URLS = {
    "": "is not fetched",
    "picture.png": "is not fetched",
    "https://example.com/picture.png": "is not fetched",
    "http://127.0.0.1/picture.png": "is not fetched",
    "file:///etc/passwd": "is not fetched",
    "blob:https://example.com/1": "is not fetched",
    "data:": "is not fetched",
    "data:image/png": "is not fetched",
    f"data:image/png,{PLAIN}": "must be a data: URL in base64",
    "data:,": "must be a data: URL in base64",
    f"data:;base64,{PLAIN}": "has the media type of no picture",
    f"data:text/html;base64,{PLAIN}": "has the media type of no picture",
    f"data:image/svg+xml;base64,{PLAIN}": "has the media type of no picture",
    f"data:image/png;base64,{PLAIN[:-1]}": "is not valid base64",
    f"data:image/png;base64,{PLAIN} ": "is not valid base64",
    f"data:image/png;base64,{PLAIN[:4]}-_{PLAIN[6:]}": "is not valid base64",
    f"data:image/png;base64,{PLAIN[:4]}%2B{PLAIN[7:]}": "is not valid base64",
    "data:image/png;base64,ö": "is not valid base64",
    "data:image/png;base64,": "is no picture that a model can be shown",
    data_url(b"<html>"): "is no picture that a model can be shown",
    data_url(PNG[:20]): "is no picture that a model can be shown",
    data_url(png_that_says(100_000, 100_000)): "has 100,000 times 100,000 pixels",
    data_url(PNG + bytes(PICTURE_MAX_BYTES)): "has more than 8,388,608 bytes",
}


@pytest.mark.parametrize("url", ODD_URLS, ids=range(len(ODD_URLS)))
def test_an_address_without_a_picture_is_refused_by_its_field(url: str) -> None:
    with pytest.raises(AgentError) as refused:
        picture_in(url, "images.0")
    assert refused.value.detail.startswith(f"`images.0` {ODD_URLS[url]}")
    assert refused.value.field == "images.0"
    assert PLAIN[:20] not in refused.value.detail


def test_the_largest_picture_is_taken() -> None:
    content = png_that_says(PIXELS_MAX // 1000, 1000)
    content += bytes(PICTURE_MAX_BYTES - len(content))
    assert picture_of(content, "images.0").width == 50_000
    assert picture_in(data_url(content), "images.0").content == content


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([picture_of(PNG, "")] * (PICTURES_MAX + 1), "has 11 pictures"),
        (["a.png"] * (PICTURES_MAX + 1), "has 11 pictures"),
        ([picture_of(PNG + bytes(6 * 1024**2), "")] * 2, "may have 10,485,760 bytes"),
    ],
)
def test_too_many_are_refused_together(pictures: list[Any], words: str) -> None:
    with pytest.raises(AgentError, match=words) as refused:
        check_number(pictures, "images")
    assert (refused.value.status, refused.value.field) == (413, "images")
