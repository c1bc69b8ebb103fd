"""The calls of a turn: of the model, of the tool, and of services over HTTP; each is a span.

Each is used in `with`, where the error that ends the call becomes its `error.type`.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Token
from functools import lru_cache
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind

from agent.errors import AgentError, DeadlineExceededError
from agent.events import Usage
from agent.telemetry import metrics, recording
from agent.telemetry.recording import (
    Attribute,
    Attributes,
    Heading,
    Measurement,
    Spent,
    Work,
    doing,
)
from agent.telemetry.turns import ABANDONED, PROVIDER

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
_NOTHING: Final[Measurement] = ({}, {})
HTTPS_PORT: Final = 443

# Host and port.
type Server = tuple[str, int]


def server_of(url: str) -> Server:
    """Where a URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else HTTPS_PORT)


class _CallSpan(Work):
    """A span, and how long it took.

    Attributes:
        took_s: known at its end.
    """

    _before: Token[Work | None] | None = None

    def __init__(self, heading: Heading) -> None:
        work = doing.get()
        if work is not None:
            self.spent, self.conversation = work.spent, work.conversation
        self.took_s = 0.0
        self._error_type = ""
        self._began_ns = time.monotonic_ns()
        self.span = recording.begin(heading, work, self._began_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            doing.reset(self._before)
        ended_ns = time.monotonic_ns()
        self.took_s = (ended_ns - self._began_ns) / 1e9
        if self.spent is not None:
            self._add_to(self.spent)
        if self.span is None:
            return
        error_type = self._error_type or ("" if error is None else self._type_of(error))
        if error_type:
            self.say("error.type", error_type)
        values, attributes = self._measured()
        if values:
            of_error = {**attributes, "error.type": error_type} if error_type else attributes
            recording.measure(values, of_error)
        self.span.end(ended_ns, failed=bool(error_type) and error_type != ABANDONED)

    def current(self) -> AbstractContextManager[None]:
        """While the block runs, the call is what is done, if it is recorded."""
        return super().current() if self.span else nullcontext()

    def failed(self, error_type: str) -> None:
        """The call failed, although the block will end without an error."""
        self._error_type = error_type

    def _type_of(self, error: BaseException) -> str:
        """Of the error that ends the call."""
        return _error_type(error)

    def _add_to(self, spent: Spent) -> None:
        """Called once at the end: add what the call took."""

    def _measured(self) -> Measurement:
        """Asked for once at the end: what metrics get, but for an error."""
        return _NOTHING


class ModelSpan(_CallSpan):
    """A call of the model: span `chat {model}`.

    Args:
        model: the deployment.
        server: of the account.
        stream: whether the answer comes in pieces.
    """

    def __init__(self, model: str, server: Server, *, stream: bool) -> None:
        super().__init__(_model_heading(model, server))
        self._model = model
        self._waits = stream
        self.say("gen_ai.request.stream", stream)
        if self.conversation:
            self.say("gen_ai.conversation.id", self.conversation)

    def streams(self) -> None:
        """The answer comes as a stream after all."""
        self.say("gen_ai.request.stream", True)

    def received(self) -> None:
        """A piece of the answer is there."""
        if self._waits:
            self._waits = False
            waited_s = (time.monotonic_ns() - self._began_ns) / 1e9
            self.say("gen_ai.response.time_to_first_chunk", waited_s)

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
        if self.span is None:
            return
        tokens: dict[str, float] = {
            metrics.INPUT_TOKENS: usage.prompt_tokens,
            metrics.OUTPUT_TOKENS: usage.completion_tokens,
        }
        if cached_tokens:
            tokens[metrics.CACHED_TOKENS] = cached_tokens
        if reasoning_tokens:
            tokens[metrics.REASONING_TOKENS] = reasoning_tokens
        recording.measure(tokens, _token_facts(self._model))
        said = self.span.said
        if said is None:
            return
        said["gen_ai.response.finish_reasons"] = (finish_reason,)
        said["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        said["gen_ai.usage.output_tokens"] = usage.completion_tokens
        if cached_tokens:
            said["gen_ai.usage.cache_read.input_tokens"] = cached_tokens
        if reasoning_tokens:
            said["gen_ai.usage.reasoning.output_tokens"] = reasoning_tokens
        if response_id:
            said["gen_ai.response.id"] = response_id
        if model:
            said["gen_ai.response.model"] = model

    def _add_to(self, spent: Spent) -> None:
        spent.model_s += self.took_s
        spent.model_calls += 1

    def _measured(self) -> Measurement:
        return {metrics.INFERENCE_DURATION: self.took_s}, _model_facts(self._model)


@lru_cache(maxsize=16)  # a worker has one
def _model_facts(model: str) -> Attributes:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
    }


@lru_cache(maxsize=16)  # a worker has one
def _token_facts(model: str) -> Attributes:
    # The service does not say which of them are of pictures.
    return {**_model_facts(model), "gen_ai.token.modality": "unknown"}


@lru_cache(maxsize=16)  # a worker has one
def _model_heading(model: str, server: Server) -> Heading:
    address, port = server
    attributes = {**_model_facts(model), "server.address": address, "server.port": port}
    return Heading(f"chat {model}", SpanKind.CLIENT, attributes)


class ModelAttempt:
    """One attempt of a model call, from now; it has a span of its own if it fails.

    Of one that succeeds, `chat {model}` says all there is.
    """

    def __init__(self) -> None:
        self._began_ns = time.monotonic_ns()

    def failed(self, server: Server, error_type: str, *, status: int | None = None) -> None:
        """It gave no answer: span `POST chat/completions` below the model call.

        Args:
            server: that was called.
            error_type: as the conventions have it for HTTP: the status, the name of the exception.
            status: of HTTP, if there is one.
        """
        heading = _http_heading("POST", "chat/completions", server)
        span = recording.begin(heading, doing.get(), self._began_ns)
        if span is None:
            return
        if span.said is not None:
            span.said["error.type"] = error_type
            if status is not None:
                span.said["http.response.status_code"] = status
        span.end(time.monotonic_ns(), failed=True)


class ToolSpan(_CallSpan):
    """A call of a tool: span `execute_tool {name}`; it is current in the block.

    Args:
        name: of a tool that there is: the model may make up others, and of a metric they would be
            values without bound.
        call_id: by which the model knows it.
    """

    def __init__(self, name: str, call_id: str) -> None:
        super().__init__(_tool_heading(name))
        self._name = name
        self.say("gen_ai.tool.call.id", call_id)

    def __enter__(self) -> Self:
        if self.span is not None:
            self._before = doing.set(self)
        return self

    def _add_to(self, spent: Spent) -> None:
        spent.tool_calls += 1

    def _measured(self) -> Measurement:
        return {metrics.TOOL_DURATION: self.took_s}, _tool_heading(self._name).attributes


class OwnToolSpan(ToolSpan):
    """A call of a tool of the app's owner; what the tool records by itself hangs on it."""

    _attached: Token[Context] | None = None

    def __enter__(self) -> Self:
        if self.span is not None:
            current = trace.set_span_in_context(NonRecordingSpan(self.span.context()))
            self._attached = context.attach(current)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._attached is not None:
            context.detach(self._attached)
        super().__exit__(kind, error, traceback)


@lru_cache(maxsize=64)  # a worker has as many as it has tools
def _tool_heading(name: str) -> Heading:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
    }
    return Heading(f"execute_tool {name}", SpanKind.INTERNAL, attributes)


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
        timing = headers.get(header)
        if timing is None:
            continue
        try:
            milliseconds = float(timing)
        except ValueError:
            continue
        if math.isfinite(milliseconds):
            attributes[name] = milliseconds
    return attributes


class HttpSpan(_CallSpan):
    """One attempt of a call over HTTP: span `{method} {template}`.

    Args:
        service: whose time it is.
        method: of HTTP.
        template: the path without what it names: no file, no identifier.
        server: that is called.
        limit: ends the call, which has failed then: nobody has left.
        attempt: which one it is, from 1.
        purpose: tells apart calls that look the same.
    """

    def __init__(
        self,
        service: Literal["pool", "store"],
        method: str,
        template: str,
        server: Server,
        *,
        limit: asyncio.Timeout | None = None,
        attempt: int = 1,
        purpose: str = "",
    ) -> None:
        super().__init__(_http_heading(method, template, server))
        self._limit = limit
        self._service = service
        if attempt > 1:
            self.say("http.request.resend_count", attempt - 1)
        if purpose:
            self.say("code_interpreter.purpose", purpose)

    def _type_of(self, error: BaseException) -> str:
        is_late = self._limit is not None and self._limit.expired()
        if is_late and isinstance(error, asyncio.CancelledError):
            return DeadlineExceededError.code
        return super()._type_of(error)

    def headers(self) -> dict[str, str]:
        """By which the service continues this trace; none where nothing is recorded."""
        return self.span.headers() if self.span else {}

    def answered(self, status: int) -> None:
        """The answer has this HTTP status."""
        self.say("http.response.status_code", status)

    def _add_to(self, spent: Spent) -> None:
        if self._service == "pool":
            spent.pool_s += self.took_s


_TOKEN: Final = Heading("get token", SpanKind.INTERNAL, {})


class _TokenSpan(_CallSpan):
    def __init__(self, scope: str) -> None:
        super().__init__(_TOKEN)
        self.say("code_interpreter.token.scope", scope)


def token_span(scope: str) -> AbstractContextManager[object]:
    """While the block runs, a turn waits for a token of its identity: span `get token`."""
    work = doing.get()
    if work is None or work.spent is None:
        return nullcontext()
    return _TokenSpan(scope)


@lru_cache(maxsize=64)  # a worker has some 20 of three services
def _http_heading(method: str, template: str, server: Server) -> Heading:
    address, port = server
    at = address if port == HTTPS_PORT else f"{address}:{port}"
    attributes: Attributes = {
        "http.request.method": method,
        "url.template": template,
        # Without what the template leaves out.
        "url.full": f"https://{at}/{template.lstrip('/')}",
        "server.address": address,
        "server.port": port,
    }
    return Heading(f"{method} {template}", SpanKind.CLIENT, attributes)


def count_retry(service: Literal["model", "pool", "store"]) -> None:
    """A call of the service is tried again."""
    recording.measure({metrics.RETRIES: 1}, {"code_interpreter.service": service})


def count_upload(size_bytes: int) -> None:
    """A caller uploaded a file."""
    recording.measure({metrics.FILE_BYTES: size_bytes}, {"code_interpreter.file.origin": "upload"})
    recording.tell_answered()


@contextmanager
def store_time() -> Iterator[None]:
    """The time of the block is the store's; a store may be a folder, which no HTTP call shows."""
    work, began_s = doing.get(), time.monotonic()
    try:
        yield
    finally:
        if work and work.spent:
            work.spent.store_s += time.monotonic() - began_s


def _error_type(error: BaseException) -> str:
    match error:
        case AgentError():
            return error.code
        case Exception():
            return AgentError.code
    return ABANDONED  # the caller left: cancelled, or closed as a generator
