"""Errors as responses: when to try again."""

import pytest
from starlette.requests import Request

from agent.errors import AgentError, ConversationBusyError, ModelFailedError, ModelThrottledError
from agent.http.problems import DEFAULT_RETRY_AFTER_S, error_response, operation_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelThrottledError("Wait.", retry_after_s=60), "60"),
        (ModelThrottledError("Wait."), str(DEFAULT_RETRY_AFTER_S)),
        (ConversationBusyError("Wait."), str(DEFAULT_RETRY_AFTER_S)),
        (ModelFailedError("The model answered HTTP 503.", retry_after_s=60), "60"),
        (ModelFailedError("The model answered HTTP 500."), None),
    ],
)
def test_what_a_service_says_of_trying_again_reaches_the_caller(
    error: AgentError, expected: str | None
) -> None:
    response = error_response(error, ("{}", "application/problem+json"))
    assert response.headers.get("retry-after") == expected


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"01-{TRACE}-{SPAN}-01-later", TRACE),
        (f"00-{TRACE}-{SPAN}-01-later", "invocation"),
        (f"ff-{TRACE}-{SPAN}-01", "invocation"),
        (f"00-{'0' * 32}-{SPAN}-01", "invocation"),
        (f"00-{TRACE}-{'0' * 16}-01", "invocation"),
        (f"00-{TRACE.upper()}-{SPAN}-01", "invocation"),
        ("", "invocation"),
    ],
)
def test_a_problem_is_named_by_its_trace_or_else_by_its_invocation(
    traceparent: str, expected: str
) -> None:
    headers = {"traceparent": traceparent, "x-ms-invocation-id": "invocation"}
    raw = [(name.encode(), text.encode()) for name, text in headers.items()]
    assert operation_id(Request({"type": "http", "headers": raw})) == expected
