"""Files on the page: attach, list, preview, download, delete."""

import re
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Locator, Route, expect

from local.azure_openai import CallTool, Say
from local.azure_openai.images import images_of
from tests.conftest import SharedAzure
from tests.page.chat_page import ChatPage, picture_width
from tests.page.test_everybody import violations
from tests.support.pictures import PICTURES

pytestmark = pytest.mark.asyncio(loop_scope="session")

SALES = "city,people\nBerne,133\nZurich,402\n"
READ = "print(open('/mnt/data/sales.csv').read())"


def attachments(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("list", name="Attached files").locator(".attachment")


async def attached(chat: ChatPage, count: int) -> None:
    """Wait until so many files are uploaded."""
    await expect(attachments(chat)).to_have_count(count)
    await expect(attachments(chat).locator("progress")).to_have_count(0)


async def test_files_attached_by_button_before_the_first_question_are_there_for_its_code(
    chat: ChatPage, azure: SharedAzure
) -> None:
    async with chat.page.expect_file_chooser() as chooser:
        await chat.page.get_by_role("button", name="Attach files").click()
    files: list[FilePayload] = [
        {"name": "sales.csv", "mimeType": "text/csv", "buffer": SALES.encode()},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"},
    ]
    await (await chooser.value).set_files(files)
    await attached(chat, 2)
    with azure.model.script(CallTool(code=READ), Say("Read.")):
        await chat.ask("Read sales.csv")
    await expect(chat.runs).to_contain_text("Zurich,402")
    await expect(attachments(chat)).to_have_count(0)
    await expect(await chat.files()).to_have_text(["notes.txt", "sales.csv"])


async def test_files_can_be_dropped_several_at_once(chat: ChatPage) -> None:
    await chat.drop(("sales.csv", SALES), ("ünïcode 文.txt", "x"))
    await attached(chat, 2)
    await expect(await chat.files()).to_have_text(["sales.csv", "ünïcode 文.txt"])


async def paste(chat: ChatPage, name: str) -> None:
    await chat.question.focus()
    await chat.page.evaluate(
        """name => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File(["x"], name, { type: "image/png" }));
          const event = new ClipboardEvent("paste", { clipboardData, bubbles: true });
          document.activeElement.dispatchEvent(event);
        }""",
        name,
    )


async def test_files_can_be_pasted_and_pictures_of_the_clipboard_have_names_of_their_own(
    chat: ChatPage,
) -> None:
    for name in ("notes.txt", "image.png", "image.png"):
        await paste(chat, name)
    await attached(chat, 3)
    files = await chat.files()
    await expect(files).to_have_count(3)
    notes, *pictures = await files.all_inner_texts()
    assert notes == "notes.txt"
    assert len(set(pictures)) == 2
    assert all(re.fullmatch(r"pasted-[\dT-]{23}\.png", name) for name in pictures)


async def test_an_upload_shows_how_far_it_is_and_can_be_cancelled(chat: ChatPage) -> None:
    async def never(route: Route) -> None:
        del route  # stays open until it is cancelled

    await chat.page.route("**/files", never)
    async with chat.page.expect_request("**/files"):
        await chat.drop(("big.bin", "x" * 1000))
    bar = chat.page.get_by_role("progressbar", name="Upload of big.bin")
    await expect(bar).to_be_visible()
    await chat.question.fill("Not yet.")
    await expect(chat.page.get_by_role("button", name="Send")).to_be_disabled()
    async with chat.page.expect_event("requestfailed"):
        await chat.page.get_by_role("button", name="Cancel the upload of big.bin").click()
    await expect(attachments(chat)).to_have_count(0)
    await expect(chat.page.get_by_role("button", name="Send")).to_be_enabled()


async def test_a_refused_upload_says_why(chat: ChatPage) -> None:
    async def refuse(route: Route) -> None:
        problem = {"code": "PayloadTooLarge", "status": 413, "detail": "A file may have 1 byte."}
        await route.fulfill(status=413, json=problem, content_type="application/problem+json")

    await chat.page.route("**/files", refuse)
    await chat.drop(("big.bin", "xx"))
    await expect(attachments(chat)).to_contain_text("A file may have 1 byte.")
    await chat.page.get_by_role("button", name="Remove big.bin").click()
    await expect(attachments(chat)).to_have_count(0)


async def test_an_attached_file_can_be_taken_back_before_it_is_sent(chat: ChatPage) -> None:
    await chat.drop(("sales.csv", SALES), ("other.txt", "x"))
    await attached(chat, 2)
    await chat.page.get_by_role("button", name="Remove sales.csv").click()
    await expect(chat.page.get_by_role("button", name="Files (1)")).to_be_visible()
    await expect(await chat.files()).to_have_text(["other.txt"])


async def test_a_file_that_code_made_is_listed_in_its_card_and_in_the_panel(
    chat: ChatPage, azure: SharedAzure
) -> None:
    code = "open('/mnt/data/made.txt', 'w').write('hello')"
    with azure.model.script(
        CallTool(code=code), Say("See [the file](sandbox:/mnt/data/made.txt).")
    ):
        turn = await chat.ask("Write.")
    await expect(chat.runs.get_by_role("button", name="Preview made.txt")).to_contain_text("5 B")
    await expect(
        turn.locator(".prose").get_by_role("button", name="Download made.txt")
    ).to_be_visible()
    await expect(await chat.files()).to_have_text(["made.txt"])


async def test_a_file_of_an_earlier_turn_can_be_had_where_the_model_names_it(
    chat: ChatPage, azure: SharedAzure
) -> None:
    code = "import os; os.mkdir('/mnt/data/sub'); open('/mnt/data/sub/a b.txt', 'w').write('hello')"
    with azure.model.script(CallTool(code=code), Say("Written.")):
        await chat.ask("Write.")
    address = f"/api/conversations/{chat.page.url.rpartition('#')[2]}/files/sub/a%20b.txt"
    with azure.model.script(Say(f"[It]({address}), ![it]({address}), [no](/api/chat?input=x)")):
        turn = await chat.ask("Where is it?")
    prose = turn.locator(".prose")
    await expect(prose.get_by_role("button", name="Download sub/a b.txt")).to_have_count(2)
    assert not any(request.url.endswith(address) for request in chat.requests)
    await expect(prose.get_by_role("link")).to_have_count(0)
    await prose.get_by_role("button", name="Preview sub/a b.txt").first.click()
    await expect(chat.page.get_by_role("dialog")).to_contain_text("hello")
    await chat.page.keyboard.press("Escape")
    async with chat.page.expect_download() as download:
        await prose.get_by_role("button", name="Download sub/a b.txt").first.click()
    assert (await download.value).suggested_filename == "a b.txt"


async def test_a_download_has_the_name_and_the_content_of_the_file(
    chat: ChatPage, tmp_path: Path
) -> None:
    await chat.drop(("sales.csv", SALES))
    await attached(chat, 1)
    await chat.files()
    async with chat.page.expect_download() as download:
        await chat.page.get_by_role("button", name="Download sales.csv").click()
    value = await download.value
    assert value.suggested_filename == "sales.csv"
    await value.save_as(tmp_path / "it")
    assert (tmp_path / "it").read_text() == SALES


async def test_a_file_is_deleted_after_a_question(chat: ChatPage) -> None:
    await chat.drop(("sales.csv", SALES), ("other.txt", "x"))
    await attached(chat, 2)
    await chat.files()
    await chat.page.get_by_role("button", name="Delete sales.csv").click()
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_role("button", name="Files (1)")).to_be_visible()
    await expect(await chat.files()).to_have_text(["other.txt"])


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("a.csv", SALES, "table >> td:has-text('Zurich')"),
        ("semicolon.csv", "a;b\n1,5;2\n", "td:text-is('1,5')"),
        ("a.tsv", "a\tb\nx\ty\n", "td:text-is('y')"),
        ("a.json", '{"a":[1,2]}', ".hljs-attr:has-text('a')"),
        ("broken.json", '{"a":', "pre:has-text('{\"a\":')"),
        ("a.txt", "hello\nworld", "pre:has-text('world')"),
        ("a.py", "def f(): pass", ".hljs-keyword:has-text('def')"),
        ("a.html", "<table><tr><td>cell</td></tr></table>", "td:text-is('cell')"),
        ("page.html", "<p>text</p>", "iframe[sandbox='']"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>', "img[src^='data:image/svg']"),
        ("a.bin", "\0\0", "p:has-text('there is no preview')"),
    ],
)
async def test_a_file_has_a_preview_of_its_kind(
    chat: ChatPage, name: str, content: str, shown: str
) -> None:
    await chat.drop((name, content))
    await attached(chat, 1)
    await chat.files()
    await chat.page.get_by_role("button", name=f"Preview {name}").click()
    dialog = chat.page.get_by_role("dialog", name=name)
    await expect(dialog.locator(shown).first).to_be_attached()
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)


async def test_a_long_table_shows_its_first_rows(chat: ChatPage) -> None:
    await chat.drop(("long.csv", "n\n" + "".join(f"{n}\n" for n in range(200_000))))
    await attached(chat, 1)
    await chat.files()
    await chat.page.get_by_role("button", name="Preview long.csv").click()
    dialog = chat.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("The first 50 rows.")
    await expect(dialog.locator("tbody tr")).to_have_count(50)


def picture(name: str, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": PICTURES[kind]}


async def choose(chat: ChatPage, *files: FilePayload) -> None:
    async with chat.page.expect_file_chooser() as chooser:
        await chat.page.get_by_role("button", name="Attach files").click()
    await (await chooser.value).set_files(list(files))
    await attached(chat, len(files))


def eye(chat: ChatPage, name: str) -> Locator:
    return chat.page.get_by_role("button", name=f"Let the model look at {name}")


async def test_the_model_looks_at_pictures_that_are_marked(
    chat: ChatPage, azure: SharedAzure
) -> None:
    csv = FilePayload(name="sales.csv", mimeType="text/csv", buffer=SALES.encode())
    await choose(chat, picture("one.png"), picture("two é.gif", "image/gif"), csv)
    await expect(eye(chat, "one.png")).to_have_attribute("aria-pressed", "true")
    await expect(chat.page.get_by_role("button", name="Let the model look at")).to_have_count(2)
    assert await violations(chat) == []
    await eye(chat, "one.png").click()
    await expect(eye(chat, "one.png")).to_have_attribute("aria-pressed", "false")
    with azure.model.script(Say("A dot."), Say("Again.")) as script:
        turn = await chat.ask("What is on it?")
        thumbnail = turn.get_by_role("img", name="two é.gif")
        await expect(turn.locator(".thumbnail")).to_have_count(1)
        assert await picture_width(thumbnail)
        # Edited, it is asked again with its picture.
        await turn.hover()
        await turn.get_by_role("button", name="Edit and ask again").click()
        await expect(eye(chat, "two é.gif")).to_have_attribute("aria-pressed", "true")
        await chat.ask("And now?")
    assert [[image.kind for image in images_of(r.messages[-1:])] for r in script.requests] == [
        ["gif"],
        ["gif"],
    ]
    await chat.page.reload()
    await expect(chat.turns.first.get_by_role("img", name="two é.gif")).to_be_visible()
    await chat.turns.first.locator(".thumbnail").click()
    await expect(chat.page.locator("dialog img")).to_be_visible()
    await chat.page.keyboard.press("Escape")


async def test_a_model_that_cannot_see_has_no_eye(chat: ChatPage) -> None:
    async def blind(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(json=await response.json() | {"vision": False})

    await chat.page.route("**/api/capabilities", blind)
    await chat.page.reload()
    await choose(chat, picture("one.png"))
    await expect(attachments(chat).locator("img")).to_be_visible()
    await expect(chat.page.get_by_role("button", name="Let the model look at")).to_have_count(0)
    await chat.page.unroute_all(behavior="ignoreErrors")
    await chat.page.reload()
