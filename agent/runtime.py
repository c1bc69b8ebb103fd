"""Opens every client once per worker, and closes them; the only reader of Settings.

Azure Functions has no shutdown hook: a worker that ends leaves its connections to the operating
system, and `close_runtime` is for tests and benchmarks.
"""

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from urllib.request import getproxies

import aiohttp
import httpx2

from agent.conversations.store import Limits, open_store
from agent.conversations.turn import ConversationServices
from agent.credentials import MODEL_SCOPE, POOL_SCOPE, open_credential, token_provider
from agent.errors import SettingsError
from agent.model.sdk import DefaultAioHttpClient
from agent.model.service import Deployment, chat_service
from agent.session_pool.client import SessionsClient
from agent.settings import Settings
from agent.telemetry import configure_logging, logger
from agent.turns.code_interpreter import OutputLimits
from agent.turns.turn import TurnOptions, TurnServices


class Runtime:
    """The clients of one worker, an `async with` object.

    Attributes:
        turns: what each turn needs.
        keeps_conversations: whether there is a store for them.
        sign_in: whether App Service Authentication says who callers are.
        input_max_chars: the longest question that is taken.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._opening_store = asyncio.Lock()
        self._conversations: ConversationServices | None = None
        self.input_max_chars = settings.input_max_chars
        self.keeps_conversations = settings.conversations_url is not None
        self.sign_in = settings.website_auth_enabled

    async def __aenter__(self) -> Self:
        settings = self._settings
        configure_logging(content=settings.log_content)
        self._credential = open_credential(settings.azure_client_id)
        await self._stack.enter_async_context(self._credential)
        # One TLS context for all connections: each takes 20 ms of CPU to make.
        tls = httpx2.create_ssl_context()
        model_http = await self._stack.enter_async_context(DefaultAioHttpClient(verify=tls))
        pool_http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # It looks for a proxy in the environment anew for every request: half its time.
                trust_env=bool(getproxies()),
            )
        )
        deployment = Deployment(
            settings.azure_openai_endpoint,
            settings.azure_openai_chat_deployment_name,
            settings.azure_openai_api_version,
        )
        sessions = settings.pool_management_endpoint and SessionsClient(
            settings.pool_management_endpoint,
            pool_http,
            token_provider(self._credential, POOL_SCOPE),
        )
        self.turns = TurnServices(
            model=chat_service(
                deployment, token_provider(self._credential, MODEL_SCOPE), model_http
            ),
            sessions=sessions or None,
            options=TurnOptions(
                timeout_s=settings.turn_timeout_seconds,
                tool_rounds=settings.tool_rounds,
                output=OutputLimits(
                    execution_max_chars=settings.execution_output_max_chars,
                    model_max_chars=settings.model_output_max_chars,
                ),
            ),
            in_background=self._start,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stack.aclose()

    async def conversations(self) -> ConversationServices:
        """What turns of a conversation need; the first call opens the store.

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
        store = await self._stack.enter_async_context(open_store(url, self._credential, limits))
        return ConversationServices(store, self.turns, self._settings.conversation_max_chars)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        # The event loop keeps only weak references to its tasks.
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_opened: Runtime | None = None
_opening = asyncio.Lock()


async def get_runtime() -> Runtime:
    """The runtime of this worker, opened by the first call.

    Raises:
        SettingsError: on every call until the app settings are right.
    """
    global _opened  # noqa: PLW0603 - one per worker is what this module is for
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
