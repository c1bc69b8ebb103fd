"""One turn: the model and its tool calls, until there is an answer.

An async generator of typed events; JSON, server-sent events and the OpenAI-compatible answer are
encoders of the same stream. Closing it early closes the model's stream and abandons the execution.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import field, replace
from importlib.resources import files
from sys import getsizeof
from typing import Literal

from agent.errors import (
    AgentError,
    DeadlineExceededError,
    ModelParameterError,
    frames_of,
    let_go_of_frames,
)
from agent.events import (
    Event,
    FileCreated,
    FinishReason,
    TextDelta,
    TurnFailed,
    TurnFinished,
    TurnWarning,
    Usage,
)
from agent.frozen import frozen
from agent.messages import Message, ToolCall, texts_of
from agent.model.call import ask
from agent.model.history import chat_history, sent, with_figures
from agent.model.kernel import build_kernel, invoke
from agent.model.parameters import UNSET, ModelParameters
from agent.model.sdk import Kernel
from agent.model.service import ChatService, SentHistory
from agent.model.tool_calls import PARALLEL, TextTool, Tool, ToolRequest, read_calls
from agent.model.wire import Answer
from agent.pictures import Detail, Picture, note
from agent.session_pool.client import SessionsClient
from agent.telemetry import log_content, logger
from agent.telemetry.calls import ModelSpan, ToolSpan
from agent.telemetry.turns import TurnTelemetry
from agent.toolkit.tool import OwnTool
from agent.turns.code_interpreter import CodeInterpreter, OutputLimits
from agent.turns.files import InlineFiles
from agent.turns.links import SandboxLinks
from agent.turns.own_tools import OwnTools
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
_NO_MORE_TOOLS = (
    "You cannot run more code or call tools in this turn. Answer now with what you have found out."
)
_TOOL = TextTool(
    CodeInterpreter.execute_python.__name__,
    "code",
    "Python source",
    aliases=frozenset({"python", "code_interpreter"}),
)
# Which no tool of the app's own can have.
TAKEN_NAMES = frozenset({_TOOL.name, PARALLEL, *_TOOL.aliases})
_EMPTY_ANSWER = TurnWarning(
    "EmptyAnswer", "The model ended without saying anything. Ask again, or in other words."
)
_ONLY_REASONING = TurnWarning(
    "EmptyAnswer", "The model gave no answer: what it thought is shown in place of one."
)
_PICTURES_NOT_SEEN = TurnWarning(
    "PicturesNotSeen",
    "The model was told the pictures' names and sizes, and was not shown them: by the app setting "
    "AZURE_OPENAI_VISION it cannot see.",
)
_NO_INTERPRETER = TurnWarning(
    "CodeInterpreterNotConfigured",
    "No code was run: the app has no session pool. Set POOL_MANAGEMENT_ENDPOINT.",
)


@frozen
class FileToSee:
    """A file of the conversation that the model shall be shown.

    Attributes:
        name: of the file.
        field: of the request, for errors.
    """

    name: str
    field: str


@frozen
class PictureToFetch:
    """A picture that is elsewhere.

    Attributes:
        url: an https address, as the caller wrote it.
        field: of the request, for errors.
        detail: how closely the model shall look.
        place: how many pictures that came with the question stand before it.
    """

    url: str
    field: str
    detail: Detail | None = None
    place: int = 0


@frozen
class TurnRequest:
    """The request for a turn, the same for every API.

    Attributes:
        question: the user's message.
        history: the messages before it.
        pictures: that the user attached to it, for a model that can see, and files of the session.
        earlier_pictures: of the messages before it, which are files of the session alone.
        looks_at: files of the conversation that belong to `pictures` too.
        to_fetch: what belongs to them once it has been fetched, which is before a turn starts.
        instructions: the caller's own, for this turn alone; the model reads them after the
            built-in ones and before those of the app's owner.
        stream: whether somebody reads the answer in pieces; a whole message costs less CPU.
        parameters: of the model, for this turn; they go before those of the app settings.
    """

    question: str
    history: tuple[Message, ...] = ()
    pictures: tuple[Picture, ...] = ()
    earlier_pictures: tuple[Picture, ...] = ()
    looks_at: tuple[FileToSee, ...] = ()
    to_fetch: tuple[PictureToFetch, ...] = ()
    instructions: str = ""
    stream: bool = False
    parameters: ModelParameters = UNSET

    @property
    def held_bytes(self) -> int:
        """What a turn holds of it: each text, and once more in the request of a model's call."""
        said = (self.question, self.instructions, *texts_of(self.history))
        pictures = (*self.earlier_pictures, *self.pictures)
        return 2 * sum(map(getsizeof, said)) + 4 * sum(len(each.content) for each in pictures)


@frozen
class TurnOptions:
    """What all turns have in common: budgets, and how they call model and pool.

    Attributes:
        timeout_s: for all of a turn.
        tool_rounds: how often the model may call tools.
        output: limits of what code shows.
        instructions: the owner's.
        sees: whether the model can be shown pictures.
        parameters: of the model.
        warm_up: whose session is allocated while the model still thinks.
    """

    timeout_s: float
    tool_rounds: int
    output: OutputLimits
    instructions: str = ""
    sees: bool = False
    parameters: ModelParameters = UNSET
    warm_up: Literal["never", "conversations", "always"] = "never"

    def warms_up(self, session: TurnSession) -> bool:
        """Whether the session is allocated beside the model's first call."""
        had_one = session.guid is not None and (session.looks or not session.is_there)
        return self.warm_up == "always" or (self.warm_up == "conversations" and had_one)


@frozen
class TurnServices:
    """The clients and settings that all turns of this worker share.

    Attributes:
        model: the chat completion service.
        sessions: the session pool, None where none is configured.
        options: the budgets.
        in_background: runs a coroutine to its end, after the turn if need be.
        tools: the app's own.
        not_taken: parameters of callers that the model refused: they are not sent again.
    """

    model: ChatService
    sessions: SessionsClient | None
    options: TurnOptions
    in_background: Callable[[Coroutine[None, None, None]], None]
    tools: tuple[OwnTool, ...] = ()
    not_taken: set[str] = field(default_factory=set)

    @property
    def tool_names(self) -> tuple[str, ...]:
        """What the model may call."""
        return (*([_TOOL.name] if self.sessions else []), *(tool.name for tool in self.tools))


def stateless_turn(services: TurnServices, request: TurnRequest) -> AsyncGenerator[Event]:
    """Answer one question in a new session, which is given back however the turn ends.

    Yields:
        Events as they happen; the last one is `TurnFinished` or `TurnFailed`.
    """
    if services.sessions is None:
        return with_terminal_event(run_turn(services, request, None))
    # 192 random bits: an identifier that can be guessed lets the guesser into the session.
    identifier = secrets.token_hex(24)
    given = {p.name: p.content for p in (*request.earlier_pictures, *request.pictures)}
    files = InlineFiles(services.sessions, identifier, given)
    session = TurnSession(services.sessions, identifier, files, keeps_files=bool(given))
    return with_terminal_event(run_turn(services, request, session, give_back=True))


def with_terminal_event(
    events: AsyncGenerator[Event], telemetry: TurnTelemetry | None = None
) -> AsyncGenerator[Event]:
    """The same events; an error on the way becomes the last of them, `TurnFailed`.

    Each turn passes through it once, so that each is recorded for the operator.

    Args:
        events: of the turn.
        telemetry: of the turn, where it began before.
    """
    return _with_terminal_event(events, telemetry or TurnTelemetry())


async def _with_terminal_event(
    events: AsyncGenerator[Event], telemetry: TurnTelemetry
) -> AsyncGenerator[Event]:
    failed: TurnFailed | None = None
    try:
        async with aclosing(telemetry.within(events)) as steps:
            try:
                async for event in steps:
                    telemetry.add(event)
                    yield event
            except AgentError as error:
                let_go_of_frames(error)
                failed = TurnFailed(error)
                if error.quoted:
                    log_content("answer", error.quoted)
            except Exception as error:
                logger.error("turn failed: %s", frames_of(error))
                log_content("output", str(error))
                failed = TurnFailed(AgentError.unexpected())
        if failed:
            telemetry.failed(failed.error.code, failed.error.detail_for_log)
            yield failed
    finally:
        telemetry.end()


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
        warming = turn.warming
        if session is not None and give_back and (turn.used_session or warming):
            services.in_background(_give_back_warmed(session, warming))
        else:
            # A conversation keeps what was warmed: its next turn is likely to need it within the
            # hour that is paid.
            if warming:
                warming.cancel()
            if session is not None and turn.left_code_running:
                services.in_background(_free(session))


async def _give_back_warmed(session: TurnSession, warming: asyncio.Task[None] | None) -> None:
    if warming:
        # What is still being allocated cannot be given back yet.
        await asyncio.wait([warming])
    await _give_back(session)


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
        # The caller's are for the model if it takes them; those of the settings must be right.
        self._wishes = request.parameters
        self._parameters = options.parameters | self._wishes.without(services.not_taken)
        self._deadline = deadline or asyncio.get_running_loop().time() + options.timeout_s
        reserve_s = min(ANSWER_RESERVE_S, options.timeout_s * ANSWER_RESERVE_SHARE)
        self._tools_deadline = self._deadline - reserve_s
        # The interpreter puts events here while a tool call runs; None ends the call.
        self._outbox: asyncio.Queue[Event | None] = asyncio.Queue()
        self._warms_up = session is not None and options.warms_up(session)
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
        self._tools: list[Tool] = [
            *([] if session is None else [_TOOL]),
            *(tool.shape for tool in services.tools),
        ]
        self._own_tools = OwnTools(
            services.tools,
            options.output,
            deadline=self._tools_deadline,
            emit=self._outbox.put_nowait,
            interpreter=self._interpreter,
        )
        built_in = _INSTRUCTIONS if session else _INSTRUCTIONS_WITHOUT_INTERPRETER
        # One message: not every model takes two of the system. Its last words weigh most, so they
        # are those of the app's owner.
        instructions = "\n".join(
            filter(None, [built_in, request.instructions, options.instructions])
        )
        # What this turn adds to the conversation.
        self._messages = [Message("user", _told(request, sees=options.sees, session=session))]
        self._history = chat_history(
            instructions,
            [*request.history, *self._messages],
            request.pictures if options.sees else (),
        )
        self._call_ids = {call.id for said in request.history for call in said.tool_calls}
        # What the model said, each message that is not empty.
        self._outputs: list[str] = []
        self._warnings: list[TurnWarning] = [
            _not_taken(name) for name in self._wishes.as_fields() if name in services.not_taken
        ]
        if request.pictures and not options.sees:
            self._warnings.append(_PICTURES_NOT_SEEN)
        self._is_late = False
        # File name → where the caller gets it.
        self._addresses = dict(session.addresses) if session else {}
        log_content("question", request.question)

    @property
    def left_code_running(self) -> bool:
        return self._interpreter is not None and self._interpreter.abandoned

    @property
    def used_session(self) -> bool:
        return self._interpreter is not None and self._interpreter.used

    @property
    def warming(self) -> asyncio.Task[None] | None:
        return self._interpreter.warming if self._interpreter else None

    async def events(self) -> AsyncGenerator[Event]:
        functions = [self._interpreter.execute_python] if self._interpreter else []
        own = [tool.declared for tool in self._services.tools]
        kernel = build_kernel(self._services.model, [*functions, *own])
        if self._interpreter and self._warms_up:
            self._interpreter.warm_up()
        usage = Usage()
        for round_ in range(self._services.options.tool_rounds + 1):
            budget = self._used_up(round_)
            tools = bool(self._tools) and budget is None
            if self._tools and not tools:
                self._say_that_no_tools_are_left()
            answer = Answer()
            texts: list[str] = []
            async with aclosing(self._ask(kernel, answer, tools=tools)) as deltas:
                async for delta in deltas:
                    texts.append(delta.text)
                    yield delta
            usage += answer.usage
            if self._interpreter is not None:
                self._interpreter.figures.clear()  # shown once
            if self._is_late:
                budget = "deadline"
            text = "".join(texts)
            calls = self._calls_of(answer) if tools and not self._is_late else []
            self._add_answer(text, calls)
            if not calls:
                break
            async with aclosing(self._call_tools(kernel, calls)) as events:
                async for event in events:
                    yield event
        if not text.strip():
            self._warnings.append(_EMPTY_ANSWER)
        elif answer.has_only_reasoning:
            self._warnings.append(_ONLY_REASONING)
        output = "\n\n".join(self._outputs)
        finish_reason = budget or _finish_reason(answer.finish_reason)
        log_content("answer", output, finish_reason=finish_reason)
        yield TurnFinished(
            output=output,
            finish_reason=finish_reason,
            usage=usage,
            warnings=self._all_warnings(),
            messages=tuple(self._messages),
            session_guid=self._interpreter.session_guid if self._interpreter else None,
            may_write=self._interpreter is None or self._interpreter.may_write,
        )

    async def _ask(
        self, kernel: Kernel, answer: Answer, *, tools: bool
    ) -> AsyncGenerator[TextDelta]:
        """One call of the model: the pieces of its message; `answer` then holds the rest.

        What the caller asked of the model and it does not take is left out, with a warning.
        """
        while True:
            try:
                async with aclosing(self._ask_once(kernel, answer, tools=tools)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except ModelParameterError as error:
                not_taken = self._services.not_taken
                name = error.parameter
                if name in not_taken or name not in self._wishes.as_fields():
                    raise
                not_taken.add(name)
                self._warnings.append(_not_taken(name))
                self._parameters = self._services.options.parameters | self._wishes.without(
                    not_taken
                )

    async def _ask_once(
        self, kernel: Kernel, answer: Answer, *, tools: bool
    ) -> AsyncGenerator[TextDelta]:
        message_id = f"msg-{secrets.token_hex(8)}"
        links = SandboxLinks(self._addresses)
        model = self._services.model
        try:
            with ModelSpan(model.ai_model_id, model.server, stream=self._stream) as span:
                asked = ask(
                    model,
                    kernel,
                    self._to_read(),
                    answer,
                    parameters=self._parameters,
                    tools=tools,
                    stream=self._stream,
                    deadline=self._deadline,
                    span=span,
                )
                async with aclosing(asked) as texts:
                    async for text in texts:
                        if ready := links.feed(text):
                            yield TextDelta(message_id, ready)
                span.answered(
                    finish_reason=answer.finish_reason,
                    usage=answer.usage,
                    cached_tokens=answer.cached_tokens,
                    reasoning_tokens=answer.reasoning_tokens,
                    response_id=answer.id,
                    model=answer.model,
                )
        except DeadlineExceededError:
            if not answer.text and not self._outputs:
                raise
            # What was said until now is the answer.
            self._is_late = True
        if rest := links.end():
            yield TextDelta(message_id, rest)

    def _to_read(self) -> SentHistory:
        """The history, and the figures that the code made since the model was last asked."""
        figures = self._interpreter.figures if self._interpreter else ()
        return with_figures(self._history, figures) if figures else self._history

    def _calls_of(self, answer: Answer) -> list[ToolRequest]:
        if answer.finish_reason == "content_filter":
            return []  # what the filter cut is no call
        return read_calls(answer, self._tools, self._call_ids)

    def _add_answer(self, text: str, calls: Sequence[ToolRequest]) -> None:
        """Keep a message of the model, for the caller and for its next call."""
        if text.strip():
            self._outputs.append(text)
        elif not calls:
            return  # services refuse an empty message
        wanted = tuple(ToolCall(call.id, call.name, call.arguments) for call in calls)
        self._add(Message("assistant", text, wanted))

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self._history.sent.append(sent(message))

    def _say_that_no_tools_are_left(self) -> None:
        """Say it in the last tool result: many models take no second system message."""
        last = self._messages[-1]
        if last.role == "tool":
            told = replace(last, text=f"{last.text}\n\n{_NO_MORE_TOOLS}")
            self._history.sent[-1] = sent(told)

    def _all_warnings(self) -> tuple[TurnWarning, ...]:
        warnings = (*self._own_tools.warnings, *self._warnings)
        if self._interpreter is None:
            return (_NO_INTERPRETER, *warnings)
        return (*self._interpreter.warnings, *warnings)

    def _used_up(self, rounds: int) -> FinishReason | None:
        """The tool budget that is used up."""
        if not self._tools:
            return None
        if rounds == self._services.options.tool_rounds:
            return "tool_rounds"
        if asyncio.get_running_loop().time() + 1 > self._tools_deadline:
            return "deadline"
        return None

    async def _call_tools(
        self, kernel: Kernel, calls: Sequence[ToolRequest]
    ) -> AsyncGenerator[Event]:
        """Call the tools and add their results to the history, in the order of the calls."""
        # Eager: code is on its way before anybody waits for its events.
        called = self._called(kernel, calls)
        task = asyncio.eager_task_factory(asyncio.get_running_loop(), called)
        task.add_done_callback(lambda _: self._outbox.put_nowait(None))
        try:
            while event := await self._outbox.get():
                if isinstance(event, FileCreated):
                    self._addresses[event.file.name] = event.file.url
                yield event
            await task
        finally:
            task.cancel()
        if self._interpreter and self._interpreter.failure:
            raise self._interpreter.failure

    async def _called(self, kernel: Kernel, calls: Sequence[ToolRequest]) -> None:
        own = [call for call in calls if call.name in self._own_tools and not call.problem]
        if not own:
            await self._in_order(kernel, calls, {})
            return
        async with asyncio.TaskGroup() as group:
            under_way = {call.id: group.create_task(self._own_tools.call(call)) for call in own}
            await self._in_order(kernel, calls, under_way)
            # They have ended, unless the turn cannot go on.
            for task in under_way.values():
                task.cancel()

    async def _in_order(
        self,
        kernel: Kernel,
        calls: Sequence[ToolRequest],
        under_way: Mapping[str, asyncio.Task[str]],
    ) -> None:
        """Add the result of each call; code runs when there is that of all calls before it.

        It may read what they brought.
        """
        for call in calls:
            if self._interpreter and self._interpreter.failure:
                return
            if call.problem:
                self._add(Message("tool", call.problem, tool_call_id=call.id))
            elif task := under_way.get(call.id):
                self._add(Message("tool", await task, tool_call_id=call.id))
            else:
                result = await self._invoke(kernel, call)
                self._add(Message("tool", result, tool_call_id=call.id))

    async def _invoke(self, kernel: Kernel, call: ToolRequest) -> str:
        """Let Semantic Kernel call the interpreter; the value is what the model is told."""
        with ToolSpan(call.name, call.id) as span:
            result = await invoke(kernel, call.name, call.arguments)
            if self._interpreter and self._interpreter.failure:
                span.failed(self._interpreter.failure.code)
        return result


def _told(request: TurnRequest, *, sees: bool, session: TurnSession | None) -> str:
    """The question, with a line for each picture: what stays of it in the conversation."""
    place = "; in /mnt/data" if session else ""
    how = ", shown with this message alone" if sees else ", which you cannot see"
    lines = [note(picture, f"{how}{place}") for picture in request.pictures]
    return "\n".join([request.question, *lines]).lstrip()


def _not_taken(name: str) -> TurnWarning:
    return TurnWarning(
        "ParameterNotTaken", f"The model does not take this `{name}`: it answered without it."
    )


def _finish_reason(reason: str) -> FinishReason:
    """Why the answer ended, by a service's word for it; words that nobody knows say nothing."""
    match reason.lower():
        case "length" | "max_tokens":
            return "length"
        case "content_filter":
            return "content_filter"
    return "stop"
