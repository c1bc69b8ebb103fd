"""A turn on the page: what streams in, how it ends, and what can be done with it."""

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from local.azure_openai import CallTool, CallTools, Cut, Say, Slow
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage, picture_width
from tests.page.conftest import OpenChat
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
MARKDOWN = """# Result

The **mean** is `2.5`, see [pandas](https://pandas.pydata.org/docs/).

| city | people |
|---|---:|
| Berne | 133 |

1. first
2. second

```python
print(6 * 7)
```
"""


async def test_the_answer_is_shown_as_markdown(chat: ChatPage, azure: SharedAzure) -> None:
    with azure.model.script(Say(MARKDOWN)):
        turn = await chat.ask("What is the mean?")
    await expect(turn.get_by_role("heading", name="Result")).to_be_visible()
    await expect(turn.locator("strong")).to_have_text("mean")
    await expect(turn.get_by_role("cell", name="Berne")).to_be_visible()
    await expect(turn.locator("ol li")).to_have_text(["first", "second"])
    await expect(turn.locator(".code .hljs-built_in")).to_have_text("print")
    link = turn.get_by_role("link", name="pandas")
    await expect(link).to_have_attribute("href", "https://pandas.pydata.org/docs/")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")


async def test_text_is_there_while_it_is_written(chat: ChatPage, azure: SharedAzure) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.02))
    with azure.model.script(Say("Begin " + "and so on " * 15 + "the end.")):
        await chat.send("Tell a story.")
        await expect(chat.last.locator(".prose")).to_contain_text("Begin")
        assert await chat.last.get_attribute("aria-busy") == "true"
        await chat.answered()
    await expect(chat.last.locator(".prose")).to_contain_text("the end.")


async def test_markdown_that_grew_word_by_word_is_what_it_is_at_once(
    chat: ChatPage, azure: SharedAzure
) -> None:
    azure.stack.openai.faults.inject(Slow(between_chunks_s=0.005))
    with azure.model.script(Say(MARKDOWN), Say(MARKDOWN)):
        grown = await (await chat.ask("Slowly")).locator(".prose").inner_html()
        at_once = await (await chat.ask("At once")).locator(".prose").inner_html()
    assert grown == at_once


async def test_an_execution_is_a_card_with_code_output_result_and_figure(
    chat: ChatPage, azure: SharedAzure
) -> None:
    code = "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\n" + PLOT + "\n6 * 7"
    with azure.model.script(CallTool(code=code, text="Let me see."), Say("Done.")):
        turn = await chat.ask("Run it.")
    card = chat.runs
    await expect(card.locator(".run-label")).to_have_text("Ran Python")
    await expect(card.locator(".run-time")).to_have_text(re.compile(r"^\d+(\.\d)? m?s$"))
    await expect(card.locator(".run-code .hljs-keyword").first).to_have_text("import")
    await expect(card).to_contain_text("to out")
    await expect(card).to_contain_text("to err")
    figure = card.get_by_role("img", name="image-1-1.png")
    assert await picture_width(figure) > 100
    text = await chat.text_of(turn)
    assert text.index("Let me see.") < text.index("Ran Python") < text.index("Done.")
    await expect(turn.locator(".usage")).to_contain_text("tokens")


async def test_a_failed_execution_shows_its_traceback(chat: ChatPage, azure: SharedAzure) -> None:
    with azure.model.script(CallTool(code="1/0"), Say("It failed.")):
        await chat.ask("Divide.")
    await expect(chat.runs.locator(".run-label")).to_have_text("Python failed")
    await expect(chat.runs.locator(".output-error")).to_contain_text("division by zero")


async def test_long_code_and_output_are_folded_and_open_on_request(
    chat: ChatPage, azure: SharedAzure
) -> None:
    code = "\n".join(f"print({n})" for n in range(90))
    with azure.model.script(CallTool(code=code), Say("Done.")):
        await chat.ask("Count.")
    card = chat.runs
    await expect(card.locator(".output")).not_to_contain_text("89")
    await card.get_by_role("button", name="Show all 90 lines of output").click()
    await expect(card.locator(".output")).to_contain_text("89")
    await card.get_by_role("button", name="Show less output").click()
    await expect(card.locator(".output")).not_to_contain_text("89")
    await expect(card.get_by_role("button", name="Show all 90 lines of code")).to_be_visible()


async def test_each_of_several_executions_has_its_own_figure(
    chat: ChatPage, azure: SharedAzure
) -> None:
    calls = CallTools([CallTool(code=PLOT), CallTool(code="print('none')"), CallTool(code=PLOT)])
    with azure.model.script(calls, Say("Two plots.")):
        await chat.ask("Plot twice.")
    await expect(chat.runs).to_have_count(3)
    assert [await chat.runs.nth(n).get_by_role("img").count() for n in range(3)] == [1, 0, 1]


async def test_a_reload_shows_the_conversation_again_with_its_figures(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(CallTool(code=PLOT), Say("Plotted."), Say("Second.")):
        await chat.ask("Plot.")
        await chat.ask("And?")
    await chat.page.reload()
    await expect(chat.turns).to_have_count(2)
    await expect(chat.turns.first).to_contain_text("Plotted.")
    figure = chat.turns.first.get_by_role("img", name="image-1-1.png")
    assert await picture_width(figure) > 100
    await expect(chat.last).to_contain_text("Second.")


async def test_stop_ends_the_run_itself(chat: ChatPage, azure: SharedAzure) -> None:
    with azure.model.script(CallTool(code="print('on')\nimport time\ntime.sleep(60)")):
        await chat.send("Wait for ever.")
        await expect(chat.runs.locator(".run-label")).to_have_text("Running Python…")
        await chat.page.get_by_role("button", name="Stop").click()
        turn = await chat.answered()
    await expect(turn).to_contain_text("You stopped this answer.")
    await expect(chat.runs.locator(".run-label")).to_have_text("Python was stopped")
    await expect(chat.page.get_by_role("button", name="Send")).to_be_visible()
    # The conversation takes the next question only if the run has given it up.
    with azure.model.script(Say("Here I am.")):
        for _ in range(50):
            turn = await chat.ask("Are you there?")
            if "Here I am." in await chat.text_of(turn):
                break
            await asyncio.sleep(0.1)
    await expect(turn).to_contain_text("Here I am.")


async def test_an_error_shows_its_code_and_operation_id_and_can_be_tried_again(
    chat: ChatPage, azure: SharedAzure
) -> None:
    azure.stack.openai.faults.inject(Cut(after_chunks=1))
    with azure.model.script(Say("This answer will break off in the middle of it.")):
        turn = await chat.ask("Tell me.")
    alert = turn.get_by_role("alert")
    await expect(alert.locator(".error-code")).to_have_text(re.compile(r"^\w+ · operation_id \S+$"))
    with azure.model.script(Say("Better now.")):
        await alert.get_by_role("button", name="Try again").click()
        await expect(chat.last).to_contain_text("Better now.")
    await expect(chat.turns).to_have_count(1)


async def test_an_app_that_cannot_be_reached_is_an_error_and_not_a_hang(chat: ChatPage) -> None:
    async def refuse(route: Route) -> None:
        await route.abort("connectionrefused")

    await chat.page.route("**/api/chat", refuse)
    turn = await chat.ask("Anybody?")
    await expect(turn.get_by_role("alert")).to_contain_text("cannot be reached")


async def test_a_stream_that_breaks_off_is_an_error_and_not_a_hang(chat: ChatPage) -> None:
    async def half(route: Route) -> None:
        body = 'data: {"type":"RUN_STARTED","threadId":"x"}\n\n'
        await route.fulfill(content_type="text/event-stream", body=body)

    await chat.page.route("**/api/chat", half)
    turn = await chat.ask("Half?")
    await expect(turn.get_by_role("alert")).to_contain_text("ended before the answer was complete")


async def test_the_last_question_can_be_edited_and_asked_again(
    chat: ChatPage, azure: SharedAzure
) -> None:
    with azure.model.script(Say("Four."), Say("Six.")):
        turn = await chat.ask("What is 2 + 2?")
        await turn.get_by_role("button", name="Edit and ask again").click()
        await expect(chat.question).to_have_value("What is 2 + 2?")
        await chat.ask("What is 3 + 3?")
    await expect(chat.last).to_contain_text("Six.")


async def test_code_and_answer_can_be_copied(open_chat: OpenChat, azure: SharedAzure) -> None:
    chat = await open_chat(permissions=["clipboard-read", "clipboard-write"])
    await chat.load()
    with azure.model.script(CallTool(code="print(6 * 7)"), Say("It is **42**.")):
        turn = await chat.ask("Compute.")
    read = "navigator.clipboard.readText()"
    await chat.runs.get_by_role("button", name="Copy code").click()
    await expect(chat.page.get_by_role("status")).to_have_text("Copied")
    assert await chat.page.evaluate(read) == "print(6 * 7)"
    await turn.get_by_role("button", name="Copy answer").click()
    await expect(turn.locator(".turn-foot .icon-check")).to_be_visible()
    assert await chat.page.evaluate(read) == "It is **42**."


async def test_shift_and_enter_make_a_new_line(chat: ChatPage, azure: SharedAzure) -> None:
    await chat.question.fill("one")
    await chat.question.press("Shift+Enter")
    await chat.question.press_sequentially("two")
    await expect(chat.question).to_have_value("one\ntwo")
    await expect(chat.turns).to_have_count(0)


async def test_a_warning_is_shown_with_the_answer(chat: ChatPage, azure: SharedAzure) -> None:
    async def warned(route: Route) -> None:
        warning = '{"code": "FileNotShown", "message": "big.bin is not part of the answer."}'
        end = f'{{"type":"RUN_FINISHED","result":{{"output":"Done.","warnings":[{warning}]}}}}'
        await route.fulfill(content_type="text/event-stream", body=f"data: {end}\n\n")

    await chat.page.route("**/api/chat", warned)
    turn = await chat.ask("Write it.")
    await expect(turn.locator(".notice.warning")).to_have_text("big.bin is not part of the answer.")


@pytest.mark.parametrize("example", ["date", "Plot", "Solve", "Run code"])
async def test_the_examples_of_the_first_screen_work_with_the_stand_in_model(
    chat: ChatPage, azure: SharedAzure, example: str
) -> None:
    await expect(chat.page.locator(".example")).to_have_count(4)
    await chat.page.locator(".example", has_text=example).click()
    turn = await chat.answered()
    await expect(chat.runs.locator(".run-label")).to_have_text("Ran Python")
    await expect(turn.get_by_role("alert")).to_have_count(0)


CAPABILITIES = {
    "model": "gpt-5",
    "code_interpreter": True,
    "conversations": True,
    "vision": True,
    "sign_in": False,
    "signed_in_as": None,
}


@pytest.mark.parametrize(
    ("differs", "line"),
    [
        ({}, None),
        ({"model": "local-stand-in"}, "The model is the local stand-in"),
        ({"code_interpreter": False}, "There is no code interpreter"),
        ({"conversations": False}, "Conversations are off"),
    ],
)
async def test_the_first_screen_says_what_is_missing(
    open_chat: OpenChat, differs: dict[str, object], line: str | None
) -> None:
    chat = await open_chat()

    async def tell(route: Route) -> None:
        await route.fulfill(json=CAPABILITIES | differs)

    await chat.page.route("**/api/capabilities", tell)
    await chat.load()
    lines = chat.page.locator(".notice-line")
    await expect(lines).to_have_count(0 if line is None else 1)
    if line:
        await expect(lines).to_contain_text(line)


async def test_without_conversations_a_figure_is_shown_all_the_same(
    open_chat: OpenChat, azure: SharedAzure
) -> None:
    chat = await open_chat()

    async def tell(route: Route) -> None:
        await route.fulfill(json=CAPABILITIES | {"conversations": False})

    await chat.page.route("**/api/capabilities", tell)
    await chat.load()
    with azure.model.script(CallTool(code=PLOT), Say("Plotted.")):
        await chat.ask("Plot.")
    figure = chat.runs.get_by_role("img", name="image-1.png")
    assert await picture_width(figure) > 100
    await expect(chat.page.get_by_role("button", name="Attach files")).to_be_hidden()


async def test_nothing_is_asked_of_another_origin(chat: ChatPage, azure: SharedAzure) -> None:
    with azure.model.script(CallTool(code=PLOT), Say(MARKDOWN)):
        await chat.ask("Plot.")
    assert chat.foreign_requests() == []


async def test_the_capabilities_are_those_of_the_app(chat: ChatPage, host: HostProcess) -> None:
    response = await chat.page.request.get(f"{host.url}/api/capabilities")
    expected = CAPABILITIES | {"model": "gpt-5.4-mini"}
    assert await response.json() == expected
