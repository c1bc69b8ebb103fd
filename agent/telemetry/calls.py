"""The calls of a turn: of the model, of the tool, and of services over HTTP; each is a span.

Each is used in `with`, where the error that ends the call becomes its `error.type`.
"""

import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Final, Literal, Self

from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from agent.errors import AgentError
from agent.events import Usage
from agent.telemetry import metrics, recording
from agent.telemetry.recording import Attribute, Attributes
from agent.telemetry.turns import ABANDONED, PROVIDER, TurnTelemetry, current_turn

# Header of the session pool → attribute. https://github.com/Azure-Samples/container-apps-dynamic-sessions-samples
_POOL_TIMINGS: Final = {
    "x-ms-allocation-time": "code_interpreter.pool.allocation_ms",
    "x-ms-allocation-retries": "code_interpreter.pool.allocation_retries",
    "x-ms-container-execution-duration": "code_interpreter.pool.container_execution_ms",
    "x-ms-preparation-time": "code_interpreter.pool.preparation_ms",
    "x-ms-execution-request-time": "code_interpreter.pool.execution_request_ms",
    "x-ms-execution-read-response-time": "code_interpreter.pool.read_response_ms",
    "x-ms-overall-execution-time": "code_interpreter.pool.overall_execution_ms",
    "x-ms-total-execution-service-time": "code_interpreter.pool.total_ms",
}


class _CallSpan:
    """A span, and how long it took.

    Attributes:
        took_s: known at its end.
    """

    def __init__(self, name: str, kind: SpanKind, attributes: Attributes) -> None:
        self.took_s = 0.0
        self._turn: TurnTelemetry | None = current_turn()
        self._facts = attributes
        self._span: Span = recording.open_span(name, kind, attributes)
        self._error_type = ""
        self._began_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.took_s = time.monotonic() - self._began_s
        error_type = _error_type(error) or self._error_type
        if error_type:
            self._span.set_attribute("error.type", error_type)
            if error_type != ABANDONED:
                self._span.set_status(Status(StatusCode.ERROR))
        self._ended({"error.type": error_type} if error_type else {})
        self._span.end()

    def failed(self, error_type: str) -> None:
        """The call failed, although the block will end without an error."""
        self._error_type = error_type

    def _ended(self, error: Attributes) -> None:
        """Called once, with the attributes that metrics have of the error."""


class _CurrentSpan(_CallSpan):
    """A call whose span is the current one in the block."""

    def __init__(self, name: str, kind: SpanKind, attributes: Attributes) -> None:
        super().__init__(name, kind, attributes)
        self._current = recording.current(self._span)

    def __enter__(self) -> Self:
        self._current.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._current.__exit__()
        super().__exit__(kind, error, traceback)


class ModelSpan(_CallSpan):
    """A call of the model: span `chat {model}`.

    Args:
        model: the deployment.
        server: host of the account.
        stream: whether the answer comes in pieces.
    """

    def __init__(self, model: str, server: str, *, stream: bool) -> None:
        self._model: dict[str, Attribute] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": model,
        }
        self._stream = stream
        attributes = {**self._model, "server.address": server, "gen_ai.request.stream": stream}
        super().__init__(f"chat {model}", SpanKind.CLIENT, attributes)

    async def within[T](self, pieces: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """The same pieces, each received while the call is the current span."""
        first, current = self._stream, recording.current(self._span)
        try:
            while True:
                with current:
                    try:
                        piece = await anext(pieces)
                    except StopAsyncIteration:
                        return
                if first:
                    first = False
                    waited_s = time.monotonic() - self._began_s
                    self._span.set_attribute("gen_ai.response.time_to_first_chunk", waited_s)
                yield piece
        finally:
            await pieces.aclose()

    def answered(
        self,
        *,
        finish_reason: str,
        usage: Usage,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        response_id: str = "",
        model: str = "",
    ) -> None:
        """The answer is there, whole.

        Args:
            finish_reason: of Azure OpenAI.
            usage: tokens of this call.
            cached_tokens: those of them that the service had read before.
            reasoning_tokens: those of them that were thought.
            response_id: of the answer, where it has one.
            model: which answered.
        """
        answer: dict[str, Attribute] = {
            "gen_ai.response.finish_reasons": (finish_reason,),
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
        }
        if cached_tokens:
            answer["gen_ai.usage.cache_read.input_tokens"] = cached_tokens
            recording.measure(metrics.CACHED_TOKENS, cached_tokens, self._model)
        if reasoning_tokens:
            answer["gen_ai.usage.reasoning.output_tokens"] = reasoning_tokens
            recording.measure(metrics.REASONING_TOKENS, reasoning_tokens, self._model)
        if response_id:
            answer["gen_ai.response.id"] = response_id
        if model:
            answer["gen_ai.response.model"] = model
        self._span.set_attributes(answer)
        recording.measure(metrics.INPUT_TOKENS, usage.prompt_tokens, self._model)
        recording.measure(metrics.OUTPUT_TOKENS, usage.completion_tokens, self._model)

    def _ended(self, error: Attributes) -> None:
        recording.measure(metrics.INFERENCE_DURATION, self.took_s, {**self._model, **error})
        if self._turn:
            self._turn.model_s += self.took_s
            self._turn.model_calls += 1


class ModelAttempt:
    """One attempt of a model call, from now; it has a span of its own if it fails.

    Of one that succeeds, `chat {model}` says all there is.
    """

    def __init__(self) -> None:
        self._began_ns = time.time_ns()

    def failed(self, server: str, error_type: str, *, status: int | None = None) -> None:
        """It gave no answer: span `POST chat/completions` below the model call.

        Args:
            server: host that was called.
            error_type: as the conventions have it for HTTP: the status, the name of the exception.
            status: of HTTP, if there is one.
        """
        attributes = _http_attributes("POST", "chat/completions", server)
        attributes["error.type"] = error_type
        if status is not None:
            attributes["http.response.status_code"] = status
        span = recording.open_span(
            "POST chat/completions", SpanKind.CLIENT, attributes, began_ns=self._began_ns
        )
        span.set_status(Status(StatusCode.ERROR))
        span.end()


def annotate_streaming() -> None:
    """Say on the current span, the model's, that its answer comes as a stream after all."""
    recording.annotate(lambda: {"gen_ai.request.stream": True})


class ToolSpan(_CurrentSpan):
    """A call of a tool: span `execute_tool {name}`; it is current in the block.

    Args:
        name: of a tool that there is: the model may make up others, and of a metric they would be
            values without bound.
        call_id: by which the model knows it.
    """

    def __init__(self, name: str, call_id: str) -> None:
        self._tool: dict[str, Attribute] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
        }
        attributes = {**self._tool, "gen_ai.tool.call.id": call_id}
        super().__init__(f"execute_tool {name}", SpanKind.INTERNAL, attributes)

    def _ended(self, error: Attributes) -> None:
        recording.measure(metrics.TOOL_DURATION, self.took_s, {**self._tool, **error})
        if self._turn:
            self._turn.tool_calls += 1


def annotate_execution(status: str, duration_ms: int, headers: Mapping[str, str]) -> None:
    """Put what the pool reports of an execution on the current span, the tool's.

    Args:
        status: of the execution.
        duration_ms: in the kernel.
        headers: of the pool's answer, for its own timings.
    """
    recording.annotate(lambda: _execution(status, duration_ms, headers))


def _execution(status: str, duration_ms: int, headers: Mapping[str, str]) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        "code_interpreter.execution.status": status,
        "code_interpreter.execution.duration_ms": duration_ms,
    }
    for header, name in _POOL_TIMINGS.items():
        try:
            attributes[name] = float(headers[header])
        except (KeyError, ValueError):
            continue
    return attributes


class HttpSpan(_CurrentSpan):
    """One attempt of a call over HTTP: span `{method} {template}`; it is current in the block.

    Args:
        service: whose time it is.
        method: of HTTP.
        template: the path without what it names: no file, no identifier.
        server: host that is called.
        attempt: which one it is, from 1.
        purpose: tells apart calls that look the same.
    """

    def __init__(
        self,
        service: Literal["pool", "store"],
        method: str,
        template: str,
        server: str,
        *,
        attempt: int = 1,
        purpose: str = "",
    ) -> None:
        attributes = _http_attributes(method, template, server)
        if attempt > 1:
            attributes["http.request.resend_count"] = attempt - 1
        if purpose:
            attributes["code_interpreter.purpose"] = purpose
        super().__init__(f"{method} {template}", SpanKind.CLIENT, attributes)
        self._service = service

    def answered(self, status: int) -> None:
        """The answer has this HTTP status."""
        self._span.set_attribute("http.response.status_code", status)

    def _ended(self, error: Attributes) -> None:
        if self._turn and self._service == "pool":
            self._turn.pool_s += self.took_s


def token_span(scope: str) -> AbstractContextManager[object]:
    """While the block runs, a turn waits for a token of its identity: span `get token`."""
    if current_turn() is None:
        return nullcontext()
    return _CallSpan("get token", SpanKind.INTERNAL, {"code_interpreter.token.scope": scope})


def _http_attributes(method: str, template: str, server: str) -> dict[str, Attribute]:
    return {
        "http.request.method": method,
        "url.template": template,
        # Without what the template leaves out.
        "url.full": f"https://{server}/{template.lstrip('/')}",
        "server.address": server,
    }


def count_retry(service: Literal["model", "pool", "store"]) -> None:
    """A call of the service is tried again."""
    recording.measure(metrics.RETRIES, 1, {"code_interpreter.service": service})


def count_upload(size_bytes: int) -> None:
    """A caller uploaded a file."""
    recording.measure(metrics.FILE_BYTES, size_bytes, {"code_interpreter.file.origin": "upload"})


@contextmanager
def store_time() -> Iterator[None]:
    """The time of the block is the store's; a store may be a folder, which no HTTP call shows."""
    turn, began_s = current_turn(), time.monotonic()
    try:
        yield
    finally:
        if turn:
            turn.store_s += time.monotonic() - began_s


def _error_type(error: BaseException | None) -> str:
    match error:
        case None:
            return ""
        case AgentError():
            return error.code
        case Exception():
            return AgentError.code
    return ABANDONED  # the caller left: cancelled, or closed as a generator
