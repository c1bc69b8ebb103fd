"""Questions with pictures, as each API has them, to models that can see and that cannot."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request

from agent.conversations.owner import ANONYMOUS
from agent.conversations.turn import start_turn
from agent.errors import AgentError
from agent.http.agui import read_run
from agent.http.bodies import read_chat
from agent.http.openai.answers import read_completion, turn_request
from agent.http.pictures import fetched
from agent.memory import Memory
from agent.runtime import Runtime
from agent.turns.files import in_chunks
from agent.turns.turn import FileToSee, TurnRequest, stateless_turn
from local.azure_openai import CallTool, ChatRequest, Say
from local.azure_openai.requests import ImagePart, TextPart
from tests.agent.test_pictures import ODD_URLS, PNG
from tests.conftest import OpenRuntime, SharedAzure
from tests.support.pictures import PICTURES, WEBP_LOSSLESS, WEBP_WITH_ALPHA, data_url
from tests.support.telemetry import recorded
from tests.support.turns import collect, tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = [*PICTURES.items(), ("image/webp", WEBP_LOSSLESS), ("image/webp", WEBP_WITH_ALPHA)]
URLS = [data_url(content, media_type) for media_type, content in ALL]
QUESTION = "What is on these?"
# What Pillow makes of each file in the session.
OPEN_ALL = """from pathlib import Path
from PIL import Image
for path in sorted(Path("/mnt/data").iterdir()):
    image = Image.open(path)
    image.load()
    print(path.name, image.format, *image.size)"""


async def by_json(urls: list[str], **fields: object) -> TurnRequest:
    body = json.dumps({"input": QUESTION, "images": urls, **fields}).encode()
    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    return (await read_chat(Request(scope, receive), Memory().share(), 1000)).turn


async def by_agui(parts: list[dict[str, Any]], *before: dict[str, Any]) -> TurnRequest:
    question = {"role": "user", "content": [{"type": "text", "text": QUESTION}, *parts]}
    messages = [message | {"id": str(n)} for n, message in enumerate([*before, question])]
    run = {"threadId": "t", "runId": "r", "messages": messages, "tools": [], "context": []}
    body = json.dumps(run | {"state": {}, "forwardedProps": {}}).encode()
    return read_run(body, 1000).request


def agui_url(url: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "url", "value": url}}


async def by_agui_url(urls: list[str]) -> TurnRequest:
    return await by_agui([agui_url(url) for url in urls])


async def by_agui_data(urls: list[str]) -> TurnRequest:
    parts: list[dict[str, Any]] = []
    for url in urls:
        head, _, data = url.partition(";base64,")
        source = {"type": "data", "value": data, "mimeType": head.removeprefix("data:")}
        parts.append({"type": "image", "source": source, "metadata": {"detail": "low"}})
    return await by_agui(parts)


def openai_image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


async def by_openai(urls: list[str], *before: dict[str, Any]) -> TurnRequest:
    content = [{"type": "text", "text": QUESTION}, *map(openai_image, urls)]
    messages = [*before, {"role": "user", "content": content}]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    return turn_request(read_completion(body), "m", 1000)


type Surface = Callable[[list[str]], Awaitable[TurnRequest]]
# Surface → the field that names its first picture.
SURFACES: Mapping[Surface, str] = {
    by_json: "images.0",
    by_agui_url: "messages.0.content.1.source.value",
    by_openai: "messages.0.content.1.image_url.url",
}


@dataclass(frozen=True)
class Model:
    """A deployment that sees or does not, and an app that knows."""

    runtime: Runtime
    sees: bool


@pytest_asyncio.fixture(params=["questions", "none"], loop_scope="session")
async def model(
    request: pytest.FixtureRequest, azure: SharedAzure, open_runtime: OpenRuntime, tmp_path: Path
) -> AsyncIterator[Model]:
    settings = {"azure_openai_vision": request.param, "conversations_url": tmp_path.as_uri()}
    azure.stack.openai.sees = request.param != "none"
    async with open_runtime(**settings) as runtime:
        yield Model(runtime, azure.stack.openai.sees)
    azure.stack.openai.sees = True


def shown(request: ChatRequest) -> list[tuple[str, bytes, str | None]]:
    """Pictures of the last message: media type, content and detail."""
    content = request.messages[-1].content
    if isinstance(content, str) or content is None:
        return []
    urls = [part.image_url for part in content if isinstance(part, ImagePart)]
    parts = [(url.url.partition(";base64,"), url.detail) for url in urls]
    return [(p[0].removeprefix("data:"), base64.b64decode(p[2]), detail) for p, detail in parts]


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def text(request: ChatRequest, at: int = -1) -> str:
    content = request.messages[at].content
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content or () if isinstance(part, TextPart))


@pytest.mark.parametrize("surface", [*SURFACES, by_agui_data])
async def test_a_model_that_sees_is_shown_all_and_code_finds_them(
    azure: SharedAzure, model: Model, surface: Surface
) -> None:
    asked = await surface(URLS)
    names = [picture.name for picture in asked.pictures]
    with azure.model.script(CallTool(code=OPEN_ALL), Say("Red.")) as script:
        turn = await collect(stateless_turn(model.runtime.turns, asked))
    first, second = script.requests
    detail = None if surface in (by_json, by_agui_url) else "low"
    assert shown(first) == ([(*each, detail) for each in ALL] if model.sees else [])
    how = "shown with this message alone" if model.sees else "which you cannot see"
    assert text(first).splitlines() == [
        QUESTION,
        *(f"[image: {name}, 20x10, {how}; in /mnt/data]" for name in names),
    ]
    opened = json.loads(tool_results(second)[0])["stdout"].split()
    assert opened[0::4] == sorted(names)
    assert set(opened[1::4]) == {"PNG", "JPEG", "GIF", "WEBP"}
    assert set(opened[2::4] + opened[3::4]) == {"20", "10"}
    codes = [warning.code for warning in turn.finished.warnings]
    assert codes == ([] if model.sees else ["PicturesNotSeen"])


async def test_uploads_are_looked_at_where_the_question_names_them(
    azure: SharedAzure, model: Model
) -> None:
    services = await model.runtime.conversations()
    async with services.store.start(ANONYMOUS) as held:
        conversation = held.conversation.id
    names = [f"own {n}.bin" for n in range(len(ALL))]
    for name, (_, content) in zip(names, ALL, strict=True):
        await services.store.put_file(ANONYMOUS, conversation, name, in_chunks(content))
    asked = await by_json(names[:3], conversation_id=conversation)
    with azure.model.script(CallTool(code=OPEN_ALL), Say("Red."), Say("Still red.")) as script:
        await collect(aiter(await start_turn(services, ANONYMOUS, conversation, asked)))
        again = TurnRequest("And now?")
        await collect(aiter(await start_turn(services, ANONYMOUS, conversation, again)))
    first, second, third = script.requests
    assert shown(first) == ([(*each, None) for each in ALL[:3]] if model.sees else [])
    assert "[image: own 0.bin, 20x10, " in text(first)
    assert json.loads(tool_results(second)[0])["stdout"].count("20 10") == len(ALL)
    # The next turn reads their names.
    assert not any(isinstance(m.content, list) for m in third.messages)
    assert "[image: own 2.bin, 20x10, " in text(third, 1)
    stored = await services.store.get(ANONYMOUS, conversation)
    assert [turn.images for turn in stored.turns] == [tuple(names[:3]), ()]


async def test_pictures_of_a_conversation_are_its_files_and_not_its_history(
    azure: SharedAzure, model: Model, tmp_path: Path
) -> None:
    services = await model.runtime.conversations()
    asked = await by_openai(URLS[:2])
    with azure.model.script(Say("Red.")) as script:
        turn = await start_turn(services, ANONYMOUS, None, asked)
        await collect(aiter(turn))
    assert len(shown(script.requests[0])) == (2 if model.sees else 0)
    kept = await services.store.list_files(ANONYMOUS, turn.conversation_id)
    assert {file.name for file in kept} == {picture.name for picture in asked.pictures}
    again = replace(asked, pictures=(), looks_at=(FileToSee(asked.pictures[1].name, "x.0"),))
    with azure.model.script(Say("Red.")) as script:
        await collect(aiter(await start_turn(services, ANONYMOUS, turn.conversation_id, again)))
    expected = [(*ALL[1], None)] if model.sees else []
    assert shown(script.requests[0]) == expected
    written = all_bytes(tmp_path)
    assert all(content in written for _, content in ALL[:2]), "the files are there"
    for url in URLS[:2]:
        assert url.partition(",")[2][:40].encode() not in written


async def test_pictures_of_earlier_messages_are_files_that_the_text_names(
    azure: SharedAzure, model: Model
) -> None:
    answer = {"role": "assistant", "content": "Red."}
    before = {"role": "user", "content": [openai_image(URLS[0]), {"type": "text", "text": "Eh?"}]}
    requests = [
        await by_openai(URLS[1:2], before, answer),
        await by_agui([agui_url(URLS[1])], before | {"content": [agui_url(URLS[0])]}, answer),
    ]
    for asked in requests:
        with azure.model.script(CallTool(code=OPEN_ALL), Say("Red.")) as script:
            await collect(stateless_turn(model.runtime.turns, asked))
        first, second = script.requests
        assert [content for _, content, _ in shown(first)] == ([ALL[1][1]] if model.sees else [])
        assert f"[image: {asked.earlier_pictures[0].name}]" in text(first, 1)
        assert json.loads(tool_results(second)[0])["stdout"].count("20 10") == 2


async def test_neither_logs_nor_spans_hold_a_picture(
    azure: SharedAzure, open_runtime: OpenRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"azure_openai_vision": "figures", "log_content": True}
    plot = "import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()"
    with caplog.at_level("INFO"), recorded(content=True) as taken:
        async with open_runtime(**settings) as runtime:
            for asked in [await by_json(URLS), await by_agui_data(URLS), await by_openai(URLS)]:
                with azure.model.script(CallTool(code=plot), Say("Red.")) as script:
                    await collect(stateless_turn(runtime.turns, asked))
            with azure.model.using(lambda _: Say("Red.")):
                azure.stack.openai.sees = False
                turn = await collect(stateless_turn(runtime.turns, asked))
                azure.stack.openai.sees = True
    assert len(shown(script.requests[1])) == 1, "the figure"
    assert turn.error_code == "ModelFailed"
    exported = [span.to_json() for span in taken.spans]
    assert any(QUESTION in text for text in exported), "content is recorded"
    for text in [caplog.text, *exported]:
        assert "iVBORw0KGgo" not in text
        assert not any(url.partition(",")[2][:30] in text for url in URLS)


@pytest.mark.parametrize("surface", SURFACES)
async def test_what_is_no_picture_is_refused_by_the_field_of_each_api(surface: Surface) -> None:
    for url, words in ODD_URLS.items():
        if surface is by_json and words == "is not fetched" and ":" not in url:
            continue  # the name of a file
        with pytest.raises(AgentError) as refused:
            await fetched(await surface([url]), None)
        assert refused.value.field == SURFACES[surface]
        assert f"`{SURFACES[surface]}` " in refused.value.detail


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_question_has_ten_different_pictures(surface: Surface) -> None:
    different = [data_url(PNG + bytes([n])) for n in range(11)]
    assert len((await surface([*different[:10], *different[:1]])).pictures) == 10
    with pytest.raises(AgentError, match="has 11 pictures; a question may have 10") as refused:
        await surface(different)
    assert refused.value.status == 413


async def test_a_picture_alone_is_a_question() -> None:
    alone = {"role": "user", "content": [openai_image(URLS[0])]}
    body = json.dumps({"model": "m", "messages": [alone]}).encode()
    asked = turn_request(read_completion(body), "m", 1000)
    assert (asked.question, len(asked.pictures)) == ("", 1)


async def test_the_address_of_a_conversations_file_leads_to_it_there_alone() -> None:
    own, other = "a" * 32, "b" * 32
    url = f"/api/conversations/{own}/files/my%20photo.png"
    message = {"role": "user", "content": [{"type": "text", "text": "Eh?"}, openai_image(url)]}
    completion = read_completion(json.dumps({"model": "m", "messages": [message]}).encode())
    asked = turn_request(completion, "m", 1000, own)
    assert [file.name for file in asked.looks_at] == ["my photo.png"]
    for conversation in (other, "new", None):
        with pytest.raises(AgentError, match="is not fetched"):
            turn_request(completion, "m", 1000, conversation)


@pytest.mark.parametrize("conversation", [{}, {"conversation_id": "new"}])
async def test_a_name_needs_a_conversation(conversation: dict[str, str]) -> None:
    with pytest.raises(AgentError, match="which only a conversation has") as refused:
        await by_json([URLS[0], "photo.png"], **conversation)
    assert refused.value.field == "images.1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "names no file of the conversation"),
        (b"city,people\n", "is no picture that a model can be shown"),
        (b"", "is no picture"),
        (PNG + bytes(9 * 1024**2), "has more than 8,388,608 bytes"),
    ],
)
async def test_a_file_that_is_no_picture_ends_the_turn_before_it_begins(
    open_runtime: OpenRuntime, tmp_path: Path, content: bytes | None, words: str
) -> None:
    async with open_runtime(
        azure_openai_vision="questions", conversations_url=tmp_path.as_uri()
    ) as runtime:
        services = await runtime.conversations()
        async with services.store.start(ANONYMOUS) as held:
            conversation = held.conversation.id
        if content is not None:
            await services.store.put_file(ANONYMOUS, conversation, "a.png", in_chunks(content))
        asked = await by_json(["a.png"], conversation_id=conversation)
        with pytest.raises(AgentError, match=words) as refused:
            await start_turn(services, ANONYMOUS, conversation, asked)
        assert refused.value.field == "images.0"
        # It is free for the next question.
        await (await start_turn(services, ANONYMOUS, conversation, TurnRequest("Hi"))).aclose()
