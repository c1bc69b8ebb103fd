"""The page for everybody: axe-core, keyboard alone, narrow screens, right-to-left text, motion."""

import json
from typing import Any

import pytest
from playwright.async_api import expect

from local.azure_openai import CallTool, CallTools, Say
from tests.conftest import SharedAzure
from tests.page.building import installed_build
from tests.page.chat_page import ChatPage
from tests.page.conftest import OpenChat

pytestmark = pytest.mark.asyncio(loop_scope="session")

RICH = "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\nprint('out')"
TEXT = "# Result\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint(1) # one\n```\n\n- [x](https://x.example)"


async def violations(chat: ChatPage) -> list[str]:
    """What axe-core finds, each rule with the elements that break it."""
    axe = (installed_build() / "node_modules/axe-core/axe.min.js").read_text()
    await chat.page.evaluate(axe + "; null")
    found: dict[str, Any] = await chat.page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    return [
        f"{rule['impact']} {rule['id']}: {json.dumps([n['target'] for n in rule['nodes']])}"
        for rule in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(open_chat: OpenChat, azure: SharedAzure, scheme: str) -> None:
    chat = await open_chat(color_scheme=scheme)
    await chat.load()
    assert await violations(chat) == [], "first screen"
    calls = CallTools([CallTool(code=RICH), CallTool(code="1/0")])
    with azure.model.script(calls, Say(TEXT)):
        turn = await chat.ask("Show all.")
    await expect(turn.get_by_role("img")).to_be_visible()
    await chat.drop(("a.csv", "a,b\n1,2\n"))
    await chat.files()
    assert await violations(chat) == [], "an answer, its files, an attachment"
    await chat.page.get_by_role("button", name="Preview a.csv").click()
    await expect(chat.page.locator("dialog td").first).to_be_visible()
    assert await violations(chat) == [], "a preview"
    await chat.page.keyboard.press("Escape")
    await chat.page.set_viewport_size({"width": 360, "height": 700})
    await chat.page.get_by_role("button", name="Close the files").click()
    await chat.page.get_by_role("button", name="Conversations").click()
    assert await violations(chat) == [], "a narrow screen with the list open"


async def test_the_keyboard_alone_does_everything(chat: ChatPage, azure: SharedAzure) -> None:
    keyboard = chat.page.keyboard
    focused = (
        "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
    )
    with azure.model.script(CallTool(code="open('/mnt/data/a.txt','w').write('x')"), Say("Done.")):
        # The question has the focus from the beginning.
        await expect(chat.question).to_be_focused()
        await keyboard.type("Write.")
        await keyboard.press("Enter")
        await chat.answered()
    await expect(chat.question).to_be_focused()
    names = []
    await chat.page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        await keyboard.press("Tab")
        names.append(" ".join((await chat.page.evaluate(focused)).split()))
        if names[-1] == "Attach files":
            break
    for name in ["Skip to the question", "New conversation", "Rename Write.", "Delete Write."]:
        assert name in names
    for name in ["Files (1)", "Copy code", "Preview a.txt 1 B", "Download a.txt", "Copy answer"]:
        assert name in names
    await chat.page.get_by_role("button", name="Preview a.txt").focus()
    await keyboard.press("Enter")
    await expect(chat.page.get_by_role("dialog", name="a.txt")).to_be_visible()
    await keyboard.press("Escape")
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    await expect(chat.page.get_by_role("button", name="Preview a.txt")).to_be_focused()


async def test_a_screen_reader_hears_how_a_turn_goes(chat: ChatPage, azure: SharedAzure) -> None:
    await chat.page.evaluate(
        """() => {
          window.heard = [];
          const status = document.querySelector("[role=status]");
          new MutationObserver(() => heard.push(status.textContent))
            .observe(status, { childList: true, characterData: true, subtree: true });
        }"""
    )
    with azure.model.script(CallTool(code="print(1)"), Say("It is one.")):
        await chat.ask("Compute.")
    await expect(chat.page.get_by_role("status")).to_have_text("Answer: It is one.")
    heard = await chat.page.evaluate("heard")
    assert heard[0] == "The question was sent"
    assert "Python is running" in heard


async def test_nothing_is_cut_off_at_360_pixels(open_chat: OpenChat, azure: SharedAzure) -> None:
    chat = await open_chat(viewport={"width": 360, "height": 640})
    await chat.load()
    wide = "() => document.documentElement.scrollWidth"
    assert await chat.page.evaluate(wide) == 360
    long = "W" * 300
    with azure.model.script(
        CallTool(code=f"print('{long}')\n1/0"), Say(TEXT + f"\n\n{long} `{long}`")
    ):
        turn = await chat.ask(f"{long}")
    assert await chat.page.evaluate(wide) == 360
    widest = await turn.evaluate(
        """turn => Math.max(...[...turn.querySelectorAll("*")]
             .filter(e => !e.closest("pre, .table-frame, .hidden-text"))
             .map(e => e.getBoundingClientRect().right))"""
    )
    assert widest <= 360
    await expect(chat.page.get_by_role("navigation")).to_be_hidden()
    await chat.page.get_by_role("button", name="Conversations").click()
    await expect(chat.page.get_by_role("button", name="New conversation")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("button", name="Conversations")).to_be_focused()


async def test_right_to_left_text_runs_from_the_right_and_code_from_the_left(
    chat: ChatPage, azure: SharedAzure
) -> None:
    answer = "התשובה היא **42**.\n\n- אחת\n\n```python\nprint(1)\n```\n\nEnglish too."
    with azure.model.script(Say(answer)):
        turn = await chat.ask("מה התשובה?")
    direction = "e => getComputedStyle(e).direction"
    assert await turn.locator(".question-text").evaluate(direction) == "rtl"
    paragraphs = turn.locator(".prose > p")
    assert await paragraphs.first.evaluate(direction) == "rtl"
    assert await paragraphs.last.evaluate(direction) == "ltr"
    assert await turn.locator(".prose pre").evaluate(direction) == "ltr"
    assert await chat.question.get_attribute("dir") == "auto"


async def test_who_wants_less_motion_sees_nothing_slide_or_turn(chat: ChatPage) -> None:
    moving = await chat.page.evaluate(
        """() => {
          const probe = Object.assign(document.createElement("span"), { className: "spinner" });
          document.body.append(probe);
          const side = getComputedStyle(document.querySelector(".sidebar"));
          const found = [getComputedStyle(probe).animationName, side.transitionDuration];
          probe.remove();
          return found;
        }"""
    )
    assert moving[0] != "turn"
    assert moving[1] == "0s"
