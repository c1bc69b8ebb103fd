"""What a cell showed, on the page: each thing in its place, again after a reload."""

import re

import pytest
from playwright.async_api import Route, expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage, picture_width
from tests.page.conftest import OpenChat
from tests.page.test_chat import CAPABILITIES

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = """
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display as show

print("printed")
plt.plot([1, 2])
plt.show()
show(pd.DataFrame({"city": ["Berne", "Zurich"], "people": [133, 402]}))
plt.plot([2, 1])
plt.show()
show(HTML("<h3>Report</h3><p>All <b>fine</b></p><script>parent.document.title = 'x'</script>"))
show(HTML("<h3>Static</h3><p onclick='alert(1)'>All <b>fine</b></p>"))
show(Markdown("*marked*"))
pd.Series([4, 5], name="value").to_csv("/mnt/data/values.csv")
"the value"
"""
# What stands in a card, in order, as one letter each.
IN_ORDER = """card => [...card.querySelectorAll(".run-output > *")].map(e =>
  e.matches("figure") ? "F"
  : e.querySelector("iframe") ? "P"
  : e.querySelector("td") ? "T"
  : e.querySelector(".note") ? "S"
  : e.matches(".output") ? "t" : "?").join("")"""
# Printed text, figure, table, figure, page that needs scripts, page, Markdown, value.
EXPECTED = "tFTFSPtt"


async def check_outputs(chat: ChatPage) -> None:
    card = chat.runs
    await expect(card.locator("td", has_text="Zurich")).to_be_visible()
    frame = card.locator("iframe")
    await expect(frame).to_have_count(1)
    assert await card.evaluate(IN_ORDER) == EXPECTED
    for n in (0, 1):
        figure = card.get_by_role("img").nth(n)
        assert await picture_width(figure) > 100
        assert (await figure.get_attribute("src") or "").startswith("blob:")
    assert await card.get_by_role("img").nth(0).get_attribute("alt") != await card.get_by_role(
        "img"
    ).nth(1).get_attribute("alt")
    assert await frame.get_attribute("sandbox") == ""
    shown = frame.content_frame
    await expect(shown.get_by_role("heading", name="Static")).to_be_visible()
    assert await shown.locator("[onclick]").count() == 0
    await expect(card.locator(".prose em")).to_have_text("marked")
    await expect(card.locator(".run-output")).not_to_contain_text("IPython")
    await expect(card).to_contain_text("the value")
    assert await card.get_by_text("the value", exact=True).count() == 1
    await expect(card.locator(".run-files")).to_contain_text("values.csv")


async def test_all_that_a_cell_shows_is_in_its_place_and_there_again_after_a_reload(
    open_chat: OpenChat, azure: SharedAzure
) -> None:
    chat = await open_chat()
    await chat.load()
    with azure.model.script(CallTool(code=ALL), Say("Shown.")):
        await chat.ask("Show all.")
    await check_outputs(chat)
    await chat.page.reload()
    await expect(chat.turns).to_have_count(1)
    await check_outputs(chat)
    assert chat.foreign_requests() == []


async def test_without_conversations_all_of_it_is_in_the_answer(
    open_chat: OpenChat, azure: SharedAzure
) -> None:
    chat = await open_chat()

    async def tell(route: Route) -> None:
        await route.fulfill(json=CAPABILITIES | {"conversations": False})

    await chat.page.route("**/api/capabilities", tell)
    await chat.load()
    with azure.model.script(CallTool(code=ALL), Say("Shown.")):
        await chat.ask("Show all.")
    await check_outputs(chat)
    assert not any(re.search("/api/conversations/.", r.url) for r in chat.requests)
