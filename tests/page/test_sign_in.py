"""People who sign in: the whole way through App Service Authentication, on the page."""

import asyncio

import pytest
from playwright.async_api import Locator, Route, expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage
from tests.page.conftest import OpenChat
from tests.page.test_everybody import violations
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA, CHARLES = "Ada Lovelace", "Charles Babbage"


def account(chat: ChatPage) -> Locator:
    return chat.page.locator(".account")


async def choose(chat: ChatPage, who: str) -> None:
    """On the page of the sign-in."""
    async with chat.page.expect_response("**/api/capabilities"):
        await chat.page.get_by_role("button", name=who).click()
    await expect(account(chat)).to_contain_text("@example.com")


async def signed_in(open_chat: OpenChat, host: HostProcess, who: str) -> ChatPage:
    chat = await open_chat(host.url)
    await chat.page.goto(f"{host.url}/.auth/login/aad?post_login_redirect_uri=/api/ui")
    await choose(chat, who)
    return chat


async def test_whoever_has_not_signed_in_is_asked_to_and_led_back(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    chat = await open_chat(guarded.url)
    await chat.load("#" + "a" * 32)
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    await expect(chat.page.get_by_role("alert")).to_contain_text("Sign in to ask questions.")
    await expect(account(chat).get_by_role("link", name="Sign in")).to_be_visible()
    await chat.page.get_by_role("alert").get_by_role("link", name="Sign in").click()
    await choose(chat, ADA)
    assert chat.page.url == f"{guarded.url}/api/ui#{'a' * 32}"
    await expect(account(chat)).to_contain_text("ada@example.com")
    await expect(chat.page.get_by_text("Sign in to ask questions.")).to_have_count(0)
    with azure.model.script(Say("Hi.")):
        await chat.ask("Hello")
    await expect(chat.last).to_contain_text("Hi.")
    assert not any("x-functions-key" in request.headers for request in chat.requests)
    assert chat.foreign_requests() == []


async def test_what_was_asked_before_the_sign_in_waits_in_the_box(
    open_chat: OpenChat, guarded: HostProcess
) -> None:
    chat = await open_chat(guarded.url)
    await chat.load()
    turn = await chat.ask("What is 2 + 2?")
    await turn.get_by_role("link", name="Sign in").click()
    await choose(chat, ADA)
    await expect(chat.question).to_have_value("What is 2 + 2?")
    assert await chat.page.evaluate("sessionStorage.length") == 0


async def test_nobody_finds_the_conversation_of_somebody_else(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    ada = await signed_in(open_chat, guarded, ADA)
    code = "open('/mnt/data/secret.txt', 'w').write('of Ada')"
    with azure.model.script(CallTool(code=code), Say("Written.")):
        await ada.ask("Keep my secret")
    conversation = ada.page.url.rpartition("#")[2]
    address = f"{guarded.url}/api/conversations/{conversation}"
    charles = await signed_in(open_chat, guarded, CHARLES)
    await expect(account(charles)).to_contain_text("charles@example.com")
    await expect(charles.page.locator("a.conversation")).to_have_count(0)
    await charles.page.goto(f"{guarded.url}/api/ui#{conversation}")
    await expect(charles.page.locator(".thread").get_by_role("alert")).to_be_visible()
    assert "secret" not in await charles.page.locator("body").inner_text()
    for path in ("", "/files", "/files/secret.txt"):
        own = await ada.page.request.get(address + path)
        foreign = await charles.page.request.get(address + path)
        assert (own.status, foreign.status) == (200, 404), path
        assert "of Ada" not in await foreign.text()
    assert (await charles.page.request.delete(address)).status == 404
    assert (await ada.page.request.get(address)).status == 200


async def test_a_session_that_ended_costs_a_sign_in_and_nothing_else(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    chat = await signed_in(open_chat, guarded, ADA)
    with azure.model.script(Say("Four.")):
        await chat.ask("What is 2 + 2?")
    address = chat.page.url
    await chat.page.context.clear_cookies()
    turn = await chat.ask("And 3 + 3?")
    await expect(turn.get_by_role("alert")).to_contain_text("Sign in to go on.")
    await expect(turn.get_by_role("button", name="Try again")).to_have_count(0)
    await turn.get_by_role("link", name="Sign in").click()
    await choose(chat, ADA)
    assert chat.page.url == address
    await expect(chat.turns).to_have_count(1)
    await expect(chat.question).to_have_value("And 3 + 3?")
    with azure.model.script(Say("Six.")):
        await chat.question.press("Enter")
        await expect(chat.last).to_contain_text("Six.")


async def test_the_next_person_at_this_browser_finds_nothing_of_the_one_before(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    chat = await signed_in(open_chat, guarded, ADA)
    with azure.model.script(Say("Noted.")):
        await chat.ask("My secret plan")
    await chat.page.context.clear_cookies()
    await chat.ask("More of my plan")
    await chat.last.get_by_role("link", name="Sign in").click()
    await choose(chat, CHARLES)
    await expect(chat.question).to_have_value("")
    assert "plan" not in await chat.page.locator("body").inner_text()
    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert "plan" not in await chat.page.evaluate(stored)


async def test_signing_out_ends_the_session(open_chat: OpenChat, guarded: HostProcess) -> None:
    chat = await signed_in(open_chat, guarded, ADA)
    assert (await chat.page.request.get(f"{guarded.url}/api/capabilities")).status == 200
    async with chat.page.expect_response("**/api/capabilities"):
        await account(chat).get_by_role("link", name="Sign out").click()
    await expect(account(chat).get_by_role("link", name="Sign in")).to_be_visible()
    assert chat.page.url == f"{guarded.url}/api/ui"
    assert (await chat.page.request.get(f"{guarded.url}/api/capabilities")).status == 401


async def test_files_and_stop_work_behind_the_sign_in(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    chat = await signed_in(open_chat, guarded, ADA)
    await chat.drop(("sales.csv", "city,people\nBerne,133\n"))
    await expect(chat.page.locator(".attachment progress")).to_have_count(0)
    with azure.model.script(CallTool(code="print(1)\nimport time\ntime.sleep(60)")):
        await chat.send("Wait for ever.")
        await expect(chat.runs.locator(".run-label")).to_have_text("Running Python…")
        await chat.page.get_by_role("button", name="Stop").click()
        await chat.answered()
    # Only a run that heard of the hang-up gives the conversation up so soon.
    for _ in range(30):
        with azure.model.using(lambda _: Say("Here I am.")):
            turn = await chat.ask("Are you there?")
        if "Here I am." in await chat.text_of(turn):
            break
        await asyncio.sleep(0.1)
    await expect(turn).to_contain_text("Here I am.")
    await expect(await chat.files()).to_have_text(["sales.csv"])
    async with chat.page.expect_download():
        await chat.page.get_by_role("button", name="Download sales.csv").last.click()


async def test_the_page_of_another_origin_cannot_use_the_sign_in(
    open_chat: OpenChat, guarded: HostProcess, host: HostProcess
) -> None:
    chat = await signed_in(open_chat, guarded, ADA)
    # Another port is another origin of the same site, to which the browser sends the cookie.
    # Another name of this machine is another site, to which it does not.
    same_site, cross_site = host.url, host.url.replace("localhost", "127.0.0.1")
    statuses = {}
    for origin in (same_site, cross_site):
        await chat.page.goto(f"{origin}/api/health/live")
        for method, query in (("GET", "?input=Spend"), ("POST", "")):
            async with chat.page.expect_response(f"{guarded.url}/api/chat*") as response:
                await chat.page.evaluate(
                    """([url, method]) => {
                      const body = method === "POST" ? '{"input": "Spend"}' : undefined;
                      fetch(url, {method, body, mode: "no-cors", credentials: "include"})
                        .catch(() => null);
                    }""",
                    [f"{guarded.url}/api/chat{query}", method],
                )
            statuses[origin, method] = (await response.value).status
    assert [statuses[same_site, "GET"], statuses[same_site, "POST"]] == [403, 403]
    assert [statuses[cross_site, "GET"], statuses[cross_site, "POST"]] == [401, 401]


async def test_the_conversations_are_listed_in_whatever_browser_their_owner_signs_in(
    open_chat: OpenChat, azure: SharedAzure, guarded: HostProcess
) -> None:
    one = await signed_in(open_chat, guarded, ADA)
    with azure.model.script(Say("One."), Say("Two.")):
        await one.ask("The older question")
        older = one.page.url
        await one.page.get_by_role("button", name="New conversation").click()
        await one.ask("The newer question")
    other = await signed_in(open_chat, guarded, ADA)
    titles = other.page.locator("a.conversation")
    await expect(titles.nth(1)).to_have_text("The older question")
    await expect(titles.nth(0)).to_have_text("The newer question")
    await titles.nth(1).click()
    await expect(other.last).to_contain_text("One.")
    assert other.page.url == older
    with azure.model.script(Say("Again.")):
        await other.ask("Once more")
    await other.page.reload()
    await expect(titles.nth(0)).to_have_text("The older question")
    await other.page.get_by_role("button", name="Delete The older question").click()
    await other.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(titles.nth(0)).to_have_text("The newer question")
    await other.page.reload()
    await expect(titles.nth(0)).to_have_text("The newer question")
    await expect(other.page.get_by_role("link", name="The older question")).to_have_count(0)
    charles = await signed_in(open_chat, guarded, CHARLES)
    await expect(charles.page.locator("a.conversation")).to_have_count(0)


async def test_where_the_list_cannot_be_had_the_page_says_so(
    open_chat: OpenChat, guarded: HostProcess
) -> None:
    chat = await open_chat(guarded.url)

    async def fail(route: Route) -> None:
        problem = {"code": "StoreUnreachable", "detail": "The store cannot be reached."}
        await route.fulfill(status=503, json=problem)

    await chat.page.route("**/api/conversations?*", fail)
    await chat.page.goto(f"{guarded.url}/.auth/login/aad?post_login_redirect_uri=/api/ui")
    await choose(chat, ADA)
    alert = chat.page.get_by_role("navigation").get_by_role("alert")
    await expect(alert).to_contain_text("The store cannot be reached.")


async def test_axe_finds_nothing_on_the_way_in(open_chat: OpenChat, guarded: HostProcess) -> None:
    chat = await open_chat(guarded.url)
    await chat.load()
    await expect(account(chat).get_by_role("link", name="Sign in")).to_be_visible()
    assert await violations(chat) == [], "nobody is signed in"
    await account(chat).get_by_role("link", name="Sign in").click()
    await chat.page.get_by_role("button", name=ADA).wait_for()
    assert await violations(chat) == [], "the sign-in"
    await choose(chat, ADA)
    assert await violations(chat) == [], "somebody is signed in"
