"""What the main states look like, compared with stored pictures; delete them to store new ones."""

import base64
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage
from tests.page.conftest import OpenChat
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURES = Path(__file__).parent / "pictures"
PLOT = """import matplotlib.pyplot as plt

months, revenue = ["Jan", "Feb", "Mar"], [120, 135, 180]
plt.bar(months, revenue)
plt.show()
print("March is the best month.")"""
ANSWER = """Revenue grew by **50 %** from January to March:

| month | revenue |
|---|---:|
| Jan | 120 |
| Feb | 135 |
| Mar | 180 |
"""
# Both pictures in a quarter of their size, so that the edges of letters do not count; the share of
# pixels that differ by more than an eighth of the range of a colour.
DIFFERENCE = """async ([a, b]) => {
  const load = async data => {
    const image = new Image();
    image.src = "data:image/png;base64," + data;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width / 4, image.height / 4);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const [one, two] = [await load(a), await load(b)];
  if (one.width !== two.width || one.height !== two.height) return 1;
  let differing = 0;
  for (let i = 0; i < one.data.length; i += 4) {
    if ([0, 1, 2].some(c => Math.abs(one.data[i + c] - two.data[i + c]) > 32)) differing += 1;
  }
  return differing / (one.data.length / 4);
}"""
TOLERATED = 0.02


async def difference(browser: Browser, one: bytes, two: bytes) -> float:
    page = await browser.new_page()
    try:
        encoded = [base64.b64encode(picture).decode() for picture in (one, two)]
        share: float = await page.evaluate(DIFFERENCE, encoded)
        return share
    finally:
        await page.close()


async def picture_of(page: Page) -> bytes:
    # Fonts of one Debian package, whatever else is installed; no time that differs from run to run.
    await page.evaluate(
        """() => {
          const { style } = document.documentElement;
          style.setProperty("--sans", '"DejaVu Sans"');
          style.setProperty("--mono", '"DejaVu Sans Mono"');
          for (const e of document.querySelectorAll(".run-time")) e.textContent = "42 ms";
          for (const e of document.querySelectorAll(".usage")) e.textContent = "1,234 tokens";
          document.activeElement.blur();
        }"""
    )
    return await page.screenshot(animations="disabled")


async def compare(browser: Browser, chat: ChatPage, name: str) -> str | None:
    """What is wrong with the look of a state, if anything."""
    shown = await picture_of(chat.page)
    path = PICTURES / f"{name}.png"
    if not path.exists():
        PICTURES.mkdir(exist_ok=True)
        path.write_bytes(shown)
        return f"{path} was not there: look at it, then commit it"
    share = await difference(browser, path.read_bytes(), shown)
    if share > TOLERATED:
        now = path.with_suffix(".now.png")
        now.write_bytes(shown)
        return f"{share:.1%} of {name} look different: compare {path} and {now}"
    return None


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_main_states_look_as_they_did(
    browser: Browser,
    open_chat: OpenChat,
    azure: SharedAzure,
    guarded: HostProcess,
    scheme: str,
) -> None:
    chat = await open_chat(color_scheme=scheme, viewport={"width": 1100, "height": 860})
    await chat.load()
    wrong: list[str | None] = []
    wrong.append(await compare(browser, chat, f"first-{scheme}"))
    with azure.model.script(CallTool(code=PLOT), Say(ANSWER)):
        turn = await chat.ask("How did revenue develop?")
    figure = turn.get_by_role("img")
    await figure.evaluate("img => img.decode()")
    await chat.page.locator("main").evaluate("main => main.scrollTop = 0")
    await expect(chat.page.get_by_role("button", name="Files (1)")).to_be_visible()
    wrong.append(await compare(browser, chat, f"answer-{scheme}"))
    await chat.page.set_viewport_size({"width": 360, "height": 740})
    await chat.page.locator("main").evaluate("main => main.scrollTop = main.scrollHeight")
    wrong.append(await compare(browser, chat, f"narrow-{scheme}"))
    with azure.model.script(CallTool(code="open('sales.csv')"), Say("There is no such file.")):
        await chat.ask("Read it.")
    wrong.append(await compare(browser, chat, f"failed-{scheme}"))
    stranger = await open_chat(guarded.url, color_scheme=scheme)
    await stranger.load()
    await expect(stranger.page.get_by_role("link", name="Sign in")).to_have_count(2)
    wrong.append(await compare(browser, stranger, f"sign-in-{scheme}"))
    assert list(filter(None, wrong)) == []


async def test_a_picture_that_lost_its_style_would_be_noticed(
    browser: Browser, chat: ChatPage
) -> None:
    before = await picture_of(chat.page)
    assert await difference(browser, before, before) == 0
    await chat.page.evaluate("document.documentElement.style.setProperty('--side', '#d0d0c8')")
    assert await difference(browser, before, await picture_of(chat.page)) > TOLERATED
