"""HTTP to and from the agent's own types: requests into schemas, events into bytes, errors once."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent.errors import (
    AgentError,
    InvalidRequestError,
    MethodNotAllowedError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)
from agent.events import Event, ExecutionFinished, FileCreated, TurnFailed, TurnFinished
from agent.hang_ups import HungUpError, unless_hung_up
from agent.schemas import (
    ChatAnswer,
    ChatRequest,
    ExecutionSchema,
    FileSchema,
    Problem,
    UsageSchema,
    WarningSchema,
)
from agent.telemetry import logger

# A caller that keeps its conversation itself sends all of it with every turn, figures included.
HISTORY_MAX_BYTES = 16 * 1024 * 1024
DEFAULT_RETRY_AFTER_S = 5
# nginx's status for a caller that is gone; nobody reads it but the host's log.
CLIENT_CLOSED_REQUEST = 499
# A character is at most 6 bytes in JSON (\\uXXXX is one UTF-16 unit of it), and some room.
_BYTES_PER_CHAR = 12
_BODY_ROOM_BYTES = 4096

type Handler = Callable[[Request], Awaitable[Response]]
# The body of an error, and its media type.
type ErrorBody = Callable[[Request, AgentError], tuple[str, str]]


async def answer(
    request: Request, handlers: dict[str, Handler], error_body: ErrorBody | None = None
) -> Response:
    """Call the handler of the request's method; whatever it raises becomes a problem.

    Args:
        request: of the caller.
        handlers: by method.
        error_body: how errors look on this route, if not as problem+json.
    """
    as_body = error_body or _problem
    try:
        handler = handlers.get(request.method)
        if handler is None:
            raise MethodNotAllowedError(f"Use {' or '.join(handlers)}.")
        return await handler(request)
    except MethodNotAllowedError as error:
        return _failed(error, as_body(request, error), {"Allow": ", ".join(handlers)})
    except AgentError as error:
        return _failed(error, as_body(request, error))
    except HungUpError:
        logger.info("the caller hung up")
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    except Exception:
        logger.exception("request failed")
        unforeseen = AgentError("Something unforeseen happened. The log has the details.")
        return _failed(unforeseen, as_body(request, unforeseen))


def wants_events(request: Request) -> bool:
    """Whether the caller prefers server-sent events to JSON, by its Accept header."""
    accepted: dict[str, float] = {}
    for entry in request.headers.get("accept", "").split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        accepted[media_type] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0
    events = accepted.get("text/event-stream", 0)
    return events > 0 and events >= accepted.get("application/json", 0)


def read_query(request: Request, max_chars: int) -> ChatRequest:
    """The question in `?input=`."""
    unknown = set(request.query_params) - {"input", "code"}  # code: a function key
    if unknown:
        name = sorted(unknown)[0]
        raise InvalidRequestError(f"{_quoted(name)} is not a parameter of this route.", field=name)
    values = request.query_params.getlist("input")
    if len(values) != 1:
        raise InvalidRequestError("Give one query parameter `input`.", field="input")
    return _checked(lambda: ChatRequest(input=values[0]), max_chars)


async def read_json(request: Request, max_chars: int) -> ChatRequest:
    """The question in a JSON body."""
    body = await read_body(request, max_chars * _BYTES_PER_CHAR + _BODY_ROOM_BYTES)
    return _checked(lambda: ChatRequest.model_validate_json(body), max_chars)


async def as_json(
    request: Request, events: AsyncGenerator[Event], conversation_id: str | None
) -> Response:
    """Run the turn to its end and answer with JSON; give up when the caller hangs up."""
    answered = await unless_hung_up(request.receive, _collect(events, conversation_id))
    return Response(answered.model_dump_json(), media_type="application/json")


def json(body: BaseModel, status: int = 200) -> Response:
    """A schema as a JSON answer."""
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")


async def _collect(events: AsyncGenerator[Event], conversation_id: str | None) -> ChatAnswer:
    executions: list[ExecutionSchema] = []
    # By name: a file that was written twice is shown as it is at the end.
    files: dict[str, FileSchema] = {}
    async with aclosing(events):
        async for event in events:
            match event:
                case ExecutionFinished():
                    executions.append(ExecutionSchema.model_validate(event.execution))
                case FileCreated():
                    files[event.file.name] = FileSchema.model_validate(event.file)
                case TurnFailed():
                    raise event.error
                case TurnFinished():
                    return ChatAnswer(
                        output=event.output,
                        conversation_id=conversation_id,
                        executions=executions,
                        files=list(files.values()),
                        usage=UsageSchema.model_validate(event.usage),
                        finish_reason=event.finish_reason,
                        warnings=[WarningSchema.model_validate(w) for w in event.warnings],
                    )
    raise AssertionError("a turn ends with TurnFinished or TurnFailed")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """A JSON body, unread; at most so long."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("Send JSON with `Content-Type: application/json`.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise PayloadTooLargeError(f"The body has more than {max_bytes:,} bytes.")
    return bytes(body)


def _checked(make: Callable[[], ChatRequest], max_chars: int) -> ChatRequest:
    try:
        chat = make()
    except ValidationError as error:
        raise invalid(error) from None
    check_length(chat.input, max_chars, "input")
    return chat


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


def invalid(error: ValidationError) -> InvalidRequestError:
    """The first fault, in words for somebody who does not know pydantic."""
    fault = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, fault["loc"])) or None
    match fault["type"]:
        case "json_invalid":
            return InvalidRequestError("The body is not valid JSON.")
        case "missing":
            text = f"`{field}` is missing."
        case "extra_forbidden":
            text = f"{_quoted(field or '')} is not a field of this request."
        case "string_too_short":
            text = f"`{field}` is empty."
        case "model_type" | "dict_type" | "model_attributes_type":
            text = 'The body must be a JSON object, for example {"input": "What is 2+2?"}.'
        case _:
            text = f"`{field}`: {fault['msg']}."
    return InvalidRequestError(text, field=field)


def _quoted(name: str) -> str:
    """A name that the caller made up, short enough to read."""
    return f"`{name if len(name) <= 64 else name[:64] + '…'}`"


def _failed(
    error: AgentError, body: tuple[str, str], headers: dict[str, str] | None = None
) -> Response:
    content, media_type = body
    headers = dict(headers or {})
    if error.status in (409, 429, 503):
        headers["Retry-After"] = str(error.retry_after_s or DEFAULT_RETRY_AFTER_S)
    return Response(
        content,
        status_code=error.status,
        headers=headers,
        media_type=media_type,
    )


def _problem(request: Request, error: AgentError) -> tuple[str, str]:
    problem = Problem(
        code=error.code,
        status=error.status,
        title=error.title,
        detail=error.detail,
        operation_id=operation_id(request),
        field=error.field,
    )
    return problem.model_dump_json(exclude_none=True), "application/problem+json"


def operation_id(request: Request) -> str:
    """What Application Insights calls operation_Id: the trace id, else the invocation's id."""
    parts = request.headers.get("traceparent", "").split("-")
    if len(parts) >= 4 and re.fullmatch("[0-9a-f]{32}", parts[1]):
        return parts[1]
    return request.headers.get("x-ms-invocation-id", "")
