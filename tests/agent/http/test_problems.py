"""Errors as responses: when to try again."""

import pytest

from agent.errors import AgentError, ConversationBusyError, ModelFailedError, ModelThrottledError
from agent.http.problems import DEFAULT_RETRY_AFTER_S, error_response


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
