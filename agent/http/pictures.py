"""The pictures of a request, wherever its API has them."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from agent.pictures import PICTURES_MAX, Detail, Picture, check_number, picture_in
from agent.turns.turn import FileToSee

_OWN_FILE: Final = re.compile(r"/api/conversations/([0-9a-f]{32})/files/(.+)", re.DOTALL)


def picture_at(
    url: str, field: str, detail: Detail | None = None, conversation_id: str | None = None
) -> Picture | FileToSee:
    """The picture at an address: a data: URL, or a file of the conversation that the request names.

    Raises:
        InvalidRequestError: it is another address, or no picture that a model takes.
        PayloadTooLargeError: the picture has too many bytes or pixels.
    """
    own = _OWN_FILE.fullmatch(url)
    if own and own[1] == conversation_id:
        return FileToSee(unquote(own[2]), field)
    return picture_in(url, field, detail)


def of_question(
    found: Sequence[Picture | FileToSee], field: str
) -> tuple[tuple[Picture, ...], tuple[FileToSee, ...]]:
    """The pictures of the question itself, each once: those that came with it, and files.

    Raises:
        PayloadTooLargeError: there are too many, or they are too large together.
    """
    pictures = tuple({each.name: each for each in found if isinstance(each, Picture)}.values())
    files = tuple({each.name: each for each in found if isinstance(each, FileToSee)}.values())
    check_number([*pictures, *(file.name for file in files)], field)
    return pictures, files


def of_history(found: Sequence[Picture | FileToSee]) -> tuple[Picture, ...]:
    """The last pictures of earlier messages, which code may still want to open."""
    pictures = {each.name: each for each in found if isinstance(each, Picture)}
    return tuple(pictures.values())[-PICTURES_MAX:]


def line_of(found: Picture | FileToSee) -> str:
    """What a model reads in place of a picture of an earlier message."""
    return f"[image: {found.name}]"
