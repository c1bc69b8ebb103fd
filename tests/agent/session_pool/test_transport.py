"""What is sent again and what is not, by what the pool answers to an execution."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.errors import (
    DeadlineExceededError,
    PoolAnswerLostError,
    PoolError,
    PoolRefusedError,
)
from agent.session_pool.client import SessionsClient
from agent.telemetry import metrics
from local.serving import serve
from tests.support.telemetry import attributes_of, recorded

RAN = {"status": "Succeeded", "result": {"stdout": "", "stderr": "", "executionResult": 1}}
ALLOCATING = "Error happened when allocating pod for identifier a in pool b"

pytestmark = pytest.mark.asyncio(loop_scope="session")


class OneToken:
    async def __call__(self) -> str:
        return "token"

    async def renew(self, refused: str) -> bool:
        return False


def error(status: int, code: str, message: str = "no") -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


@asynccontextmanager
async def pool(first: Callable[[], Response]) -> AsyncIterator[tuple[SessionsClient, list[int]]]:
    """A pool that gives one answer and then runs everything; and when it was asked."""
    asked: list[int] = []

    async def execute(request: Request) -> Response:
        asked.append(len(await request.body()))
        return first() if len(asked) == 1 else JSONResponse(RAN)

    app = Starlette(routes=[Route("/executions", execute, methods=["POST"])])
    async with serve(app) as url, aiohttp.ClientSession() as http:
        yield SessionsClient(url, http, OneToken(), jupyter_format=False), asked


@pytest.mark.parametrize(
    ("answer", "raised", "times"),
    [
        (lambda: error(429, "TooManyRequests"), None, 2),
        (lambda: error(500, "InternalServerError", ALLOCATING), None, 2),
        (lambda: error(500, "InternalServerError"), PoolAnswerLostError, 1),
        (lambda: error(502, ""), PoolAnswerLostError, 1),
        (lambda: error(503, "ServiceUnavailable"), PoolAnswerLostError, 1),
        (lambda: Response("<html>", 504), PoolAnswerLostError, 1),
        (lambda: error(400, "SessionWithIdentifierNotFound"), PoolAnswerLostError, 1),
        (lambda: error(400, "SessionRequestValidationFailed"), PoolRefusedError, 1),
        (lambda: Response("{", headers={"content-length": "9"}), PoolAnswerLostError, 1),
    ],
)
async def test_only_what_surely_did_not_run_is_sent_again(
    answer: Callable[[], Response], raised: type[PoolError] | None, times: int
) -> None:
    async with pool(answer) as (client, asked):
        deadline = asyncio.get_running_loop().time() + 20
        running = client.execute("a" * 8, "1", timeout_s=5, max_chars=1000, deadline=deadline)
        with recorded() as taken:
            if raised is None:
                assert (await running).status == "Succeeded"
            else:
                with pytest.raises(raised):
                    await running
    assert len(asked) == times
    counted = [said for name, _, said in taken.measurements if name == metrics.RETRIES]
    assert counted == [{"code_interpreter.service": "pool"}] * (times - 1)
    resent = [attributes_of(span).get("http.request.resend_count") for span in taken.spans]
    assert resent == [None, 1][:times]


async def test_the_span_of_a_call_that_is_too_late_says_so() -> None:
    never = asyncio.Event()

    async def execute(_: Request) -> Response:
        await never.wait()
        raise AssertionError("nobody sets it")

    app = Starlette(routes=[Route("/executions", execute, methods=["POST"])])
    async with serve(app, grace_s=0) as url, aiohttp.ClientSession() as http:
        client = SessionsClient(url, http, OneToken(), jupyter_format=False)
        deadline = asyncio.get_running_loop().time() + 0.2
        with recorded() as taken, pytest.raises(DeadlineExceededError):
            await client.execute("a" * 8, "1", timeout_s=5, max_chars=1000, deadline=deadline)
    (span,) = taken.spans
    assert attributes_of(span)["error.type"] == "DeadlineExceeded"
    assert not span.status.is_ok


@pytest.mark.parametrize("time", ["NaN", "Infinity", "1e999", "1e300", "-1", '"soon"'])
async def test_an_execution_that_took_no_time_that_can_be_is_none(time: str) -> None:
    body = f'{{"status": "Succeeded", "result": {{"executionTimeInMilliseconds": {time}}}}}'
    async with pool(lambda: Response(body)) as (client, _):
        deadline = asyncio.get_running_loop().time() + 20
        with pytest.raises(PoolRefusedError):
            await client.execute("a" * 8, "1", timeout_s=5, max_chars=1000, deadline=deadline)
