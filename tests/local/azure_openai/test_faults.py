"""Failures on demand, over a real connection."""

import asyncio
import time

import httpx2
import pytest

from local.azure_openai import (
    AzureOpenAI,
    ChatRequest,
    Cut,
    Failed,
    Say,
    ScriptedModel,
    Slow,
    Throttled,
)
from local.managed_identity import TokenVerifier
from tests.local.azure_openai.conftest import CHAT, HELLO, Connect, events

ASK = {"messages": HELLO}
ASK_STREAM = {"messages": HELLO, "stream": True}


def say_hello(request: ChatRequest) -> Say:
    return Say("Hello to you, whoever you may be.")


async def test_fault_befalls_so_many_requests_and_then_all_is_fine(
    verifier: TokenVerifier, call: Connect
) -> None:
    script = ScriptedModel([Say("At last.")])
    service = AzureOpenAI(verifier, model=script)
    service.faults.inject(Throttled(retry_after_s=0.25), times=2)
    service.faults.inject(Failed(503))
    async with call(service) as client:
        responses = [await client.post(CHAT, json=ASK) for _ in range(4)]
    assert [response.status_code for response in responses] == [429, 429, 503, 200]
    assert responses[0].headers["retry-after"] == "1"  # whole seconds, as HTTP wants them
    assert responses[0].headers["retry-after-ms"] == "250"
    script.assert_done()  # a refused request takes no step


async def test_fault_without_a_number_lasts_until_it_is_cleared(
    verifier: TokenVerifier, call: Connect
) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    service.faults.inject(Failed(), times=None)
    async with call(service) as client:
        assert [(await client.post(CHAT, json=ASK)).status_code for _ in range(3)] == [500] * 3
        service.faults.clear()
        assert (await client.post(CHAT, json=ASK)).status_code == 200


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
async def test_slow_answer_begins_late(
    verifier: TokenVerifier, connect: Connect, ask: dict[str, object]
) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    service.faults.inject(Slow(before_answer_s=0.1))
    async with connect(service) as client:
        started = time.monotonic()
        response = await client.post(CHAT, json=ask)
    assert response.status_code == 200
    assert time.monotonic() - started >= 0.1


async def test_chunks_of_a_slow_stream_arrive_one_by_one(
    verifier: TokenVerifier, connect: Connect
) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    service.faults.inject(Slow(between_chunks_s=0.02))
    arrivals: list[float] = []
    async with (
        connect(service) as client,
        client.stream("POST", CHAT, json=ASK_STREAM) as response,
    ):
        async for line in response.aiter_lines():
            if line:
                arrivals.append(time.monotonic())
    assert len(arrivals) > 8
    assert arrivals[-1] - arrivals[0] > 0.1  # eight pauses and more lie between them


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
async def test_cut_connection_is_an_error_of_the_connection(
    verifier: TokenVerifier, connect: Connect, ask: dict[str, object]
) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    service.faults.inject(Cut())
    async with connect(service) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(CHAT, json=ask)
        assert (await client.post(CHAT, json=ask)).status_code == 200
    assert service.hang_ups.count == 0


@pytest.mark.parametrize("ask", [ASK, ASK_STREAM])
async def test_caller_that_gives_up_waiting_is_seen_within_a_second(
    verifier: TokenVerifier, connect: Connect, ask: dict[str, object]
) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    service.faults.inject(Slow(before_answer_s=60))
    async with connect(service) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(CHAT, json=ask, timeout=0.1)
        async with asyncio.timeout(1):
            await service.hang_ups.wait()
    assert service.hang_ups.count == 1


async def test_complete_answers_are_no_hang_ups(verifier: TokenVerifier, connect: Connect) -> None:
    service = AzureOpenAI(verifier, model=say_hello)
    async with connect(service) as client:
        for _ in range(3):
            assert events((await client.post(CHAT, json=ASK_STREAM)).text)
    assert service.hang_ups.count == 0


async def test_hundred_conversations_at_once_wait_side_by_side(
    verifier: TokenVerifier, connect: Connect
) -> None:
    def echo(request: ChatRequest) -> Say:
        return Say(str(request.messages[-1].content))

    service = AzureOpenAI(verifier, model=echo)
    service.faults.inject(Slow(before_answer_s=0.3), times=None)

    async def converse(client: httpx2.AsyncClient, number: int) -> str:
        messages = [{"role": "user", "content": f"conversation {number}"}]
        response = await client.post(CHAT, json={"messages": messages, "stream": True})
        deltas = [chunk["choices"][0]["delta"] for chunk in events(response.text)[1:]]
        return "".join(delta.get("content", "") for delta in deltas)

    async with connect(service) as client:
        started = time.monotonic()
        answers = await asyncio.gather(*(converse(client, number) for number in range(100)))
        took_s = time.monotonic() - started
    assert answers == [f"conversation {number}" for number in range(100)]
    assert took_s < 10  # one after the other would take 30
