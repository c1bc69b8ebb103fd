"""The page as its users see it: what they type and press, by the names that they read or hear."""

import re
from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Locator, Page, Request, expect

WAIT_MS = 60_000
# What Chromium reports while DOMPurify reads HTML in a document without scripts, and takes it out.
INERT = ("Executing inline event", "Applying inline style", "Setting the document's base URI")


async def picture_width(picture: Locator) -> int:
    """Pixels of a picture's width, once it is there: one that has no source yet is a broken one."""
    await expect(picture).to_have_attribute("src", re.compile("."))
    width: int = await picture.evaluate("async img => (await img.decode(), img.naturalWidth)")
    return width


class ChatPage:
    """One tab with the page.

    Attributes:
        page: Playwright's.
        faults: exceptions and violations of the policy that nobody expected.
        inert: violations in HTML that is only being cleaned.
        requests: every address that the tab asked for.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self.inert: list[str] = []
        self.requests: list[Request] = []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._read_console)
        page.on("request", self._note_request)

    def _note_request(self, request: Request) -> None:
        self.requests.append(request)

    def _read_console(self, message: ConsoleMessage) -> None:
        # A refused request is reported too; what the page makes of it is tested.
        if message.type == "error" and "Failed to load resource" not in message.text:
            found = self.inert if message.text.startswith(INERT) else self.faults
            found.append(message.text)

    async def load(self, fragment: str = "") -> None:
        """Open the page and wait until it knows what the app can do."""
        async with self.page.expect_response("**/api/capabilities"):
            await self.page.goto(f"{self.url}/api/ui{fragment}")
        await self.page.locator("textarea").wait_for()

    async def start_anew(self) -> None:
        """Leave the tab as somebody finds it who was never here; loaded anew only if it must be."""
        await self.page.unroute_all(behavior="ignoreErrors")
        at_rest = "() => !document.querySelector('dialog, .notice, .stop:not([hidden])')"
        if self.page.url.startswith(f"{self.url}/api/ui") and await self.page.evaluate(at_rest):
            await self.page.set_viewport_size({"width": 1100, "height": 800})
            await self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
            await self.page.get_by_role("button", name="New conversation").click()
            await self.question.fill("")
        else:
            if self.page.url.startswith(self.url):
                await self.page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
            await self.page.goto("about:blank")
            await self.page.set_viewport_size({"width": 1100, "height": 800})
            await self.load()
        self.faults.clear()
        self.requests.clear()

    @property
    def question(self) -> Locator:
        return self.page.get_by_label("Your question")

    @property
    def turns(self) -> Locator:
        return self.page.locator("article.turn")

    @property
    def last(self) -> Locator:
        return self.turns.last

    @property
    def runs(self) -> Locator:
        return self.last.get_by_role("group", name="Python")

    async def send(self, question: str) -> None:
        """Type a question and send it; its answer may take."""
        await self.question.fill(question)
        await self.question.press("Enter")
        await self.last.get_by_text(question.split("\n")[0], exact=True).first.wait_for()

    async def ask(self, question: str) -> Locator:
        """Send a question and wait for the end of its answer."""
        await self.send(question)
        return await self.answered()

    async def answered(self) -> Locator:
        """The last turn, once it has ended."""
        await self.page.locator("article.turn:last-child[aria-busy=false]").wait_for()
        return self.last

    async def drop(self, *files: tuple[str, str]) -> None:
        """Drop files, each a name and its text, on the page."""
        transfer = await self.page.evaluate_handle(
            """files => {
              const transfer = new DataTransfer();
              for (const [name, text] of files) transfer.items.add(new File([text], name));
              return transfer;
            }""",
            [list(file) for file in files],
        )
        await self.page.dispatch_event("main", "drop", {"dataTransfer": transfer})

    async def files(self) -> Locator:
        """The names in the list of the conversation's files, which is opened if need be."""
        panel = self.page.get_by_role("complementary", name="Files of this conversation")
        if not await panel.is_visible():
            await self.page.get_by_role("button", name="Files (").click()
        return panel.locator(".file-name")

    async def text_of(self, locator: Locator) -> str:
        """What a person reads in it."""
        return " ".join((await locator.inner_text()).split())

    def foreign_requests(self) -> list[str]:
        """What was asked of any other origin."""
        own = urlsplit(self.url).netloc
        return [
            request.url
            for request in self.requests
            if urlsplit(request.url).scheme not in ("data", "blob")
            and urlsplit(request.url).netloc != own
        ]
