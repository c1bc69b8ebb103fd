"""AG-UI 1.0: a run of the agent as the events that front ends show.

An execution is a tool call and its result, and so is a call of a tool of the app's own; a file and
a warning are CUSTOM events of these names, with the same value as in the JSON answer.
https://docs.ag-ui.com/concepts/events

Importing this costs 85 ms of CPU and 5 MB, so it is loaded when the first caller streams.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from ag_ui.core import (
    PROTOCOL_VERSION,
    AssistantMessage,
    BaseEvent,
    ContentPart,
    Context,
    CustomEvent,
    DataSource,
    DeveloperMessage,
    DocumentPart,
    ImagePart,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    SystemMessage,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TextPart,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    UrlSource,
    UserMessage,
)
from ag_ui.core import Message as AguiMessage
from ag_ui.encoder import EventEncoder
from pydantic import JsonValue, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from agent.errors import ConversationNotFoundError, InvalidRequestError, let_go_of_frames
from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    ExecutionStarted,
    File,
    FileCreated,
    TextDelta,
    TextOutput,
    ToolFinished,
    ToolStarted,
    TurnFailed,
    TurnFinished,
)
from agent.frozen import frozen
from agent.http.bodies import HISTORY_MAX_BYTES, check_history, check_length, read_json, validated
from agent.http.dispatch import Route
from agent.http.event_stream import EventStream
from agent.http.pictures import Found, fetched, line_of, of_history, of_question, picture_at
from agent.http.problems import invalid, operation_id
from agent.http.schemas import (
    ExecutionSchema,
    FileSchema,
    ToolUseSchema,
    UsageSchema,
    WarningSchema,
)
from agent.http.turns import start_conversation_turn
from agent.memory import Share
from agent.messages import Message
from agent.pictures import DETAILS, Detail, picture_from
from agent.runtime import Runtime, get_runtime
from agent.turns.result import TurnEvents
from agent.turns.turn import TurnRequest, stateless_turn

TOOL_NAME = "execute_python"
# A front end sends the parts of a result back with each turn that follows; a larger one it has from
# the CUSTOM event alone.
PART_URL_MAX_CHARS = 512 * 1024

_encoder = EventEncoder()


@frozen
class Run:
    """A run that a front end asks for.

    Attributes:
        thread_id: the conversation, by the front end's name.
        run_id: this run, by the front end's name.
        request: the last message as the question, the earlier ones as history, system messages
            and context as instructions. Of pictures those of the last message are shown.
    """

    thread_id: str
    run_id: str
    request: TurnRequest


async def _post(request: Request) -> Response:
    runtime = await get_runtime()
    with runtime.memory.share() as share:
        run = await read_json(
            request, share, HISTORY_MAX_BYTES, lambda body: read_run(body, runtime.input_max_chars)
        )
        if share.held_bytes:
            share.settle(run.request.held_bytes)
        return await _answer(request, runtime, run, share)


async def _answer(request: Request, runtime: Runtime, run: Run, share: Share) -> Response:
    run = replace(run, request=await fetched(run.request, runtime.fetch_picture))
    if runtime.keeps_conversations:
        # A thread that is a conversation of ours goes on with it; a front end's own id is none.
        try:
            stateful = replace(run.request, history=(), earlier_pictures=())
            events = await start_conversation_turn(request, runtime, run.thread_id, stateful, share)
            return event_stream(request, events, share, run.thread_id, run.run_id, run.thread_id)
        except ConversationNotFoundError as error:
            let_go_of_frames(error)
    for file in run.request.looks_at:
        raise InvalidRequestError(
            f"`{file.field}` is a file of a conversation that is not the caller's: send the "
            "picture itself, as data or as a data: URL.",
            field=file.field,
        )
    turn = stateless_turn(runtime.turns, run.request)
    return event_stream(request, turn, share, run.thread_id, run.run_id, None)


def event_stream(
    request: Request,
    events: TurnEvents,
    share: Share,
    thread_id: str,
    run_id: str,
    conversation_id: str | None,
) -> Response:
    """A response that streams the events of a turn as AG-UI events."""
    encoder = AguiEncoder(
        thread_id, run_id, operation_id=operation_id(request), conversation_id=conversation_id
    )
    return EventStream(events, encoder, share.handed_on())


def read_run(body: bytes | bytearray, max_chars: int) -> Run:
    """The run that a RunAgentInput describes.

    State and forwarded properties are not used, and nothing is lost by that: the agent shares no
    state with the front end. Tools of the front end and answers to interrupts would change what
    the run means, so they are refused.

    Args:
        body: JSON.
        max_chars: the longest question.

    Raises:
        InvalidRequestError: it is no RunAgentInput, or asks for what the agent does not do.
        PayloadTooLargeError: the question is too long.
    """
    try:
        run = validated(RunAgentInput, body)
    except ValidationError as error:
        raise invalid(error) from None
    if run.tools:
        raise InvalidRequestError(
            "Tools of the front end are not supported: the agent runs Python itself.",
            field="tools",
        )
    if run.resume:
        raise InvalidRequestError(
            "There is nothing to resume: this agent never interrupts a run.", field="resume"
        )
    question = run.messages[-1] if run.messages else None
    if not isinstance(question, UserMessage):
        raise InvalidRequestError("The last message must be the user's.", field="messages")
    last = len(run.messages) - 1
    found = of_question(
        [*_pictures_of(question.content, last, run.thread_id)], f"messages.{last}.content"
    )
    text = _text_of(question.content).strip()
    if not (text or found):
        raise InvalidRequestError("The last message is empty.", field="messages")
    check_length(text, max_chars, "messages")
    earlier = run.messages[:-1]
    shown = [
        [*_pictures_of(message.content, n, run.thread_id)]
        if isinstance(message, UserMessage)
        else []
        for n, message in enumerate(earlier)
    ]
    instructions = [*_instructions(earlier), *_context(run.context or ())]
    turn = TurnRequest(
        text,
        tuple(_history(earlier, shown)),
        found.pictures,
        of_history([*chain(*shown)]),
        found.files,
        found.addresses,
        instructions="\n\n".join(instructions),
        stream=True,
    )
    check_history(turn)
    return Run(run.thread_id, run.run_id, turn)


def _history(
    messages: Sequence[AguiMessage], shown: Sequence[Sequence[Found]]
) -> Iterator[Message]:
    """The conversation so far, without code that ran: the session that ran it is gone."""
    for message, pictures in zip(messages, shown, strict=True):
        match message:
            case UserMessage():
                lines = [_text_of(message.content), *map(line_of, pictures)]
                yield Message("user", "\n".join(lines))
            case AssistantMessage(content=str(text)) if text:
                yield Message("assistant", text)


def _instructions(messages: Sequence[AguiMessage]) -> Iterator[str]:
    for message in messages:
        if isinstance(message, SystemMessage | DeveloperMessage):
            yield message.content


def _context(entries: Sequence[Context]) -> Iterator[str]:
    for entry in entries:
        yield f"{entry.description}: {entry.value}"


def _text_of(content: str | list[ContentPart]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if isinstance(part, TextPart))


def _pictures_of(content: str | list[ContentPart], number: int, thread_id: str) -> Iterator[Found]:
    """The pictures of a message; any other part that is no text is refused."""
    for n, part in enumerate(() if isinstance(content, str) else content):
        field = f"messages.{number}.content.{n}"
        match part:
            case TextPart():
                pass
            case ImagePart(source=DataSource(value=text, mime_type=media_type)):
                yield picture_from(text, media_type, f"{field}.source.value", _detail_of(part))
            case ImagePart(source=UrlSource(value=url)):
                yield picture_at(url, f"{field}.source.value", _detail_of(part), thread_id)
            case ImagePart():
                raise InvalidRequestError(
                    f"`{field}.source` names a file that this app does not have: send the picture "
                    "itself, as data or as a data: URL.",
                    field=f"{field}.source",
                )
            case _:
                raise InvalidRequestError(
                    "Only text and pictures can be part of a message. Upload files to the "
                    "conversation (POST /api/conversations/{threadId}/files): Python finds them in "
                    "/mnt/data.",
                    field=field,
                )


def _detail_of(part: ImagePart) -> Detail | None:
    """How closely the model shall look, as AG-UI's documentation has it in an example."""
    wanted = part.metadata.get("detail") if isinstance(part.metadata, dict) else None
    return next((detail for detail in DETAILS if detail == wanted), None)


class AguiEncoder:
    """Makes AG-UI events of one turn's events.

    Args:
        thread_id: the conversation.
        run_id: this turn.
        conversation_id: of a turn of a conversation; None for a stateless turn.
        operation_id: finds the request in the logs.
    """

    def __init__(
        self,
        thread_id: str,
        run_id: str,
        *,
        operation_id: str,
        conversation_id: str | None = None,
    ) -> None:
        self._thread_id = thread_id
        self._run_id = run_id
        self._conversation_id = conversation_id
        self._operation_id = operation_id
        # The front end keeps all runs of a thread, so ids must differ between them.
        self._prefix = secrets.token_hex(8)
        self._files: dict[str, File] = {}
        self._open_message: str | None = None
        self._parent_message: str | None = None

    def begin(self) -> bytes:
        """RUN_STARTED."""
        return _bytes(
            RunStartedEvent(
                thread_id=self._thread_id, run_id=self._run_id, protocol_version=PROTOCOL_VERSION
            )
        )

    def encode(self, event: Event) -> bytes:
        """The AG-UI events that one event amounts to."""
        return b"".join(map(_bytes, self._events_of(event)))

    def _events_of(self, event: Event) -> Iterator[BaseEvent]:
        if not isinstance(event, TextDelta):
            yield from self._end_message()
        match event:
            case TextDelta(message_id=message_id, text=text):
                if self._open_message != message_id:
                    yield from self._end_message()
                    self._open_message = self._parent_message = message_id
                    yield TextMessageStartEvent(message_id=message_id, role="assistant")
                yield TextMessageContentEvent(message_id=message_id, delta=text)
            case ExecutionStarted(execution_id=execution_id, code=code):
                yield from self._tool_call(self._call_id(execution_id), TOOL_NAME, {"code": code})
            case ExecutionFinished(execution_id=execution_id, execution=execution):
                yield self._tool_result(execution_id, self._content(execution))
                self._files.clear()
            case ToolStarted(call_id=call_id, name=name, arguments=arguments):
                yield from self._tool_call(self._call_id(call_id), name, arguments)
            case ToolFinished(call_id=call_id, use=use):
                result = ToolUseSchema.model_validate(use).model_dump_json()
                yield self._tool_result(call_id, result)
            case FileCreated(file=file):
                self._files[file.name] = file
                value = FileSchema.model_validate(file).model_dump()
                yield CustomEvent(name="file", value=value)
            case TurnFinished():
                yield from self._finish(event)
            case TurnFailed():
                yield self._error(event)

    def _end_message(self) -> Iterator[BaseEvent]:
        if self._open_message is not None:
            yield TextMessageEndEvent(message_id=self._open_message)
            self._open_message = None

    def _tool_call(
        self, call_id: str, name: str, arguments: Mapping[str, JsonValue]
    ) -> Iterator[BaseEvent]:
        yield ToolCallStartEvent(
            tool_call_id=call_id,
            tool_call_name=name,
            parent_message_id=self._parent_message,
        )
        # Only the first call belongs to the text before it: the next may be another message's.
        self._parent_message = None
        text = json.dumps(arguments, ensure_ascii=False)
        yield ToolCallArgsEvent(tool_call_id=call_id, delta=text)
        yield ToolCallEndEvent(tool_call_id=call_id)

    def _tool_result(self, call_id: str, content: str | list[ContentPart]) -> BaseEvent:
        call_id = self._call_id(call_id)
        return ToolCallResultEvent(
            message_id=f"{call_id}-result", tool_call_id=call_id, content=content, role="tool"
        )

    def _content(self, execution: Execution) -> str | list[ContentPart]:
        """The execution as JSON; behind it the figures and pages that it showed, in order."""
        text = ExecutionSchema.model_validate(execution).model_dump_json()
        names = [o.file for o in execution.outputs if not isinstance(o, TextOutput) and o.file]
        files = [self._files[name] for name in names if name in self._files]
        parts = [_part(file) for file in files if len(file.url) <= PART_URL_MAX_CHARS]
        return [TextPart(text=text), *parts] if parts else text

    def _call_id(self, execution_id: str) -> str:
        return f"{self._prefix}-{execution_id}"

    def _finish(self, turn: TurnFinished) -> Iterator[BaseEvent]:
        warnings = [WarningSchema.model_validate(w).model_dump() for w in turn.warnings]
        for warning in warnings:
            yield CustomEvent(name="warning", value=warning)
        yield RunFinishedEvent(
            thread_id=self._thread_id,
            run_id=self._run_id,
            result={
                "output": turn.output,
                "conversation_id": self._conversation_id,
                "usage": UsageSchema.model_validate(turn.usage).model_dump(),
                "finish_reason": turn.finish_reason,
                "warnings": warnings,
            },
            usage=[
                TokenUsage(
                    input_tokens=turn.usage.prompt_tokens,
                    output_tokens=turn.usage.completion_tokens,
                    total_tokens=turn.usage.total_tokens,
                )
            ],
        )

    def _error(self, turn: TurnFailed) -> BaseEvent:
        error = turn.error
        # The rest of what problem+json would say.
        problem = {
            "status": error.status,
            "title": error.title,
            "operation_id": self._operation_id,
            "retry_after_s": error.retry_after_s,
        }
        return RunErrorEvent(
            message=error.detail,
            code=error.code,
            metadata={name: value for name, value in problem.items() if value is not None},
        )


def _part(file: File) -> ImagePart | DocumentPart:
    source = UrlSource(value=file.url, mime_type=file.media_type)
    kind = ImagePart if file.media_type.startswith("image/") else DocumentPart
    return kind(source=source, metadata={"name": file.name})


def _bytes(event: BaseEvent) -> bytes:
    return _encoder.encode(event).encode()


ROUTES: Final = {"agui": Route({"POST": _post})}
