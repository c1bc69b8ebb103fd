"""Sending an answer: its pace, a connection that is cut, and a caller that hangs up."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.azure_openai.completions import Completion
from local.azure_openai.faults import Slow


class HangUps:
    """Counts the callers that left before their answer was complete."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def record(self) -> None:
        """Count one."""
        self.count += 1
        self._changed.set()

    async def wait(self, count: int = 1) -> None:
        """Wait until there have been so many; put a timeout around it."""
        while self.count < count:
            self._changed.clear()
            await self._changed.wait()


async def run_until_hung_up(receive: Receive, work: Awaitable[None], hang_ups: HangUps) -> None:
    """Do `work` as long as the caller is there; cancel it when the caller hangs up."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            hang_ups.record()
            return
        await working
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.gather(watching, working, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True)
class Pace:
    """The pace and form of an answer.

    Attributes:
        slow: delays.
        cut_after: chunks after which the connection is cut; None lets the answer end.
    """

    slow: Slow = field(default_factory=Slow)
    cut_after: int | None = None


class Answer(Response):
    """A completion on its way to the caller."""

    def __init__(
        self,
        completion: Completion,
        *,
        streamed: bool,
        pace: Pace,
        headers: Mapping[str, str],
        hang_ups: HangUps,
    ) -> None:
        kind = "text/event-stream; charset=utf-8" if streamed else "application/json"
        super().__init__(None, headers={**headers, "content-type": kind})
        del self.headers["content-length"]
        self._completion = completion
        self._streamed = streamed
        self._pace = pace
        self._hang_ups = hang_ups

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the completion, unless the caller hangs up."""
        work = self._stream(send) if self._streamed else self._send_whole(send)
        await run_until_hung_up(receive, work, self._hang_ups)

    async def _send_whole(self, send: Send) -> None:
        await self._wait(self._pace.slow.before_answer_s)
        body = self._completion.as_json()
        self.headers["content-length"] = str(len(body))
        await self._start(send)
        if self._pace.cut_after is not None:
            await send(_body(body[: len(body) // 2], more=True))
            return  # without the rest, the server closes the connection
        await send(_body(body, more=False))

    async def _stream(self, send: Send) -> None:
        await self._wait(self._pace.slow.before_answer_s)
        await self._start(send)
        events = self._completion.as_events()
        if self._pace.cut_after is not None:
            events = _first(events, self._pace.cut_after)
        between_s = self._pace.slow.between_chunks_s
        if between_s:
            for event in events:
                await send(_body(event, more=True))
                await self._wait(between_s)
        else:
            # Chunks that are ready together leave together: Azure's filter releases them in
            # bursts too, and a hundred conversations cost a fraction of the writes.
            await send(_body(b"".join(events), more=True))
        if self._pace.cut_after is None:
            await send(_body(b"", more=False))

    async def _start(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": self.raw_headers},
        )

    @staticmethod
    async def _wait(seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)


def _body(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def _first(events: Iterator[bytes], count: int) -> Iterator[bytes]:
    for _, event in zip(range(count), events, strict=False):
        yield event
