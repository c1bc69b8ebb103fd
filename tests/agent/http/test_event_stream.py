"""The stream as a server sees it: what is sent, what ends it, what is left behind."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from starlette.types import Message

from agent.errors import PoolFullError
from agent.events import Event, TextDelta, TurnFailed, TurnFinished, Usage
from agent.http.event_stream import EVENTS_AT_A_TIME, EventStream
from tests.support.loops import loop_turns

FINISHED = TurnFinished("Hi.", "stop", Usage())
FAILED = TurnFailed(PoolFullError("No session is free."))


class Words:
    """An encoder that names the events; it cannot encode the text `unspeakable`."""

    def begin(self) -> bytes:
        return b"begin"

    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text):
                return text.encode("ascii") if text != "unspeakable" else bytes(-1)
            case TurnFailed(error=error):
                return error.code.encode()
        return type(event).__name__.encode()


@dataclass
class Connection:
    """The server's side of one request."""

    sent: list[Message] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self._changed.set()

    async def until_sent(self, body: bytes, times: int) -> None:
        async with asyncio.timeout(30):
            while self.bodies.count(body) < times:
                self._changed.clear()
                await self._changed.wait()

    @property
    def bodies(self) -> list[bytes]:
        return [m["body"] for m in self.sent if m["type"] == "http.response.body" and m["body"]]

    async def run(self, stream: EventStream) -> None:
        await stream({"type": "http"}, self.receive, self.send)


class Turn:
    """Yields events; `closed` once it was ended, in whatever way."""

    def __init__(self, *events: Event, then_silent: bool = False) -> None:
        self.began = asyncio.Event()
        self.closed = False
        self._events = events
        self._then_silent = then_silent

    async def events(self) -> AsyncGenerator[Event]:
        self.began.set()
        try:
            for event in self._events:
                yield event
            if self._then_silent:
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.closed = True


@pytest.mark.parametrize("last", [FINISHED, FAILED])
async def test_a_stream_ends_after_the_last_event(last: Event) -> None:
    connection = Connection()
    turn = Turn(TextDelta("m", "a"), last, TextDelta("m", "late"))
    await connection.run(EventStream(turn.events(), Words()))
    ends = {FINISHED: b"TurnFinished", FAILED: b"PoolFull"}
    assert connection.bodies == [b"begin", b"a", ends[last]]
    assert connection.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert turn.closed


@pytest.mark.parametrize(
    "events",
    [
        [TextDelta("m", "a")],
        [TextDelta("m", "a"), TextDelta("m", "unspeakable"), FINISHED],
    ],
    ids=["a turn without an end", "an event that cannot be encoded"],
)
async def test_whatever_goes_wrong_the_stream_has_one_last_event(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    connection, turn = Connection(), Turn(*events)
    await connection.run(EventStream(turn.events(), Words()))
    assert connection.bodies == [b"begin", b"a", b"InternalError"]
    assert connection.sent[-1]["more_body"] is False
    assert turn.closed
    assert "stream failed" in caplog.text
    assert "negative count" not in caplog.text


async def test_silence_is_filled_with_comments() -> None:
    connection, turn = Connection(), Turn(TextDelta("m", "a"), then_silent=True)
    stream = EventStream(turn.events(), Words(), keep_alive_s=0.05)
    running = asyncio.create_task(connection.run(stream))
    await connection.until_sent(b": keep-alive\n\n", times=3)
    connection.hung_up.set()
    await running
    assert connection.bodies[:3] == [b"begin", b"a", b": keep-alive\n\n"]


async def test_a_stream_that_says_something_needs_no_comments() -> None:
    async def talkative() -> AsyncGenerator[Event]:
        for _ in range(40):
            await asyncio.sleep(0.03)
            yield TextDelta("m", "a")
        yield FINISHED

    connection = Connection()
    await connection.run(EventStream(talkative(), Words(), keep_alive_s=1))
    assert b": keep-alive\n\n" not in connection.bodies


async def test_a_hang_up_ends_the_turn_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    connection, turn = Connection(), Turn(TextDelta("m", "a"), then_silent=True)
    running = asyncio.create_task(connection.run(EventStream(turn.events(), Words())))
    await turn.began.wait()
    connection.hung_up.set()
    await running
    assert turn.closed
    assert asyncio.all_tasks() == before
    assert connection.sent[-1].get("more_body", True), "a cut stream has no regular end"


async def test_a_caller_that_is_gone_before_the_first_event_still_ends_the_turn() -> None:
    connection, turn = Connection(), Turn(TextDelta("m", "a"), FINISHED)
    events = turn.events()
    await anext(events)  # a conversation is held from here on
    connection.hung_up.set()

    async def nobody_reads(_: Message) -> None:
        await asyncio.Event().wait()

    await EventStream(events, Words())({"type": "http"}, connection.receive, nobody_reads)
    assert turn.closed


async def test_a_caller_that_reads_nothing_is_given_up() -> None:
    connection, turn = Connection(), Turn(TextDelta("m", "a"), then_silent=True)

    async def full(message: Message) -> None:
        if message.get("body") == b"a":
            await asyncio.Event().wait()

    stream = EventStream(turn.events(), Words(), send_timeout_s=0.05)
    await stream({"type": "http"}, connection.receive, full)
    assert turn.closed


async def test_a_server_that_stops_ends_the_turn() -> None:
    connection, turn = Connection(), Turn(TextDelta("m", "a"), then_silent=True)
    running = asyncio.create_task(connection.run(EventStream(turn.events(), Words())))
    await turn.began.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert turn.closed


async def test_events_that_are_all_there_do_not_hold_the_loop() -> None:
    connection = Connection()
    turn = Turn(*[TextDelta("m", "a")] * 1000, FINISHED)
    turns = await loop_turns(connection.run(EventStream(turn.events(), Words())))
    assert connection.bodies.count(b"a") == 1000
    assert turns >= 1000 / EVENTS_AT_A_TIME
