"""A turn's events on the wire as they happen, until the turn ends or the caller disconnects.

The format is https://html.spec.whatwg.org/multipage/server-sent-events.html; an encoder decides
what an event looks like: AG-UI's (`agent.http.agui`) or OpenAI's (`agent.http.openai.answers`).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent.errors import AgentError, frames_of
from agent.events import Event, TurnFailed, TurnFinished
from agent.http.disconnect import DisconnectedError, cancel_on_disconnect
from agent.memory import Share
from agent.telemetry import log_content, logger
from agent.turns.result import TurnEvents

MEDIA_TYPE = "text/event-stream"
# Azure's load balancer cuts a connection on which nothing moves for 230 s, other proxies earlier.
KEEP_ALIVE_S = 15
# A caller that reads nothing for so long is as good as gone; it holds a session.
SEND_TIMEOUT_S = 60

# A model that is read faster than it is written gives many events at once: after so many of them,
# 70 microseconds each, whatever else waits has its turn.
EVENTS_AT_A_TIME = 4

_COMMENT = b": keep-alive\n\n"


class Encoder(Protocol):
    """Makes bytes of the events of one turn."""

    def begin(self) -> bytes:
        """The first bytes of the stream, sent at once."""
        ...

    def encode(self, event: Event) -> bytes:
        """An event as it travels; may be nothing. A last event ends the stream."""
        ...


class EventStream(Response):
    """Runs the turn while it is sent; exactly one last event is sent, whatever happens.

    Args:
        events: of the turn; closed when the stream ends, however it ends.
        encoder: of this stream alone.
        share: of the request; closed then too.
        keep_alive_s: the longest silence.
        send_timeout_s: how long the caller may read nothing while there is something to read.
    """

    def __init__(
        self,
        events: TurnEvents,
        encoder: Encoder,
        share: Share | None = None,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
        send_timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        # Proxies such as nginx would otherwise collect the events to the end.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(None, headers=headers, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self._events = events
        self._encoder = encoder
        self._share = share
        self._keep_alive_s = keep_alive_s
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; called by the server once the handler has returned it."""
        # The caller may be gone before anything was asked of the turn.
        async with aclosing(self._events):
            try:
                await cancel_on_disconnect(receive, self._stream(_Wire(send, self._send_timeout_s)))
            except DisconnectedError:
                logger.info("the caller disconnected")
            finally:
                if self._share:
                    self._share.close()

    async def _stream(self, wire: "_Wire") -> None:
        await wire.start(self)
        keeping_alive = asyncio.create_task(wire.keep_alive(self._keep_alive_s))
        try:
            async with aclosing(self._encoded()) as bodies:
                sent = 0
                async for body in bodies:
                    await wire.send(body)
                    sent += 1
                    if sent % EVENTS_AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except TimeoutError:
            logger.warning("the caller stopped reading: the stream is closed")
            return
        finally:
            keeping_alive.cancel()
        await wire.end()

    async def _encoded(self) -> AsyncGenerator[bytes]:
        yield self._encoder.begin()
        try:
            async for event in self._events:
                yield self._encoder.encode(event)
                if isinstance(event, TurnFinished | TurnFailed):
                    return
            raise AssertionError("a turn ends with TurnFinished or TurnFailed")
        except Exception as error:
            logger.error("stream failed: %s", frames_of(error))
            log_content("output", str(error))
            yield self._encoder.encode(TurnFailed(AgentError.unexpected()))


class _Wire:
    """The connection, and when something was last sent on it."""

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._sent_at_s = 0.0

    async def start(self, response: Response) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            }
        )

    async def send(self, body: bytes) -> None:
        if not body:
            return
        self._sent_at_s = asyncio.get_running_loop().time()
        async with asyncio.timeout(self._timeout_s):
            await self._send(_chunk(body))

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def keep_alive(self, after_s: float) -> None:
        """Send a comment, which every reader skips, after each silence."""
        now = asyncio.get_running_loop().time
        while True:
            silent_s = now() - self._sent_at_s
            if silent_s >= after_s:
                await self._send(_chunk(_COMMENT))
                silent_s = 0
            await asyncio.sleep(after_s - silent_s)


def _chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
