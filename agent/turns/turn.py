"""One turn: the model and its tool calls, until there is an answer.

An async generator of typed events; JSON, server-sent events and the OpenAI-compatible answer are
encoders of the same stream. Closing it early closes the model's stream and abandons the execution.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from importlib.resources import files

from agent.errors import AgentError
from agent.events import (
    Event,
    FinishReason,
    TextDelta,
    TurnFailed,
    TurnFinished,
    TurnWarning,
    Usage,
)
from agent.messages import Message
from agent.model.call import ModelMessage, ask
from agent.model.history import chat_history, message_of
from agent.model.kernel import build_kernel
from agent.model.parameters import UNSET, ModelParameters
from agent.model.sdk import ChatMessageContent, FunctionCallContent, Kernel, OpenAIChatCompletion
from agent.session_pool.client import SessionsClient
from agent.telemetry import log_content, logger, tracer
from agent.turns.code_interpreter import CodeInterpreter, OutputLimits
from agent.turns.files import InlineFiles
from agent.turns.session_files import TurnSession

# The part of a turn's time that is reserved for the model's last answer: no code runs into it.
ANSWER_RESERVE_S = 30
ANSWER_RESERVE_SHARE = 0.2
DELETE_SESSION_TIMEOUT_S = 30
# Code that was abandoned gets so long to end before its session is ended: a caller that stops a
# turn and asks again at once finds a session that answers within two seconds.
IDLE_TIMEOUT_S = 1

_PROMPTS = files(__package__).joinpath("prompts")
_INSTRUCTIONS = _PROMPTS.joinpath("instructions.md").read_text("utf-8")
_INSTRUCTIONS_WITHOUT_INTERPRETER = _PROMPTS.joinpath(
    "instructions_without_interpreter.md"
).read_text("utf-8")
_NO_MORE_TOOLS = "You cannot run more code in this turn. Answer now with what you have found out."
_NO_INTERPRETER = TurnWarning(
    "CodeInterpreterNotConfigured",
    "No code was run: the app has no session pool. Set POOL_MANAGEMENT_ENDPOINT.",
)


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """The request for a turn, the same for every API.

    Attributes:
        question: the user's message.
        history: the messages before it.
        instructions: the caller's own, for this turn alone; the model reads them after ours.
        stream: whether somebody reads the answer in pieces; a whole message costs less CPU.
        parameters: of the model, for this turn; they go before those of the app settings.
    """

    question: str
    history: tuple[Message, ...] = ()
    instructions: str = ""
    stream: bool = False
    parameters: ModelParameters = UNSET


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """The budgets of a turn, and the parameters of its model calls."""

    timeout_s: float
    tool_rounds: int
    output: OutputLimits
    parameters: ModelParameters = UNSET


@dataclass(frozen=True, slots=True)
class TurnServices:
    """The clients and settings that all turns of this worker share.

    Attributes:
        model: the chat completion service.
        sessions: the session pool, None where none is configured.
        options: the budgets.
        in_background: runs a coroutine to its end, after the turn if need be.
    """

    model: OpenAIChatCompletion
    sessions: SessionsClient | None
    options: TurnOptions
    in_background: Callable[[Coroutine[None, None, None]], None]


def stateless_turn(services: TurnServices, request: TurnRequest) -> AsyncGenerator[Event]:
    """Answer one question in a new session, which is given back however the turn ends.

    Yields:
        Events as they happen; the last one is `TurnFinished` or `TurnFailed`.
    """
    if services.sessions is None:
        return with_terminal_event(run_turn(services, request, None))
    # 192 random bits: an identifier that can be guessed lets the guesser into the session.
    identifier = secrets.token_hex(24)
    files = InlineFiles(services.sessions, identifier)
    session = TurnSession(services.sessions, identifier, files)
    return with_terminal_event(run_turn(services, request, session, give_back=True))


async def with_terminal_event(events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """The same events; an error on the way becomes the last of them, `TurnFailed`.

    It opens the span of the turn, so each turn passes through it once.
    """
    span = tracer.start_span("turn")
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except AgentError as error:
        logger.warning("turn failed: %s: %s", error.code, error.detail)
        span.set_attribute("error.type", error.code)
        yield TurnFailed(error)
    except Exception:
        logger.exception("turn failed")
        span.set_attribute("error.type", AgentError.code)
        yield TurnFailed(AgentError.unexpected())
    finally:
        span.end()


async def run_turn(
    services: TurnServices,
    request: TurnRequest,
    session: TurnSession | None,
    *,
    give_back: bool = False,
    deadline: float | None = None,
) -> AsyncGenerator[Event]:
    """Answer one question.

    Args:
        services: of the worker.
        request: the question and what belongs to it.
        session: where code runs; None if the model has no interpreter.
        give_back: whether the session ends with the turn.
        deadline: event-loop time, where it is not the options' timeout from now on.

    Yields:
        Events as they happen; the last one is `TurnFinished`.

    Raises:
        AgentError: there is no answer.
    """
    turn = _Turn(services, request, session, deadline)
    try:
        async with aclosing(turn.events()) as events:
            async for event in events:
                yield event
    finally:
        if session is not None and turn.used_session:
            if give_back:
                services.in_background(_give_back(session))
            elif turn.left_code_running:
                services.in_background(_free(session))


async def _give_back(session: TurnSession) -> None:
    deadline = asyncio.get_running_loop().time() + DELETE_SESSION_TIMEOUT_S
    try:
        await session.sessions.delete_session(session.identifier, deadline=deadline)
    except AgentError as error:
        # Its cooldown ends it.
        logger.warning("session not given back: %s", error.code)


async def _free(session: TurnSession) -> None:
    """Make a session usable whose code was left running: end it, unless the code ends at once."""
    try:
        if not await session.sessions.is_idle(session.identifier, timeout_s=IDLE_TIMEOUT_S):
            await _give_back(session)
    except AgentError as error:
        logger.warning("session of an abandoned execution not freed: %s", error.code)


class _Turn:
    def __init__(
        self,
        services: TurnServices,
        request: TurnRequest,
        session: TurnSession | None,
        deadline: float | None,
    ) -> None:
        options = services.options
        self._services = services
        self._stream = request.stream
        self._parameters = options.parameters | request.parameters
        self._deadline = deadline or asyncio.get_running_loop().time() + options.timeout_s
        reserve_s = min(ANSWER_RESERVE_S, options.timeout_s * ANSWER_RESERVE_SHARE)
        self._tools_deadline = self._deadline - reserve_s
        # The interpreter puts events here while a tool call runs; None ends the call.
        self._outbox: asyncio.Queue[Event | None] = asyncio.Queue()
        self._interpreter = (
            None
            if session is None
            else CodeInterpreter(
                session,
                options.output,
                deadline=self._deadline,
                execution_deadline=self._tools_deadline,
                emit=self._outbox.put_nowait,
            )
        )
        instructions = _INSTRUCTIONS if session else _INSTRUCTIONS_WITHOUT_INTERPRETER
        if request.instructions:
            # One message: not every model takes two of the system.
            instructions = f"{instructions}\n{request.instructions}"
        # What this turn adds to the conversation.
        self._messages = [Message("user", request.question)]
        self._history = chat_history(instructions, [*request.history, *self._messages])
        log_content("question", request.question)

    @property
    def left_code_running(self) -> bool:
        return self._interpreter is not None and self._interpreter.abandoned

    @property
    def used_session(self) -> bool:
        return self._interpreter is not None and self._interpreter.used

    async def events(self) -> AsyncGenerator[Event]:
        functions = [self._interpreter.execute_python] if self._interpreter else []
        kernel = build_kernel(self._services.model, functions)
        usage = Usage()
        budget: FinishReason | None = None
        for round_ in range(self._services.options.tool_rounds + 1):
            budget = self._used_up(round_)
            tools = self._interpreter is not None and budget is None
            if self._interpreter is not None and not tools:
                self._history.add_system_message(_NO_MORE_TOOLS)
            message = ModelMessage()
            message_id = f"msg-{secrets.token_hex(8)}"
            answer = ask(
                self._services.model,
                kernel,
                self._history,
                message,
                parameters=self._parameters,
                tools=tools,
                stream=self._stream,
                deadline=self._deadline,
            )
            async with aclosing(answer):
                async for text in answer:
                    yield TextDelta(message_id, text)
            usage += message.usage
            if not message.calls or not tools:
                break
            self._add(message.as_history())
            for call in message.calls:
                async with aclosing(self._call_tool(kernel, call)) as events:
                    async for event in events:
                        yield event
        log_content("answer", message.text)
        logger.info(
            "turn finished: %s, %d tokens, %.1f s",
            budget or message.finish_reason,
            usage.total_tokens,
            self._services.options.timeout_s - self._left_s(),
        )
        yield TurnFinished(
            output=message.text,
            finish_reason=budget or _finish_reason(message.finish_reason),
            usage=usage,
            warnings=self._warnings(),
            messages=(*self._messages, Message("assistant", message.text)),
            session_guid=self._interpreter.session_guid if self._interpreter else None,
        )

    def _left_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def _add(self, content: ChatMessageContent) -> None:
        self._history.add_message(content)
        self._messages.append(message_of(content))

    def _warnings(self) -> tuple[TurnWarning, ...]:
        return tuple(self._interpreter.warnings) if self._interpreter else (_NO_INTERPRETER,)

    def _used_up(self, rounds: int) -> FinishReason | None:
        """The tool budget that is used up."""
        if self._interpreter is None:
            return None
        if rounds == self._services.options.tool_rounds:
            return "tool_rounds"
        if asyncio.get_running_loop().time() + 1 > self._tools_deadline:
            return "deadline"
        return None

    async def _call_tool(self, kernel: Kernel, call: FunctionCallContent) -> AsyncGenerator[Event]:
        """Let Semantic Kernel call the tool and add its result to the history."""
        task = asyncio.create_task(kernel.invoke_function_call(call, self._history))
        task.add_done_callback(lambda _: self._outbox.put_nowait(None))
        try:
            while event := await self._outbox.get():
                yield event
            await task
        finally:
            task.cancel()
        self._messages.append(message_of(self._history.messages[-1]))
        if self._interpreter and self._interpreter.failure:
            raise self._interpreter.failure


def _finish_reason(reason: str) -> FinishReason:
    match reason:
        case "length" | "content_filter":
            return reason
    return "stop"
