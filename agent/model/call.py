"""One call of the model: the history in, typed pieces of its message out, in our errors."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

import httpx2

from agent.errors import (
    AgentError,
    DeadlineExceededError,
    ModelFailedError,
    ModelUnreachableError,
)
from agent.frozen import frozen
from agent.model.kernel import offers
from agent.model.parameters import ModelParameters
from agent.model.refusals import Refusal, retry_after_s
from agent.model.sdk import (
    ChatHistory,
    Kernel,
    openai,
)
from agent.model.service import ChatService, ModelSettings
from agent.model.wire import Answer
from agent.telemetry.calls import ModelAttempt, ModelSpan

# An answer that takes longer is slow. One that is not there so long before the deadline is asked
# for again as a stream, of which there is something to show when time is up. Whole answers cost
# less CPU time, so that is how they are asked for first.
SLOW_S: Final = 30
STREAM_LAST_S: Final = 60


async def ask(
    service: ChatService,
    kernel: Kernel,
    history: ChatHistory,
    answer: Answer,
    *,
    parameters: ModelParameters,
    tools: bool,
    stream: bool,
    deadline: float,
    span: ModelSpan | None = None,
) -> AsyncGenerator[str]:
    """Call the model and yield its text as it comes; `answer` then holds all of it.

    Args:
        service: the model.
        kernel: whose functions are the tools.
        history: what was said so far.
        answer: an empty one, to be filled.
        parameters: what the model is asked for.
        tools: whether the model may call tools.
        stream: whether the text is wanted as it comes; whole, it costs less CPU.
        deadline: event-loop time.
        span: of the call, if it has one.

    Raises:
        ModelError: by what went wrong.
        DeadlineExceededError: the deadline came first; what the model said until then was yielded.
    """
    settings = ModelSettings(extension_data=parameters.as_fields())
    settings.wanted.span = span
    # Not by Semantic Kernel's function choice, which reads the kernel again for each call: the turn
    # calls the tools itself, with its own budget.
    call = _Call(service, history, settings, offers(kernel) if tools else ())
    yielded = 0
    try:
        if not stream and await call.whole(answer, deadline):
            yield answer.text
            return
        settings.want(answer, stream=True, tools=call.tools)
        if span and not stream:
            span.streams()
        pieces = call.in_pieces(deadline) if stream else call.gathered(answer, deadline)
        async with aclosing(pieces) as texts:
            async for text in texts:
                if span and not yielded:
                    span.received()
                yielded += len(text)
                yield text
    except TimeoutError as error:
        if rest := answer.text[yielded:]:
            yield rest
        raise DeadlineExceededError(
            "The model did not answer before the turn's deadline."
        ) from error
    except (openai.OpenAIError, httpx2.TransportError) as error:
        raise _error_of(error) from error


@frozen
class _Call:
    """A call of the model through Semantic Kernel, in the three ways to make it."""

    service: ChatService
    history: ChatHistory
    settings: ModelSettings
    tools: Sequence[dict[str, Any]]

    async def whole(self, answer: Answer, deadline: float) -> bool:
        """Ask for all at once, if there is time; tells whether the answer is there."""
        loop = asyncio.get_running_loop()
        began, until = loop.time(), deadline - STREAM_LAST_S
        if self.service.is_slow or began + SLOW_S > until:
            return False
        self.settings.want(answer, stream=False, tools=self.tools)
        attempt = ModelAttempt()
        try:
            async with asyncio.timeout_at(until):
                await self._complete()
        except TimeoutError:
            self.service.found_slow()
            with self.settings.wanted.current():
                attempt.failed(self.service.server, "timeout")
            # A server that streams whatever it is asked for has begun to answer.
            answer.clear()
            return False
        if loop.time() - began > SLOW_S:
            self.service.found_slow()
        return True

    async def gathered(self, answer: Answer, deadline: float) -> AsyncGenerator[str]:
        """Ask for a stream, whose text comes when all of it is there."""
        async with asyncio.timeout_at(deadline):
            await self._complete()
        yield answer.text

    async def in_pieces(self, deadline: float) -> AsyncGenerator[str]:
        """Ask for a stream and give its text as it comes."""
        stream = self.service.get_streaming_chat_message_contents(self.history, self.settings)
        async with aclosing(stream):
            while True:
                async with asyncio.timeout_at(deadline):
                    pieces = await anext(stream, None)
                if pieces is None:
                    return
                for piece in pieces:
                    yield piece.content

    async def _complete(self) -> None:
        await self.service.get_chat_message_contents(self.history, self.settings)


def _error_of(error: BaseException) -> AgentError:
    """An error of the openai client, most specific first, as ours."""
    match error:
        case AgentError():  # the token provider's
            return error
        case openai.APIStatusError():
            refusal = Refusal.read(error.status_code, error.body)
            return refusal.as_error(retry_after_s(error.response.headers))
        case openai.APIConnectionError() | httpx2.TransportError():
            return ModelUnreachableError("There is no connection to the model, or it broke.")
    return ModelFailedError("The client of the model failed.")
