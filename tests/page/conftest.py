"""The real page in Chromium, on the running app."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.page.chat_page import ChatPage
from tests.support import PROJECT
from tests.support.functions_host import HostProcess, host_process

KEY = "the-function-key"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("The tests of the page need Chromium: apt-get install chromium.")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium)
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def locked_host(settings: dict[str, str]) -> Iterator[HostProcess]:
    """The app on a host that asks for a function key."""
    with host_process(PROJECT, environment=settings | {"LOCAL_FUNCTION_KEY": KEY}) as started:
        started.wait_until_ready()
        yield started


# Opens the page in a browser of its own: nothing stored, nobody signed in. Takes the URL of another
# host than the shared one, and options of Browser.new_context.
type OpenChat = Callable[..., Awaitable[ChatPage]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(browser: Browser, host: HostProcess) -> AsyncIterator[OpenChat]:
    opened: list[ChatPage] = []

    async def open_it(url: str = "", **context: Any) -> ChatPage:
        options = {"viewport": {"width": 1100, "height": 800}, "reduced_motion": "reduce"} | context
        page = await (await browser.new_context(**options)).new_page()
        chat = ChatPage(page, url or host.url)
        opened.append(chat)
        return chat

    yield open_it
    for chat in opened:
        await chat.page.context.close()
        assert chat.faults == [], "the page reported errors"


@pytest_asyncio.fixture(loop_scope="session")
async def chat(open_chat: OpenChat) -> ChatPage:
    """The page, ready for a question."""
    opened = await open_chat()
    await opened.load()
    return opened
