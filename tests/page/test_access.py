"""Who may ask: the function key and where it goes."""

import pytest
from playwright.async_api import expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage, picture_width
from tests.page.conftest import KEY, OpenChat
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"


async def give_key(chat: ChatPage, key: str, *, keep: bool = False) -> None:
    dialog = chat.page.get_by_role("dialog", name="Function key")
    await dialog.get_by_label("Key", exact=True).fill(key)
    if keep:
        await dialog.get_by_label("Keep for this tab").check()
    await dialog.get_by_role("button", name="Use this key").click()


async def stored(chat: ChatPage) -> str:
    """All that the browser keeps for this origin, and where the tab is."""
    text: str = await chat.page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    return text


async def test_the_key_is_asked_for_and_goes_into_a_header_alone(
    open_chat: OpenChat, azure: SharedAzure, locked_host: HostProcess
) -> None:
    chat = await open_chat(locked_host.url)
    await chat.load()
    await give_key(chat, KEY)
    with azure.model.script(CallTool(code=PLOT), Say("Plotted.")):
        await chat.ask("Plot.")
    figure = chat.runs.get_by_role("img")
    assert await picture_width(figure) > 100
    await chat.drop(("data.csv", "a,b\n1,2\n"))
    await expect(chat.page.locator(".attachment progress")).to_have_count(0)
    await expect((await chat.files()).filter(has_text="data.csv")).to_have_count(1)
    async with chat.page.expect_download():
        await chat.page.get_by_role("button", name="Download data.csv").last.click()
    asked = [r for r in chat.requests if "/api/" in r.url and "/api/ui" not in r.url]
    assert len(asked) > 5
    assert not any(KEY in request.url for request in chat.requests)
    assert {r.headers.get("x-functions-key") for r in asked[1:]} == {KEY}
    assert KEY not in await stored(chat)
    await chat.page.reload()
    await expect(chat.page.get_by_role("dialog", name="Function key")).to_be_visible()


async def test_the_key_is_kept_for_the_tab_only_if_that_is_ticked(
    open_chat: OpenChat, azure: SharedAzure, locked_host: HostProcess
) -> None:
    chat = await open_chat(locked_host.url)
    await chat.load()
    await give_key(chat, KEY, keep=True)
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    await chat.load()
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    assert await chat.page.evaluate("Object.keys(sessionStorage)") == ["functions-key"]
    assert KEY not in await chat.page.evaluate("JSON.stringify({...localStorage})")
    assert KEY not in chat.page.url


async def test_a_wrong_key_is_asked_for_again(
    open_chat: OpenChat, azure: SharedAzure, locked_host: HostProcess
) -> None:
    chat = await open_chat(locked_host.url)
    await chat.load()
    await give_key(chat, "wrong")
    dialog = chat.page.get_by_role("dialog", name="Function key")
    await expect(dialog).to_contain_text("The app does not know this key.")
    await give_key(chat, KEY)
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    await expect(chat.last).to_contain_text("Hi.")


async def test_without_a_key_the_page_says_so_and_can_ask_again(
    open_chat: OpenChat, locked_host: HostProcess
) -> None:
    chat = await open_chat(locked_host.url)
    await chat.load()
    await chat.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(chat.page.get_by_role("alert")).to_contain_text("does not know this key")
    await expect(chat.page.get_by_role("button", name="Try again")).to_be_visible()
