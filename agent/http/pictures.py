"""The pictures of a request, wherever its API has them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from agent.errors import InvalidRequestError
from agent.frozen import frozen
from agent.open_data.errors import FetchError
from agent.pictures import PICTURES_MAX, Detail, Picture, check_number, picture_in, picture_of
from agent.turns.turn import FileToSee, PictureToFetch, TurnRequest

_OWN_FILE: Final = re.compile(r"/api/conversations/([0-9a-f]{32})/files/(.+)", re.DOTALL)

type Found = Picture | FileToSee | PictureToFetch
# Content of a file at an https address of an allowed host; FetchError: there is none.
type Fetch = Callable[[str], Awaitable[bytes]]


@frozen
class Shown:
    """The pictures of a question.

    Attributes:
        pictures: that came with it.
        files: of the conversation.
        addresses: of pictures elsewhere.
    """

    pictures: tuple[Picture, ...]
    files: tuple[FileToSee, ...]
    addresses: tuple[PictureToFetch, ...]

    def __bool__(self) -> bool:
        return bool(self.pictures or self.files or self.addresses)


def picture_at(
    url: str, field: str, detail: Detail | None = None, conversation_id: str | None = None
) -> Found:
    """The picture at an address: a data: URL, a file of the conversation, or https elsewhere.

    Args:
        url: the address.
        field: of the request, for errors.
        detail: how closely the model shall look.
        conversation_id: that the request names.

    Raises:
        InvalidRequestError: it is another address, or no picture that a model takes.
        PayloadTooLargeError: the picture has too many bytes or pixels.
    """
    own = _OWN_FILE.fullmatch(url)
    if own and own[1] == conversation_id:
        return FileToSee(unquote(own[2]), field)
    if url[:8].lower() == "https://":
        return PictureToFetch(url, field, detail)
    return picture_in(url, field, detail)


def of_question(found: Sequence[Found], field: str) -> Shown:
    """The pictures of the question itself, each once.

    Raises:
        PayloadTooLargeError: there are too many, or they are too large together.
    """
    pictures: dict[str, Picture] = {}
    files: dict[str, FileToSee] = {}
    addresses: dict[str, PictureToFetch] = {}
    for each in found:
        match each:
            case Picture():
                pictures.setdefault(each.name, each)
            case FileToSee():
                files.setdefault(each.name, each)
            case PictureToFetch():
                addresses.setdefault(each.url, replace(each, place=len(pictures)))
    check_number([*pictures.values(), *files, *addresses], field)
    return Shown(tuple(pictures.values()), tuple(files.values()), tuple(addresses.values()))


def of_history(found: Sequence[Found]) -> tuple[Picture, ...]:
    """The last pictures of earlier messages, which code may still want to open."""
    pictures = {each.name: each for each in found if isinstance(each, Picture)}
    return tuple(pictures.values())[-PICTURES_MAX:]


def line_of(found: Found) -> str:
    """What a model reads in place of a picture of an earlier message."""
    if isinstance(found, PictureToFetch):
        return "[image, not fetched again]"
    return f"[image: {found.name}]"


async def fetched(request: TurnRequest, fetch: Fetch | None) -> TurnRequest:
    """The same request with the pictures that it only had addresses of, each in its place.

    Args:
        request: of a caller.
        fetch: gets a file from a host that the operator named; None where none is named.

    Raises:
        InvalidRequestError: an address is not on one of them, or there is no picture.
        PayloadTooLargeError: a picture has too many bytes or pixels, or all have together.
    """
    if not request.to_fetch:
        return request
    got = await asyncio.gather(
        *(_fetched(address, fetch) for address in request.to_fetch), return_exceptions=True
    )
    pictures = [*request.pictures]
    for address, picture in zip(reversed(request.to_fetch), reversed(got), strict=True):
        if isinstance(picture, BaseException):
            raise picture
        pictures.insert(address.place, picture)
    each_once = tuple({picture.name: picture for picture in pictures}.values())
    check_number(each_once, request.to_fetch[0].field.partition(".")[0])
    return replace(request, pictures=each_once, to_fetch=())


async def _fetched(address: PictureToFetch, fetch: Fetch | None) -> Picture:
    field = address.field
    if fetch is None:
        raise InvalidRequestError(
            f"`{field}` is not fetched: send the picture itself, as data:image/png;base64,…. The "
            "app setting OPEN_DATA_HOSTS names hosts that pictures may be fetched from.",
            field=field,
        )
    try:
        content = await fetch(address.url)
    except FetchError as error:
        raise InvalidRequestError(f"`{field}` was not fetched. {error}", field=field) from None
    return await asyncio.to_thread(picture_of, content, field, detail=address.detail)
