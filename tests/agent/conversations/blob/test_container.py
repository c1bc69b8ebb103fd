"""What calls make of the service's answers, also of those that Azurite never gives."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.conversations.blob.container import ATTEMPTS, Container
from agent.errors import (
    AgentError,
    ConversationBusyError,
    ConversationNotFoundError,
    FileNotStoredError,
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
)
from agent.telemetry import metrics
from local.serving import serve
from tests.support.telemetry import attributes_of, recorded

type Answer = tuple[int, dict[str, str]]


class Tokens:
    """Gives `token 1`, and another one for each that was refused."""

    def __init__(self, *, renews: bool) -> None:
        self._number = 1
        self._renews = renews

    async def __call__(self) -> str:
        return f"token-{self._number}"

    async def renew(self, refused: str) -> bool:
        self._number += self._renews
        return self._renews


@asynccontextmanager
async def answering(
    answers: Sequence[Answer], *, renews: bool = False
) -> AsyncIterator[tuple[Container, list[Request]]]:
    """A container that answers so, the last one for ever, and what it was asked."""
    asked: list[Request] = []

    async def answer(request: Request) -> Response:
        await request.body()
        asked.append(request)
        status, headers = answers[min(len(asked), len(answers)) - 1]
        return Response(status_code=status, headers=headers)

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "PUT"])])
    async with serve(app) as url, aiohttp.ClientSession() as http:
        yield Container(f"{url}/container", http, Tokens(renews=renews), first_backoff_s=0), asked


def code(value: str) -> dict[str, str]:
    return {"x-ms-error-code": value}


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [
        ((302, {"location": "https://elsewhere.example/"}), StoreError, 1),
        ((400, code("InvalidHeaderValue")), StoreError, 1),
        ((401, code("InvalidAuthenticationInfo")), StoreAccessError, 1),
        ((403, code("AuthorizationPermissionMismatch")), StoreAccessError, 1),
        ((403, code("AuthorizationFailure")), StoreAccessError, 1),
        ((404, code("BlobNotFound")), ConversationNotFoundError, 1),
        ((404, code("ContainerNotFound")), StoreNotFoundError, 1),
        ((408, {}), StoreError, ATTEMPTS),
        ((412, code("LeaseIdMissing")), ConversationBusyError, 1),
        ((409, code("BlobAlreadyExists")), StoreError, 1),
        ((412, code("ConditionNotMet")), StoreError, 1),
        ((429, {"retry-after": "0"}), StoreError, ATTEMPTS),
        ((500, code("InternalError")), StoreError, ATTEMPTS),
        ((501, {}), StoreError, 1),
        ((502, {}), StoreError, ATTEMPTS),
        ((503, code("ServerBusy")), StoreError, ATTEMPTS),
        ((503, {**code("ServerBusy"), "retry-after": "3600"}), StoreError, 1),
        ((504, {}), StoreError, ATTEMPTS),
    ],
)
async def test_each_answer_has_its_error_and_what_may_pass_is_tried_again(
    answer: Answer, error: type[AgentError], attempts: int
) -> None:
    async with answering([answer]) as (container, asked):
        with pytest.raises(AgentError) as failed:
            await container.request("PUT", "blob", "lease")
    assert type(failed.value) is error
    assert len(asked) == attempts
    if answer[1].get("retry-after") == "3600":
        assert failed.value.retry_after_s == 3600


async def test_a_call_that_failed_once_is_done() -> None:
    async with answering([(503, code("ServerBusy")), (201, {})]) as (container, asked):
        with recorded() as taken:
            reply = await container.request("PUT", "blob", body=b"content")
    assert reply.status == 201
    assert len(asked) == 2
    assert taken.measurements == [(metrics.RETRIES, 1, {"code_interpreter.service": "store"})]


async def test_the_span_of_an_attempt_that_failed_says_so() -> None:
    answers = [(503, code("ServerBusy")), (409, code("BlobAlreadyExists")), (404, {})]
    async with answering(answers) as (container, _):
        with recorded() as taken:
            await container.request("PUT", "blob", accepts={"BlobAlreadyExists"})
            with pytest.raises(ConversationNotFoundError):
                await container.request("GET", "blob")
    said = [attributes_of(span).get("error.type") for span in taken.spans]
    assert said == ["503", None, "404"]
    assert [span.status.is_ok for span in taken.spans] == [False, True, False]


async def test_each_attempt_says_when_it_is_made() -> None:
    async with answering([(503, {}), (201, {})]) as (container, asked):
        began_at = datetime.now(UTC)
        await container.request("PUT", "blob", headers={"x-ms-date": "yesterday"})
    for request in asked:
        said_at = parsedate_to_datetime(request.headers["x-ms-date"])
        assert began_at - timedelta(seconds=1) < said_at <= datetime.now(UTC)
        assert request.headers["x-ms-date"].endswith(" GMT")


async def test_a_token_that_is_refused_is_asked_for_anew_once() -> None:
    async with answering([(401, {}), (200, {})], renews=True) as (container, asked):
        await container.request("GET", "blob")
    sent = [request.headers["authorization"] for request in asked]
    assert sent == ["Bearer token-1", "Bearer token-2"]
    async with answering([(401, {})], renews=True) as (container, asked):
        with pytest.raises(StoreAccessError):
            await container.request("GET", "blob")
    assert len(asked) == 2


async def test_what_is_missing_is_what_the_caller_says() -> None:
    async with answering([(404, code("BlobNotFound"))]) as (container, _):
        with pytest.raises(FileNotStoredError):
            await container.read("blob", 0, 10, missing=FileNotStoredError("no file"))


async def test_a_code_that_is_no_word_is_not_shown() -> None:
    async with answering([(400, code("https://private.example/ x"))]) as (container, _):
        with pytest.raises(StoreError) as failed:
            await container.request("GET", "blob")
    assert str(failed.value) == "Azure Blob Storage answered HTTP 400."


@pytest.mark.parametrize("name", ["a b", "50% ½", "x?y#z&=+", "a%2Fb", "~tilde", "a'\"b"])
async def test_a_name_is_sent_as_it_is(name: str) -> None:
    async with answering([(200, {})]) as (container, asked):
        await container.request("GET", f"folder/{name}")
    assert asked[0].path_params["path"] == f"container/folder/{name}"
    assert not asked[0].url.query
