"""Pictures in questions over HTTP, sent by the official clients; what docs/pictures.md tells."""

import asyncio
import json
import re
import sys
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from local.azure_openai import CallTool, ChatRequest, Say
from local.azure_openai.images import images_of
from local.defaults import DEPLOYMENT
from tests.conftest import SharedAzure
from tests.end_to_end.test_openai_compatible import client_of
from tests.support import PROJECT
from tests.support.agui_client import install, run_client
from tests.support.functions_host import HostProcess
from tests.support.pictures import PICTURES, data_url
from tests.support.turns import tool_results

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG, JPEG, *_ = PICTURES.values()
OPEN = """from PIL import Image
from pathlib import Path
[Image.open(path).size for path in Path("/mnt/data").iterdir()]"""


def kinds(request: ChatRequest) -> list[str]:
    """The pictures that the model was shown with the last message."""
    return [image.kind for image in images_of(request.messages[-1:])]


async def test_openais_client_sends_a_picture_that_model_and_code_see(
    azure: SharedAzure, host: HostProcess
) -> None:
    def asked(url: str) -> list[ChatCompletionMessageParam]:
        image: Any = {"type": "image_url", "image_url": {"url": url}}
        return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]

    async with client_of(host) as client:
        with azure.model.script(CallTool(code=OPEN), Say("It is red.")) as script:
            completion = await client.chat.completions.create(
                model=DEPLOYMENT, messages=asked(data_url(JPEG, "image/jpeg"))
            )
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model=DEPLOYMENT, messages=asked("https://example.com/a.png")
            )
    assert completion.choices[0].message.content == "It is red."
    assert kinds(script.requests[0]) == ["jpeg"]
    assert json.loads(tool_results(script.requests[1])[0])["result"] == "[(20, 10)]"
    assert refused.value.param == "messages.0.content.1.image_url.url"
    assert "is not fetched: send the picture itself" in refused.value.message


async def test_the_ag_ui_client_sends_a_picture(azure: SharedAzure, host: HostProcess) -> None:
    source = {"type": "data", "value": data_url(PNG).partition(",")[2], "mimeType": "image/png"}
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    message = {"id": "1", "role": "user", "content": parts}
    with azure.model.script(CallTool(code=OPEN), Say("It is red.")) as script:
        report = await run_client(
            install(), url=f"{host.url}/api/agui", runs=[{"messages": [message]}]
        )
    assert report["errors"] == []
    assert report["messages"][-1]["content"] == "It is red."
    assert kinds(script.requests[0]) == ["png"]
    assert json.loads(tool_results(script.requests[1])[0])["result"] == "[(20, 10)]"


async def test_a_file_of_nobodys_conversation_is_not_left_out_in_silence(
    api: httpx2.AsyncClient,
) -> None:
    thread = "0" * 32
    source = {"type": "url", "value": f"/api/conversations/{thread}/files/a.png"}
    message = {"id": "1", "role": "user", "content": [{"type": "image", "source": source}]}
    run = {"threadId": thread, "runId": "r", "messages": [message], "tools": [], "context": []}
    refused = await api.post("/agui", json=run | {"state": {}, "forwardedProps": {}})
    assert refused.json()["field"] == "messages.0.content.0.source.value"
    assert refused.status_code == 400


async def test_an_upload_is_looked_at_and_the_history_names_it(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    conversation = f"/conversations/{(await api.post('/conversations')).json()['id']}"
    await api.post(f"{conversation}/files", files={"file": ("my photo.png", PNG)})
    asked = {"input": "What is it?", "conversation_id": conversation.rpartition("/")[2]}
    images = ["my photo.png", data_url(JPEG, "image/jpeg")]
    with azure.model.script(Say("It is red.")) as script:
        answer = await api.post("/chat", json=asked | {"images": images})
    assert answer.json()["output"] == "It is red."
    assert kinds(script.requests[0]) == ["jpeg", "png"]
    (turn,) = (await api.get(conversation)).json()["turns"]
    kept, own = turn["images"]
    assert own == "my photo.png"
    assert (await api.get(f"{conversation}/files/{kept}")).content == JPEG
    with azure.model.script(Say("Still red.")) as script:
        await api.post("/chat", json=asked)
    assert "my photo.png" in str(script.requests[0].messages[1].content)
    assert images_of(script.requests[0].messages) == []
    refused = (await api.post("/chat", json=asked | {"images": ["other.png"]})).json()
    assert (refused["status"], refused["field"]) == (400, "images.0")


async def test_a_body_is_as_large_as_its_pictures_may_be(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    large = data_url(PNG + bytes(8 * 1024**2 - len(PNG)))
    with azure.model.script(Say("It is red.")):
        answer = await api.post("/chat", json={"input": "What is it?", "images": [large]})
    assert answer.json()["output"] == "It is red."
    refused = await api.post("/chat", json={"input": "What is it?", "images": [large, large]})
    assert (refused.status_code, refused.json()["code"]) == (413, "PayloadTooLarge")
    capabilities = (await api.get("/capabilities")).json()
    assert capabilities["vision"] is True


async def test_what_its_page_tells_people_to_type_works(
    azure: SharedAzure, host: HostProcess
) -> None:
    page = (PROJECT / "docs/pictures.md").read_text("utf-8")
    page = page.replace("http://localhost:7071", host.url).replace("curl ", "curl -sS --fail ")
    ((shell,), (python,)) = (
        re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("bash", "python")
    )
    for program, text in (("bash", f"set -eu; {shell}"), (sys.executable, python)):
        with azure.model.script(Say("A dot.")) as script:
            process = await asyncio.create_subprocess_exec(
                *(program, "-c", text), stdout=asyncio.subprocess.PIPE
            )
            printed, _ = await process.communicate()
        assert (process.returncode, b"A dot." in printed) == (0, True)
        assert kinds(script.requests[0]) == ["gif"]
