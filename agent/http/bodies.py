"""Requests as the agent's own types: query, JSON bodies, limits, and what Accept asks for."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Final

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from agent.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)
from agent.frozen import frozen
from agent.http.json_bounds import check_tokens
from agent.http.pictures import Found, of_question, picture_at
from agent.http.problems import invalid, unknown_parameter
from agent.http.schemas import ChatRequest
from agent.memory import FREE_BYTES, Share
from agent.pictures import PICTURES_MAX_BYTES
from agent.turns.turn import FileToSee, TurnRequest

# A caller that keeps its conversation itself sends all of it with every turn, figures included.
HISTORY_MAX_BYTES = 16 * 1024 * 1024
# More messages are no conversation, and each costs some of the worker's time with every call of the
# model; as many characters are a million tokens, which no model reads.
MESSAGES_MAX = 2048
PAGE_ENTRIES = 50
PAGE_MAX_ENTRIES = 100
HISTORY_MAX_CHARS = 4_000_000
# A longer body is read in a thread: to hand it over costs more than to read a short one.
_READ_AT_ONCE_BYTES = 32 * 1024
_LONG_BYTES: Final = 1024**2
# A body is there as bytes, and its texts as the parser has them and as Python has them.
_PARSING: Final = 3
# Whoever sends more slowly holds a share for nothing.
_BODY_TIMEOUT_S: Final = 120
# A character is at most 6 bytes in JSON (\\uXXXX is one UTF-16 unit of it), and some room.
_BYTES_PER_CHAR = 12
_BODY_ROOM_BYTES = 4096
NEW_CONVERSATION: Final = "new"
_ADDRESS: Final = re.compile(r"data:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def wants_events(request: Request) -> bool:
    """Whether the caller prefers server-sent events to JSON, by its Accept header."""
    accept = request.headers.get("accept", "").lower()
    if "text/event-stream" not in accept:
        return False  # most callers, who need no list
    accepted = dict(parse_accept_header(accept, MIMEAccept))
    # By name: `*/*` takes whatever is simplest, which is JSON.
    events = accepted.get("text/event-stream", 0)
    return events > 0 and events >= accepted.get("application/json", 0)


@frozen
class Chat:
    """A question for `/api/chat`.

    Attributes:
        turn: the question and its pictures.
        conversation_id: `new`, or an id; None for a stateless turn.
    """

    turn: TurnRequest
    conversation_id: str | None


def read_query(request: Request, max_chars: int) -> Chat:
    """The question in `?input=`."""
    _refuse_unknown(request, "input")
    values = request.query_params.getlist("input")
    if len(values) != 1:
        raise InvalidRequestError("Give one query parameter `input`.", field="input")
    return _checked(lambda: ChatRequest(input=values[0]), max_chars)


def read_page(request: Request) -> tuple[int, str | None]:
    """How many entries of a list are asked for, and the cursor behind which they begin."""
    _refuse_unknown(request, "limit", "cursor")
    limit = request.query_params.get("limit", str(PAGE_ENTRIES))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= PAGE_MAX_ENTRIES):
        raise InvalidRequestError(
            f"`limit` must be a whole number from 1 to {PAGE_MAX_ENTRIES}.", field="limit"
        )
    return int(limit), request.query_params.get("cursor") or None


def _refuse_unknown(request: Request, *known: str) -> None:
    unknown = set(request.query_params) - {*known, "code"}  # code: a function key
    if unknown:
        raise unknown_parameter(min(unknown))


async def read_chat(request: Request, share: Share, max_chars: int) -> Chat:
    """The question in a JSON body."""
    chat = await read_json(
        request,
        share,
        max_chars * _BYTES_PER_CHAR + _BODY_ROOM_BYTES + PICTURES_MAX_BYTES * 4 // 3,
        lambda body: _checked(lambda: validated(ChatRequest, body), max_chars),
    )
    if share.held_bytes:
        share.settle(chat.turn.held_bytes)
    return chat


async def read_json[T](
    request: Request, share: Share, max_bytes: int, read: Callable[[bytearray], T]
) -> T:
    """The JSON body, parsed by `read`; a large body does not delay other callers.

    Args:
        request: of the caller.
        share: gets what a long body takes while it is read. The caller says what is left of it.
        max_bytes: of the body.
        read: called in a thread if the body is long.

    Raises:
        UnsupportedMediaTypeError: the content type is not JSON.
        PayloadTooLargeError: the body is longer, or has too many values.
        AppBusyError: other requests have the memory.
        DeadlineExceededError: the body did not come.
    """
    body = await _read_body(request, share, max_bytes)

    def parsed() -> T:
        check_tokens(body)
        return read(body)

    if len(body) <= _READ_AT_ONCE_BYTES:
        return parsed()
    async with share.memory.parsing:
        return await asyncio.to_thread(parsed)


def validated[M: BaseModel](model: type[M], body: bytes | bytearray) -> M:
    """The JSON body as such a model, a long one without holding up other threads for long.

    pydantic keeps Python's lock from the first byte to the last, and takes five milliseconds for
    each megabyte of characters beyond ASCII, the standard library two, in two steps.

    Raises:
        ValidationError: it is none.
    """
    # pydantic takes no half characters, which only an escape can name.
    if len(body) > _LONG_BYTES and not body.isascii() and b"\\u" not in body:
        with suppress(ValueError, RecursionError):  # it says why in other words
            return model.model_validate(json.loads(body.decode()))
    return model.model_validate_json(body)


async def _read_body(request: Request, share: Share, max_bytes: int) -> bytearray:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("Send JSON with `Content-Type: application/json`.")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S), aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > max_bytes:
                    raise PayloadTooLargeError(f"The body has more than {max_bytes:,} bytes.")
                if len(body) > FREE_BYTES and not share.held_bytes:
                    await share.take(_PARSING * min(_declared(request, max_bytes), max_bytes))
    except TimeoutError:
        raise DeadlineExceededError(
            f"The request's body did not come within {_BODY_TIMEOUT_S} s."
        ) from None
    return body


def _declared(request: Request, default: int) -> int:
    """How long the body is by its header."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else default


def check_length(question: str, max_chars: int, field: str) -> None:
    """Refuse a question that is too long.

    Raises:
        PayloadTooLargeError: it is.
    """
    if len(question) > max_chars:
        raise PayloadTooLargeError(
            f"`{field}` has {len(question):,} characters; the limit is {max_chars:,}.",
            field=field,
        )


def check_history(turn: TurnRequest) -> None:
    """Refuse a conversation that is longer than any model reads.

    Raises:
        PayloadTooLargeError: it is.
    """
    if len(turn.history) >= MESSAGES_MAX:
        raise PayloadTooLargeError(
            f"`messages` may have {MESSAGES_MAX:,} entries. Leave out the oldest.",
            field="messages",
        )
    texts = (message.text for message in turn.history)
    chars = len(turn.question) + len(turn.instructions) + sum(map(len, texts))
    if chars > HISTORY_MAX_CHARS:
        raise PayloadTooLargeError(
            f"The messages have {chars:,} characters, which is more than the {HISTORY_MAX_CHARS:,} "
            "that a model could read. Leave out the oldest.",
            field="messages",
        )


def json_response(body: BaseModel, status: int = 200) -> Response:
    """A schema as a JSON response."""
    # As bytes, not as text that is encoded once more: a history has 8 MB.
    content = body.__pydantic_serializer__.to_json(body)
    return Response(content, status_code=status, media_type="application/json")


def _checked(make: Callable[[], ChatRequest], max_chars: int) -> Chat:
    try:
        chat = make()
    except ValidationError as error:
        raise invalid(error) from None
    check_length(chat.input, max_chars, "input")
    found = [
        _image_at(text, f"images.{n}", chat.conversation_id) for n, text in enumerate(chat.images)
    ]
    shown = of_question(found, "images")
    turn = TurnRequest(
        chat.input, pictures=shown.pictures, looks_at=shown.files, to_fetch=shown.addresses
    )
    return Chat(turn, chat.conversation_id)


def _image_at(text: str, field: str, conversation_id: str | None) -> Found:
    """A picture of a question: an address has a scheme, a name of a file has none."""
    if _ADDRESS.match(text):
        return picture_at(text, field)
    if conversation_id in (None, NEW_CONVERSATION):
        raise InvalidRequestError(
            f"`{field}` names a file, which only a conversation has: give its `conversation_id`, "
            "or the picture as a data: URL.",
            field=field,
        )
    return FileToSee(text, field)
