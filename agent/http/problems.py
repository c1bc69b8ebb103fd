"""Errors on the wire: RFC 9457 `application/problem+json`.

https://www.rfc-editor.org/rfc/rfc9457
"""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent.errors import AgentError, InvalidRequestError
from agent.http.schemas import Problem
from agent.telemetry.recording import current_trace_id
from agent.telemetry.turns import request_context

DEFAULT_RETRY_AFTER_S: Final = 5
# How much of the caller's own words an error repeats: of one name, of a path of names.
_NAME_MAX_CHARS: Final = 64
_PATH_MAX_CHARS: Final = 200

# Makes the body of an error, and its media type.
type ErrorBody = Callable[[Request, AgentError], tuple[str, str]]


def problem_body(request: Request, error: AgentError) -> tuple[str, str]:
    """An error as problem+json."""
    problem = Problem(
        code=error.code,
        status=error.status,
        title=error.title,
        detail=error.detail,
        operation_id=operation_id(request),
        field=error.field,
    )
    return problem.model_dump_json(exclude_none=True), "application/problem+json"


def error_response(
    error: AgentError, body: tuple[str, str], headers: Mapping[str, str] | None = None
) -> Response:
    """An error as a response; those that a retry can help say when."""
    content, media_type = body
    headers = dict(headers or {})
    if error.retry_after_s or error.status in (409, 429, 503):
        headers["Retry-After"] = str(error.retry_after_s or DEFAULT_RETRY_AFTER_S)
    return Response(content, status_code=error.status, headers=headers, media_type=media_type)


def operation_id(request: Request) -> str:
    """Application Insights' operation_Id: the trace id, or the invocation's id without one."""
    trace_id = current_trace_id()
    if not trace_id and "traceparent" in request.headers:
        # The trace of its turn: of a `traceparent` that is none, there is none.
        with request_context(request.headers, ""):
            trace_id = current_trace_id()
    return trace_id or request.headers.get("x-ms-invocation-id", "")


def invalid(error: ValidationError) -> InvalidRequestError:
    """The first fault that pydantic found, in words for somebody who does not know pydantic."""
    fault = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(_cut(str(name), _NAME_MAX_CHARS) for name in fault["loc"])
    field = _cut(path, _PATH_MAX_CHARS) or None
    match fault["type"]:
        case "json_invalid":
            return InvalidRequestError("The body is not valid JSON.")
        case "missing":
            text = f"`{field}` is missing."
        case "extra_forbidden":
            text = f"`{field}` is not a field of this request."
        case "string_too_short":
            text = f"`{field}` is empty."
        case "model_type" | "dict_type" | "model_attributes_type" if field is None:
            text = 'The body must be a JSON object, for example {"input": "What is 2+2?"}.'
        case _:
            # It may repeat what the caller wrote.
            text = f"`{field}`: {_cut(fault['msg'], _PATH_MAX_CHARS)}."
    return InvalidRequestError(text, field=field)


def unknown_parameter(name: str) -> InvalidRequestError:
    """The error for a query parameter that the route does not have."""
    name = _cut(name, _NAME_MAX_CHARS)
    return InvalidRequestError(f"`{name}` is not a parameter of this route.", field=name)


def _cut(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[:max_chars]}…"
