"""The model as one of Semantic Kernel's chat completion services, out of openai's client.

There is one per worker. What the two libraries do for each call is done once here where it is the
same for all: a turn costs half the CPU time.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import httpx2
from pydantic import Field, SkipValidation
from pydantic_core import to_json

from agent.frozen import frozen
from agent.model.refusals import retry_after_s
from agent.model.sdk import (
    AsyncOpenAI,
    AuthorRole,
    ChatCompletionClientBase,
    ChatHistory,
    ChatMessageContent,
    FinalRequestOptions,
    PromptExecutionSettings,
    StreamingChatMessageContent,
)
from agent.model.wire import Answer, EventLines, answer_cut, not_a_completion
from agent.telemetry.calls import ModelAttempt, ModelSpan, Server, count_retry, server_of
from agent.telemetry.recording import outgoing_headers
from agent.tokens import TokenProvider

V1: Final = "v1"
# A longer Retry-After is the caller's to wait for.
RETRY_WAIT_MAX_S: Final = 5
LONG_BYTES: Final = 1024**2
DRAIN_TIMEOUT_S: Final = 0.1


@dataclass(slots=True)
class Wanted:
    """What one call of the model is for.

    Attributes:
        answer: is filled.
        stream: whether by a stream.
        tools: that the model may call, as they are sent.
        span: of the call, if it has one.
    """

    answer: Answer = field(default_factory=Answer)
    stream: bool = False
    tools: Sequence[dict[str, Any]] = ()
    span: ModelSpan | None = None

    def current(self) -> AbstractContextManager[None]:
        """While the block runs, what is done is done for the call."""
        return self.span.current() if self.span else nullcontext()


class ModelSettings(PromptExecutionSettings):
    """The settings of one call of the model, and where its answer goes.

    What is asked for besides messages and tools is in `extension_data`, as it is on the wire.
    """

    # A `Wanted`, whose fields are set: pydantic validates a model anew when one of its own is, and
    # comes to a private attribute by way of an error.
    wanted: Any = Field(default_factory=Wanted, exclude=True)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Semantic Kernel copies settings before it changes them. These are made for one call and
        # belong to nobody else: a deep copy would be as much work as the kernel of the request.
        return self

    def want(self, answer: Answer, *, stream: bool, tools: Sequence[dict[str, Any]]) -> None:
        """Let the call fill this answer, by a stream or whole, and the model call these tools."""
        wanted: Wanted = self.wanted
        wanted.answer, wanted.stream, wanted.tools = answer, stream, tools

    def body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The request as it is sent, but for the model's name."""
        wanted: Wanted = self.wanted
        body = {"messages": messages, "stream": wanted.stream, **self.extension_data}
        if wanted.stream:
            body["stream_options"] = {"include_usage": True}
        if wanted.tools:
            body |= {"tools": wanted.tools, "tool_choice": "auto"}
        return body


async def read_answer(response: httpx2.Response, answer: Answer) -> AsyncIterator[None]:
    """Fill `answer` with what comes; yields after each part of it.

    It is read by what it is, not by what was asked for: a stream, or one JSON object.

    Raises:
        ModelAnswerCutError: it ends or breaks before it is whole.
        ModelAnswerInvalidError: it is something else.
        AgentError: it is an error of the service.
    """
    pieces = _pieces(response)
    if "json" in response.headers.get("content-type", ""):
        with _broken_is_cut():
            answer.add_data(b"".join([piece async for piece in pieces]))
        answer.end()
        yield
        return
    lines, events, start = EventLines(), 0, b""
    with _broken_is_cut():
        async for piece in pieces:
            if not events:
                start += piece
            for data in lines.feed(piece):
                events += 1
                answer.add_data(data)
                yield
            if answer.is_done:
                break
    await _drain(pieces)
    for data in lines.end():
        events += 1
        answer.add_data(data)
    if not events and start.strip():
        # No events: one object after all, or a page.
        answer.add_data(start)
    answer.end()
    yield


def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body as it comes; httpx2 would count and time even that which it need not decode."""
    stream = response.stream
    if isinstance(stream, httpx2.AsyncByteStream) and "content-encoding" not in response.headers:
        return aiter(stream)
    return response.aiter_bytes()


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read the end of the body behind `[DONE]`, without which the connection is not used again."""
    with suppress(TimeoutError, httpx2.TransportError):
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            async for _ in pieces:
                pass


@contextmanager
def _broken_is_cut() -> Iterator[None]:
    try:
        yield
    except httpx2.DecodingError as error:
        raise not_a_completion() from error
    except httpx2.TransportError as error:
        raise answer_cut() from error


@frozen
class Deployment:
    """A model at Azure OpenAI.

    Attributes:
        endpoint: of the account.
        name: of the deployment.
        api_version: of Azure OpenAI's REST API; `v1` is the path that has no version, on which the
            deployment is named in the body.
    """

    endpoint: str
    name: str
    api_version: str

    @property
    def url(self) -> str:
        """The base URL of the deployment's operations."""
        if self.api_version == V1:
            return f"{self.endpoint}/openai/v1"
        return f"{self.endpoint}/openai/deployments/{quote(self.name, safe='')}"

    @property
    def chat_url(self) -> str:
        """The URL of chat completions."""
        url = f"{self.url}/chat/completions"
        if self.api_version == V1:
            return url
        return f"{url}?{urlencode({'api-version': self.api_version})}"


class _Client(AsyncOpenAI):
    """The client, which sends one kind of request, and waits only as long as a caller would."""

    _kept: tuple[httpx2.URL, list[tuple[bytes, bytes]], dict[str, Any]] | None = None

    def __init__(
        self, deployment: Deployment, tokens: TokenProvider, transport: httpx2.AsyncBaseTransport
    ) -> None:
        http = httpx2.AsyncClient(transport=transport)
        super().__init__(base_url=deployment.url, api_key=tokens.__call__, http_client=http)
        self._server = server_of(deployment.url)
        self._tokens = tokens
        self._transport = transport
        # Made once: the client's `post` goes through all of it for each call. Azure OpenAI takes no
        # idempotency key; without one here, the client would draw one each time.
        self._completion = FinalRequestOptions.construct(
            method="post", url=deployment.chat_url, idempotency_key=""
        )

    async def complete(self, body: bytes) -> httpx2.Response:
        """The answer to a request in the wire format, to be read and closed by the caller.

        The client's own resource would walk all of the body along its type hints once more, which
        is a fifth of a turn's CPU and grows with the history.
        """
        changes = {"json_data": body, "headers": outgoing_headers()}
        options = self._completion.model_copy(update=changes)
        return await self.request(httpx2.Response, options, stream=True)

    async def _prepare_options(self, options: FinalRequestOptions) -> FinalRequestOptions:
        """The options of one attempt, with a token of its own.

        The client puts all its headers together to find out that there is no other one.
        """
        given = options.headers if isinstance(options.headers, dict) else {}
        options.headers = {**given, "Authorization": f"Bearer {await self._tokens()}"}
        return options

    def _build_request(
        self, options: FinalRequestOptions, *, retries_taken: int = 0
    ) -> httpx2.Request:
        """A request whose address, timeout and headers are those of the first one.

        The client puts them together anew for each: a fifth of a turn's CPU time.
        """
        # The request's own are its token and its trace.
        own = options.headers if isinstance(options.headers, dict) else {}
        if self._kept is None:
            first = super()._build_request(options, retries_taken=retries_taken)
            for name in ("content-length", *own):
                first.headers.pop(name, None)
            self._kept = (first.url, first.headers.raw, first.extensions)
        url, kept, extensions = self._kept
        headers = kept + [(n.encode(), t.encode()) for n, t in own.items() if isinstance(t, str)]
        body = httpx2.ByteStream(options.json_data)  # type: ignore[arg-type]  # openai's Body is any object: `complete` has put bytes there
        request = httpx2.Request("POST", url, headers=headers, stream=body, extensions=extensions)
        request.read()
        return request

    async def _send_request(
        self, request: httpx2.Request, *, stream: bool, **_: object
    ) -> httpx2.Response:
        """The answer, whose body is not read yet; asked for once more where a token was refused.

        Sent as it is: redirects and cookies are not followed, and the rest of what httpx2 does for
        a request is of no use to this one. Whoever answers with another address would get the
        conversation sent there.
        """
        response = await self._attempt(request)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            refused = request.headers["Authorization"].removeprefix("Bearer ")
            if await self._tokens.renew(refused):
                await response.aclose()
                request.headers["Authorization"] = f"Bearer {await self._tokens()}"
                response = await self._attempt(request)
        response.request = request
        return response

    async def _process_response(self, *, response: httpx2.Response, **_: object) -> Any:
        # Nothing is left to be parsed: the client would look for what it parses into.
        return response

    async def _attempt(self, request: httpx2.Request) -> httpx2.Response:
        attempt = ModelAttempt()
        try:
            response = await self._transport.handle_async_request(request)
        except httpx2.TransportError as error:
            attempt.failed(self._server, type(error).__name__)
            raise
        if response.is_error:
            status = response.status_code
            attempt.failed(self._server, str(status), status=status)
        return response

    @property
    def custom_auth(self) -> None:
        """None: the token is on the request. The client looks for other kinds for each."""

    async def _prepare_request(self, request: httpx2.Request) -> None:
        """Nothing is left to be done, and there is no other provider who would do it."""

    def platform_headers(self) -> dict[str, str]:
        """Nothing about this machine: six headers cost as much CPU time as the body."""
        return {}

    def _should_retry(self, response: httpx2.Response) -> bool:
        # The client itself would sit out two minutes, twice.
        if (retry_after_s(response.headers) or 0) > RETRY_WAIT_MAX_S:
            return False
        return super()._should_retry(response)

    async def _sleep_for_retry(self, **why: Any) -> None:
        count_retry("model")
        await super()._sleep_for_retry(**why)


class SentHistory(ChatHistory):
    """A chat history of messages as they are sent.

    Semantic Kernel's own contents take eight times as long to make, and each is put into this form
    again for every call of the model; `messages` has none.

    Attributes:
        sent: the messages.
    """

    sent: SkipValidation[list[dict[str, Any]]] = Field(default_factory=list)


class ChatService(ChatCompletionClientBase):
    """The model as one of Semantic Kernel's chat completion services.

    The one that Semantic Kernel brings validates settings, answer and each piece of a stream by
    pydantic, several times each: a twentieth of a turn's CPU time, and what no turn reads.

    Attributes:
        client: sends each request as it is, and again where that may help.
        is_slow: whether an answer took so long that the next one may meet the deadline.
        writing: held while a request is put together, which holds the loop if it is long.
    """

    client: _Client
    is_slow: bool = False
    writing: asyncio.Lock = Field(default_factory=asyncio.Lock, exclude=True)

    @cached_property
    def server(self) -> Server:
        """Where the model is."""
        return server_of(self.service_url())

    def found_slow(self) -> None:
        """An answer took long."""
        self.is_slow = True

    def get_prompt_execution_settings_class(self) -> type[ModelSettings]:
        """See AIServiceClientBase."""
        return ModelSettings

    def service_url(self) -> str:
        """See AIServiceClientBase."""
        return str(self.client.base_url)

    async def _inner_get_chat_message_contents(
        self, chat_history: ChatHistory, settings: PromptExecutionSettings
    ) -> list[ChatMessageContent]:
        """The message, when all of it is there; errors are the client's and ours."""
        settings = _ours(settings)
        answer = settings.wanted.answer
        async with aclosing(await self._ask(chat_history, settings)) as response:
            async for _ in read_answer(response, answer):
                pass
        return [ChatMessageContent(role=AuthorRole.ASSISTANT, content=answer.text)]

    async def _inner_get_streaming_chat_message_contents(
        self,
        chat_history: ChatHistory,
        settings: PromptExecutionSettings,
        function_invoke_attempt: int = 0,
    ) -> AsyncGenerator[list[StreamingChatMessageContent]]:
        """Its text, in the pieces in which it comes; dropping these closes the connection."""
        settings = _ours(settings)
        answer = settings.wanted.answer
        async with aclosing(await self._ask(chat_history, settings)) as response:
            async for _ in read_answer(response, answer):
                if text := answer.take():
                    yield [
                        StreamingChatMessageContent(
                            role=AuthorRole.ASSISTANT, choice_index=0, content=text
                        )
                    ]

    async def _ask(self, chat_history: ChatHistory, settings: ModelSettings) -> httpx2.Response:
        async with self.writing:
            messages = self._prepare_chat_history_for_request(chat_history)
            body = await _written(settings.body(messages) | {"model": self.ai_model_id})
        with settings.wanted.current():
            return await self.client.complete(body)

    def _prepare_chat_history_for_request(
        self, chat_history: ChatHistory, role_key: str = "role", content_key: str = "content"
    ) -> list[dict[str, Any]]:
        if not isinstance(chat_history, SentHistory):
            raise TypeError(f"chat_history must be a {SentHistory.__name__}")
        return chat_history.sent


async def _written(request: dict[str, Any]) -> bytes:
    """The request as it is sent; the client would have it three times, in pieces, text and bytes.

    Of a long one only some messages in each turn of the event loop: 16 MB took 70 ms.
    """
    messages: Sequence[dict[str, Any]] = request["messages"]
    if sum(map(_chars, messages)) <= LONG_BYTES:
        return to_json(request)
    # The history has just been made.
    await asyncio.sleep(0)
    pieces, written_bytes = [b'{"messages":'], 0
    for message in messages:
        pieces += (b"," if written_bytes else b"[", to_json(message))
        before, written_bytes = written_bytes, written_bytes + len(pieces[-1])
        if before // LONG_BYTES < written_bytes // LONG_BYTES:
            await asyncio.sleep(0)
    rest = to_json({name: value for name, value in request.items() if name != "messages"})
    pieces += (b"],", rest[1:])
    body = b"".join(pieces)
    del pieces
    await asyncio.sleep(0)
    return body


def _chars(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, str) else 0


def _ours(settings: PromptExecutionSettings) -> ModelSettings:
    if not isinstance(settings, ModelSettings):
        raise TypeError(f"settings must be {ModelSettings.__name__}")
    return settings


def chat_service(
    deployment: Deployment, tokens: TokenProvider, transport: httpx2.AsyncBaseTransport
) -> ChatService:
    """The model as Semantic Kernel's chat completion service; one per worker.

    Semantic Kernel's own Azure connector would read .env and refuse an http:// endpoint on
    loopback. The client is not openai's for Azure, which puts the same address together out of five
    parts for each call: a tenth of its CPU time.

    Args:
        deployment: the model.
        tokens: gives a token for each request.
        transport: sends requests.
    """
    return ChatService(ai_model_id=deployment.name, client=_Client(deployment, tokens, transport))
