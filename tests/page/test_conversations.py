"""Conversations on the page: go on, go back, rename, delete; and what a reload finds."""

import asyncio
import json
import re
from collections.abc import Sequence

import pytest
from playwright.async_api import Route, expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage
from tests.page.conftest import OpenChat

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def listed(chat: ChatPage) -> Sequence[str]:
    return await chat.page.locator("a.conversation").all_inner_texts()


async def test_a_conversation_goes_on_and_another_one_begins(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("Hello Ada."), Say("Ada."), Say("I do not know.")):
        await chat.ask("I am Ada.")
        await chat.ask("Who am I?")
        first = chat.page.url
        await chat.page.get_by_role("button", name="New conversation").click()
        await expect(chat.page.get_by_text("What do you want to know?")).to_be_visible()
        await chat.ask("Who are we?")
    assert chat.page.url != first
    assert await listed(chat) == ["Who are we?", "I am Ada."]
    await chat.page.get_by_role("link", name="I am Ada.").click()
    await expect(chat.turns).to_have_count(2)
    await expect(chat.last).to_contain_text("Ada.")
    await chat.page.go_back()
    await expect(chat.turns).to_have_count(1)
    await expect(chat.last).to_contain_text("I do not know.")


async def test_a_conversation_can_be_renamed_in_this_browser(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    await chat.page.get_by_role("button", name="Rename Hello").click()
    name = chat.page.get_by_label("Name of the conversation")
    await name.fill("Sales")
    await name.press("Enter")
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text("Sales")
    await chat.page.reload()
    await expect(chat.page.get_by_role("link", name="Sales")).to_be_visible()
    await chat.page.get_by_role("button", name="Rename Sales").click()
    await name.fill("Other")
    await name.press("Escape")
    await expect(chat.page.get_by_role("link", name="Sales")).to_be_visible()


async def test_a_conversation_is_deleted_after_a_question(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    address = f"{chat.url}/api/conversations/{chat.page.url.rpartition('#')[2]}"
    await chat.page.get_by_role("button", name="Delete Hello").click()
    dialog = chat.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Cancel").click()
    assert (await chat.page.request.get(address)).status == 200
    await chat.page.get_by_role("button", name="Delete Hello").click()
    await dialog.get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_text("What do you want to know?")).to_be_visible()
    assert await listed(chat) == []
    assert (await chat.page.request.get(address)).status == 404


async def test_a_turn_that_ran_when_the_page_was_reloaded_is_shown_as_not_finished(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(CallTool(code="import time\ntime.sleep(60)")):
        await chat.send("Wait a little.")
        await expect(chat.runs.locator(".run-label")).to_have_text("Running Python…")
        await chat.page.reload()
        await expect(chat.last).to_contain_text("This answer was not finished")
    await expect(chat.last).to_contain_text("Wait a little.")
    await expect(chat.turns).to_have_count(1)
    await expect(chat.page.get_by_role("button", name="Send")).to_be_visible()


async def test_a_turn_that_was_kept_before_the_page_was_reloaded_is_shown_as_it_was_kept(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("Kept.")):
        await chat.ask("Will it be kept?")
    running = {
        "id": chat.page.url.rpartition("#")[2],
        "question": "Will it be kept?",
        "askedAt": await chat.page.evaluate("new Date().toISOString()"),
    }
    await chat.page.evaluate("text => sessionStorage.setItem('running', text)", json.dumps(running))
    await chat.page.reload()
    await expect(chat.last).to_contain_text("Kept.")
    await expect(chat.turns).to_have_count(1)
    await expect(chat.page.get_by_text("not finished")).to_have_count(0)


@pytest.mark.parametrize(
    "fragment", ["#" + "0" * 32, "#../../admin", "#<img src=x onerror=alert(1)>"]
)
async def test_an_address_of_no_conversation_leads_to_a_page_that_works(
    open_chat: OpenChat, azure: SharedAzure, fragment: str
) -> None:
    chat = await open_chat()
    await chat.load(fragment)
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    await expect(chat.last).to_contain_text("Hi.")
    assert re.search("#[0-9a-f]{32}$", chat.page.url)


async def test_a_question_that_is_faster_than_the_history_is_answered_below_it(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("One."), Say("Two.")):
        await chat.ask("First")
        released = asyncio.Event()

        async def late(route: Route) -> None:
            response = await route.fetch()
            await released.wait()
            await route.fulfill(response=response)

        await chat.page.route(re.compile("/api/conversations/[0-9a-f]{32}$"), late)
        await chat.page.reload()
        await chat.question.fill("Second")
        await chat.question.press("Enter")
        await expect(chat.page.get_by_role("button", name="Stop")).to_be_visible()
        released.set()
        await expect(chat.turns).to_have_count(2)
        await chat.answered()
    await expect(chat.turns.first).to_contain_text("One.")
    await expect(chat.last).to_contain_text("Two.")


async def test_where_callers_sign_in_the_list_is_the_servers_page_by_page(
    open_chat: OpenChat,
) -> None:
    chat = await open_chat()
    capabilities = {
        "model": "gpt-5",
        "code_interpreter": True,
        "conversations": True,
        "sign_in": True,
        "signed_in_as": "ada@example.com",
    }

    def page_of(first: int, cursor: str | None) -> dict[str, object]:
        entries = [
            {"id": f"{n:032x}", "title": f"Question {n}", "updated_at": "", "turns": 1}
            for n in range(first, first + 2)
        ]
        return {"conversations": entries, "next_cursor": cursor}

    async def conversations(route: Route) -> None:
        second = "cursor=next" in route.request.url
        await route.fulfill(json=page_of(2, None) if second else page_of(0, "next"))

    async def tell(route: Route) -> None:
        await route.fulfill(json=capabilities)

    await chat.page.route("**/api/capabilities", tell)
    await chat.page.route("**/api/conversations?*", conversations)
    await chat.load()
    await expect(chat.page.locator("a.conversation")).to_have_text(["Question 0", "Question 1"])
    await chat.page.get_by_role("button", name="Show more").click()
    await expect(chat.page.locator("a.conversation")).to_have_count(4)
    await expect(chat.page.get_by_role("button", name="Show more")).to_have_count(0)
    await expect(chat.page.get_by_text("ada@example.com")).to_be_visible()
    out = chat.page.get_by_role("link", name="Sign out")
    await expect(out).to_have_attribute("href", re.compile(r"^/\.auth/logout"))
