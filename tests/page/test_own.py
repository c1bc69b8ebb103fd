"""The page of an agent that somebody made their own: its title and its example questions."""

import asyncio
import os
import re

import pytest
from playwright.async_api import Route, expect
from starlette.requests import Request

from agent.events import (
    Event,
    ExecutionStatus,
    ToolFinished,
    ToolStarted,
    ToolUse,
    TurnFinished,
    Usage,
)
from agent.http.agui import AguiEncoder
from agent.http.dispatch import PageTexts, dispatch
from agent.settings import StartSettings
from local.azure_openai import Say
from tests.conftest import SharedAzure
from tests.page.conftest import OpenChat
from tests.support import PROJECT

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = """"><img src=x onerror="document.title='x'"></title><script>alert(1)</script>&amp;\\1'"""


async def page_with(texts: PageTexts, *, sign_in: bool = False) -> str:
    """The page as the app sends it with these settings."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    answer = await dispatch("page", Request(scope), sign_in_required=sign_in, page_texts=texts)
    assert answer.status_code == 200
    return bytes(answer.body).decode()


@pytest.mark.parametrize("title", ["Sales figures", "أرقام المبيعات", HOSTILE])
async def test_title_and_examples_are_shown_as_the_texts_that_they_are(
    open_chat: OpenChat, azure: SharedAzure, title: str
) -> None:
    chat = await open_chat()
    html = await page_with((title, (f"How much? {title}", "Two\nlines")))

    async def own(route: Route) -> None:
        await route.fulfill(body=html, headers={"content-type": "text/html; charset=utf-8"})

    await chat.page.route("**/api/ui", own)
    await chat.load()
    await expect(chat.page).to_have_title(title)
    await expect(chat.page.get_by_role("heading", level=2, name=title)).to_be_visible()
    await expect(chat.page.locator(".brand")).to_contain_text(title)
    examples = chat.page.locator(".example")
    assert await examples.all_text_contents() == [f"How much? {title}", "Two\nlines"]
    assert await chat.page.locator("script:not([src]), img").count() == 0
    with azure.model.script(Say("Much.")) as script:
        await examples.first.click()
        await chat.answered()
    assert script.requests[0].messages[-1].content == f"How much? {title}"


async def test_a_call_of_an_own_tool_is_a_card_with_arguments_and_result(
    open_chat: OpenChat,
) -> None:
    """The events are the app's; no tool that could be called is on here."""
    events: list[Event] = []
    statuses: tuple[ExecutionStatus, ...] = ("Succeeded", "Failed")
    for call_id, status in zip("12", statuses, strict=True):
        events.append(ToolStarted(call_id, "convert", {"amount": HOSTILE}))
        use = ToolUse("convert", {"amount": HOSTILE}, status, f"{HOSTILE} {status}", 5)
        events.append(ToolFinished(call_id, use))
    events.append(TurnFinished("Done.", "stop", Usage(1, 2)))
    encoder = AguiEncoder("t", "r", operation_id="o")
    stream = b"".join([encoder.begin(), *map(encoder.encode, events)])

    async def answer(route: Route) -> None:
        await route.fulfill(body=stream, headers={"content-type": "text/event-stream"})

    chat = await open_chat()
    await chat.load()
    await chat.page.route("**/api/chat", answer)
    turn = await chat.ask("Convert.")
    runs = turn.get_by_role("group", name="convert")
    labels = await runs.locator(".run-label").all_text_contents()
    assert labels == ["Called convert", "convert failed"]
    await expect(runs.first).to_contain_text(f"{HOSTILE} Succeeded")
    await expect(runs.last.locator(".output-error")).to_contain_text(f"{HOSTILE} Failed")
    await expect(runs.first.locator(".run-code .hljs-attr")).to_have_text('"amount"')
    assert await turn.locator("img, script").count() == 0


async def test_without_these_settings_it_is_the_page_of_before() -> None:
    plain, guarded = await page_with((None, None)), await page_with((None, None), sign_in=True)
    assert '<html lang="en">' in plain
    assert "<title>Code interpreter</title>" in plain
    assert guarded == plain.replace('<html lang="en">', '<html lang="en" data-sign-in>')
    assert 'data-sign-in data-examples="[]">' in await page_with((None, ()), sign_in=True)


async def test_what_the_documentation_sets_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```bash\n(AGENT_.*?)```", (PROJECT / "docs/page.md").read_text(), re.S)
    script = f"make() {{ env -0; }}\n{block}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script), stdout=asyncio.subprocess.PIPE, env={"PATH": os.defpath}
    )
    printed, _ = await process.communicate()
    for each in printed.decode().split("\0"):
        name, _, value = each.partition("=")
        if name.startswith("AGENT_"):
            monkeypatch.setenv(name, value)
    settings = StartSettings.load()
    assert settings.agent_title == "Sales figures"
    assert settings.agent_examples is not None
    assert len(settings.agent_examples) == 2
    assert (settings.agent_instructions or "").startswith("You work for")
