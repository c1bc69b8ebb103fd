"""The real page in Chromium, on the running app."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from tests.conftest import SharedAzure
from tests.page.chat_page import WAIT_MS, ChatPage
from tests.support import PROJECT
from tests.support.functions_host import HostProcess, host_process

KEY = "the-function-key"
# As long as for anything else that a busy machine does late.
expect.set_options(timeout=WAIT_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        pytest.fail("The tests of the page need Chromium: apt-get install chromium.")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium,
            # Without a graphics card the GPU process only costs time, and so do processes for each
            # frame: what is tested here is that the page lets nothing run.
            args=["--disable-gpu", "--disable-site-isolation-trials"],
        )
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def locked_host(settings: dict[str, str]) -> Iterator[HostProcess]:
    """The app on a host that asks for a function key."""
    with host_process(PROJECT, environment=settings | {"LOCAL_FUNCTION_KEY": KEY}) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture(scope="session")
def guarded(azure: SharedAzure, settings: dict[str, str]) -> Iterator[HostProcess]:
    """The app behind the local App Service Authentication, as `make run SIGN_IN=1` starts it."""
    sign_in = {
        "SIGN_IN_REQUIRED": "true",
        "LOCAL_IDENTITY_PUBLIC_KEY": azure.stack.identity.public_key,
    }
    with host_process(PROJECT, "--sign-in", environment=settings | sign_in) as started:
        started.wait_until_ready()
        yield started


# Opens the page in a browser of its own: nothing stored, nobody signed in. Takes the URL of another
# host than the shared one, and options of Browser.new_context.
type OpenChat = Callable[..., Awaitable[ChatPage]]

_OPTIONS: Mapping[str, Any] = {
    "viewport": {"width": 1100, "height": 800},
    "reduced_motion": "reduce",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """What most tests open their tab in, one after the other: it has the page's script compiled."""
    context = await browser.new_context(**_OPTIONS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(
    browser: Browser, shared_context: BrowserContext, host: HostProcess
) -> AsyncIterator[OpenChat]:
    async with AsyncExitStack() as opened:
        chats: list[ChatPage] = []

        async def open_it(url: str = "", **options: Any) -> ChatPage:
            if options or chats:
                context = await browser.new_context(**{**_OPTIONS, **options})
                opened.push_async_callback(context.close)
            else:
                context = shared_context
            page = await context.new_page()
            chat = ChatPage(page, url or host.url)
            if context is shared_context:
                opened.push_async_callback(_close, chat)
            chats.append(chat)
            return chat

        yield open_it
        for chat in chats:
            assert chat.faults == [], "the page reported errors"


async def _close(chat: ChatPage) -> None:
    """Close a tab of the shared context and forget what the page stored."""
    devtools = await chat.page.context.new_cdp_session(chat.page)
    what = {"origin": chat.url, "storageTypes": "local_storage"}
    await devtools.send("Storage.clearDataForOrigin", what)
    await chat.page.context.clear_cookies()
    await chat.page.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def long_open(browser: Browser, host: HostProcess) -> AsyncIterator[ChatPage]:
    """A tab that stays open from test to test."""
    context = await browser.new_context(**_OPTIONS)
    yield ChatPage(await context.new_page(), host.url)
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def chat(long_open: ChatPage) -> AsyncIterator[ChatPage]:
    """The page, ready for a question in a new conversation; nothing is stored."""
    await long_open.start_anew()
    yield long_open
    assert long_open.faults == [], "the page reported errors"
