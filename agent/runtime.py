"""Opens every client once per worker, and closes them; the only reader of Settings.

Azure Functions has no shutdown hook: a worker that ends leaves its connections to the operating
system, and `close_runtime` is for tests and benchmarks.
"""

import asyncio
import gc
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from enum import Enum
from functools import cache
from importlib import import_module
from types import TracebackType
from typing import Final, Self
from urllib.request import getproxies

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential

from agent.conversations.store import Limits, open_store
from agent.conversations.turn import ConversationServices
from agent.credentials import (
    MODEL_SCOPE,
    POOL_SCOPE,
    STORE_SCOPE,
    Tokens,
    open_credential,
)
from agent.errors import SettingsError
from agent.frozen import frozen
from agent.host_log import print_what_the_host_drops
from agent.memory import Memory
from agent.model.parameters import ModelParameters
from agent.model.service import Deployment, chat_service
from agent.model.transport import AiohttpTransport
from agent.pictures import PICTURE_MAX_BYTES
from agent.session_pool.client import SessionsClient
from agent.settings import Settings, load_settings
from agent.telemetry import configure_logging, logger
from agent.toolkit.authoring import ToolSettings
from agent.toolkit.loading import open_tools
from agent.turns.code_interpreter import FIGURES_MAX, OutputLimits
from agent.turns.probe import ModelProbe
from agent.turns.turn import TAKEN_NAMES, TurnOptions, TurnServices

_EXPORTING: Final = "agent.telemetry.exporting"
# Imported where it is needed, like the exporters.
_DOWNLOAD: Final = "agent.open_data.download"
# Before the turn's own time begins, and both together end before Azure's load balancer does.
PICTURE_TIMEOUT_S: Final = 10
TOOLS: Final = "agent.tools"


class RuntimeState(Enum):
    """The state of a runtime's clients."""

    UNOPENED = "unopened"
    OPENED = "opened"
    CLOSED = "closed"


@frozen
class _Clients:
    http: aiohttp.ClientSession
    store_tokens: Tokens
    turns: TurnServices
    model_probe: ModelProbe


class _Provider:
    """Gives the own tools what their constructors ask for, by its type."""

    def __init__(
        self,
        credential: AsyncTokenCredential,
        tls: ssl.SSLContext,
        http_client: Callable[[], aiohttp.ClientSession],
    ) -> None:
        self._credential = credential
        self._tls = tls
        # One for all of them, where one asks for it.
        self._http = cache(http_client)

    def __call__(self, kind: object) -> object:
        if isinstance(kind, type) and issubclass(kind, ToolSettings):
            return load_settings(kind)
        if kind is aiohttp.ClientSession:
            return self._http()
        if kind is ssl.SSLContext:
            return self._tls
        if kind is AsyncTokenCredential:
            return self._credential
        raise LookupError(kind)


class Runtime:
    """The clients of one worker, an `async with` object.

    Attributes:
        state: clients can be used in the `async with` block alone.
        keeps_conversations: whether there is a store for them.
        sign_in: whether App Service Authentication says who callers are.
        input_max_chars: the longest question that is taken.
        memory: what requests may take together.
        fetch_picture: gets a file at an https address of a host that OPEN_DATA_HOSTS names; raises
            FetchError. None where none is named.
    """

    def __init__(self, settings: Settings, *, tools: str = TOOLS) -> None:
        """Prepare; nothing is opened.

        Args:
            settings: of the app.
            tools: the package whose modules are the agent's own tools.
        """
        self._settings = settings
        self._tools = tools
        self._stack = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._opening_store = asyncio.Lock()
        self._clients: _Clients | None = None
        self._conversations: ConversationServices | None = None
        self.state = RuntimeState.UNOPENED
        self.input_max_chars = settings.input_max_chars
        self.memory = Memory()
        self.keeps_conversations = settings.conversations_url is not None
        self.sign_in = settings.website_auth_enabled
        self.fetch_picture: Callable[[str], Awaitable[bytes]] | None = None

    def __repr__(self) -> str:
        return f"<Runtime {self.state.value}>"

    async def __aenter__(self) -> Self:
        if self.state is not RuntimeState.UNOPENED:
            raise RuntimeError(f"{self!r} cannot be opened again")
        configure_logging(content=self._settings.log_content)
        print_what_the_host_drops(logger)
        async with AsyncExitStack() as opening:
            await self._start_telemetry(opening)
            self._clients = await self._open(opening)
            self._stack = opening.pop_all()
        self.state = RuntimeState.OPENED
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.state = RuntimeState.CLOSED
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()

    @property
    def turns(self) -> TurnServices:
        """The clients and settings of a turn.

        Raises:
            RuntimeError: outside the `async with` block.
        """
        return self._opened().turns

    @property
    def model_probe(self) -> ModelProbe:
        """Tells whether the model would answer.

        Raises:
            RuntimeError: outside the `async with` block.
        """
        return self._opened().model_probe

    def _opened(self) -> _Clients:
        if self._clients is None or self.state is not RuntimeState.OPENED:
            raise RuntimeError(f"{self!r} has no clients: use it in `async with`")
        return self._clients

    async def _start_telemetry(self, opening: AsyncExitStack) -> None:
        settings = self._settings
        connection_string = settings.applicationinsights_connection_string
        endpoint = settings.otel_exporter_otlp_endpoint
        if not connection_string and not endpoint:
            return
        try:
            # Nobody else pays for the SDK.
            module = await asyncio.to_thread(import_module, _EXPORTING)
            destinations = module.Destinations(
                connection_string=connection_string or "",
                client_id=settings.azure_client_id,
                otlp_endpoint=endpoint or "",
            )
            exporting = module.Exporting(
                destinations,
                service=settings.website_site_name or module.SERVICE,
                content=settings.records_content,
            )
        except ValueError as error:
            # The SDK's own variables are not among our settings, and no turn needs them.
            logger.warning("telemetry: an OTEL_* variable is wrong: %s", type(error).__name__)
            return
        opening.push_async_callback(asyncio.to_thread, exporting.stop)

    async def _open(self, opening: AsyncExitStack) -> _Clients:
        settings = self._settings
        # One for all connections: each takes 20 ms of CPU to make.
        tls = trusting_tls()

        def http_client() -> aiohttp.ClientSession:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # It looks for a proxy in the environment anew for every request: half its time.
                trust_env=bool(getproxies()),
            )
            opening.push_async_exit(session)
            return session

        http = http_client()
        credential = open_credential(settings.azure_client_id, http)
        await opening.enter_async_context(credential)

        def tokens_for(scope: str) -> Tokens:
            tokens = Tokens(
                credential, scope, lambda: open_credential(settings.azure_client_id, http)
            )
            opening.push_async_callback(tokens.aclose)
            return tokens

        model_tokens, pool_tokens = tokens_for(MODEL_SCOPE), tokens_for(POOL_SCOPE)
        if settings.open_data_hosts:
            try:
                self.fetch_picture = import_module(_DOWNLOAD).fetcher(
                    settings.open_data_hosts,
                    tls,
                    max_bytes=PICTURE_MAX_BYTES,
                    timeout_s=PICTURE_TIMEOUT_S,
                )
            except ValueError as error:
                raise SettingsError(f"Invalid app settings: OPEN_DATA_HOSTS: {error}.") from None
        deployment = Deployment(
            settings.azure_openai_endpoint,
            settings.azure_openai_chat_deployment_name,
            settings.azure_openai_api_version,
        )
        sessions = settings.pool_management_endpoint and SessionsClient(
            settings.pool_management_endpoint,
            http,
            pool_tokens,
            jupyter_format=settings.pool_jupyter_format,
        )
        turns = TurnServices(
            model=chat_service(deployment, model_tokens, AiohttpTransport(http)),
            sessions=sessions or None,
            options=TurnOptions(
                timeout_s=settings.turn_timeout_seconds,
                tool_rounds=settings.tool_rounds,
                output=OutputLimits(
                    execution_max_chars=settings.execution_output_max_chars,
                    model_max_chars=settings.model_output_max_chars,
                    figures_max=FIGURES_MAX if settings.azure_openai_vision == "figures" else 0,
                ),
                sees=settings.azure_openai_vision != "none",
                instructions=settings.agent_instructions or "",
                warm_up=settings.session_warm_up,
                parameters=ModelParameters(
                    reasoning_effort=settings.azure_openai_reasoning_effort,
                    temperature=settings.azure_openai_temperature,
                    max_completion_tokens=settings.azure_openai_max_completion_tokens,
                ),
            ),
            in_background=self._start,
            tools=await open_tools(
                self._tools, _Provider(credential, tls, http_client), TAKEN_NAMES, opening
            ),
        )
        return _Clients(http, tokens_for(STORE_SCOPE), turns, ModelProbe(turns))

    async def conversations(self) -> ConversationServices:
        """The services of a conversation's turns; the first call opens the store.

        Raises:
            SettingsError: there is none.
        """
        if self._conversations is None:
            async with self._opening_store:
                if self._conversations is None:
                    self._conversations = await self._open_conversations()
        return self._conversations

    async def _open_conversations(self) -> ConversationServices:
        url = self._settings.conversations_url
        if url is None:
            raise SettingsError("CONVERSATIONS_URL is not set: the app keeps no conversations.")
        # A character is at most 4 bytes of UTF-8.
        limits = Limits(hold_max_bytes=max(1024**2, 4 * self._settings.conversation_max_chars))
        clients = self._opened()
        store = await open_store(url, clients.http, clients.store_tokens, limits)
        return ConversationServices(store, clients.turns, self._settings.conversation_max_chars)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        # The event loop keeps only weak references to its tasks.
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def trusting_tls() -> ssl.SSLContext:
    """A TLS context that trusts the authorities of this machine, or those of SSL_CERT_FILE.

    It is Python's own: httpx2's comes with httpcore2, over which nothing is sent.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        # A small container has none, nor has Python from python.org on macOS.
        context.load_verify_locations(import_module("certifi").where())
    return context


_opened: Runtime | None = None
_opening = asyncio.Lock()


async def get_runtime() -> Runtime:
    """The runtime of this worker, opened by the first call.

    Raises:
        SettingsError: on every call until the app settings are right.
    """
    global _opened  # noqa: PLW0603 - a worker has one runtime, which the first request opens for all later ones
    if _opened is None:
        async with _opening:
            if _opened is None:
                _opened = await Runtime(Settings.load()).__aenter__()
                # What is loaded stays: a collection would otherwise walk it (80 ms) in a request.
                gc.freeze()
                logger.info("ready, session pool: %s", _opened.turns.sessions or "none")
    return _opened


async def close_runtime() -> None:
    """Close what `get_runtime` opened, after what still runs in the background."""
    global _opened
    runtime, _opened = _opened, None
    if runtime is not None:
        await runtime.__aexit__(None, None, None)
