"""Conversations and their files over HTTP, kept in a folder, in real sessions."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from local.azure_openai import CallTool, ChatRequest, Say, Slow
from tests.conftest import SharedAzure
from tests.end_to_end.sessions import live_sessions
from tests.support import PROJECT
from tests.support.functions_host import host_process

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNKNOWN = "0" * 32


type Answer = dict[str, Any]
type Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
def ask(azure: SharedAzure, api: httpx2.AsyncClient) -> Ask:
    """Ask in a conversation; the model follows the script."""

    async def ask_it(conversation_id: str, *steps: CallTool | Say) -> Answer:
        with azure.model.script(*steps):
            body = {"input": "Go on.", "conversation_id": conversation_id}
            reply = await api.post("/chat", json=body)
        assert reply.status_code == 200, reply.text
        answer: Answer = reply.json()
        return answer

    return ask_it


async def test_a_conversation_keeps_its_variables_and_its_history(
    azure: SharedAzure, api: httpx2.AsyncClient, ask: Ask
) -> None:
    started = await ask("new", CallTool(code="x = 20"), Say("Noted."))
    conversation_id = started["conversation_id"]
    with azure.model.script(CallTool(code="x + 22"), Say("42.")) as script:
        body = {"input": "And now?", "conversation_id": conversation_id}
        answer = (await api.post("/chat", json=body)).json()
    assert answer["conversation_id"] == conversation_id
    assert answer["executions"][0]["result"] == "42"
    assert answer["warnings"] == []
    roles = [message.role for message in script.requests[0].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_a_conversation_can_be_read_and_deleted(api: httpx2.AsyncClient, ask: Ask) -> None:
    conversation_id = (await ask("new", CallTool(code="1 + 1"), Say("Two.")))["conversation_id"]
    shown = (await api.get(f"/conversations/{conversation_id}")).json()
    (turn,) = shown["turns"]
    assert (turn["input"], turn["output"]) == ("Go on.", "Two.")
    assert turn["executions"][0]["result"] == "2"
    assert shown["earlier_turns"] == 0
    assert (await api.delete(f"/conversations/{conversation_id}")).status_code == 204
    gone = await api.get(f"/conversations/{conversation_id}")
    assert (gone.status_code, gone.json()["code"]) == (404, "ConversationNotFound")


async def test_a_deleted_conversation_gives_its_session_back(
    azure: SharedAzure, api: httpx2.AsyncClient, ask: Ask
) -> None:
    before = await live_sessions(azure)
    conversation_id = (await ask("new", CallTool(code="1"), Say("One.")))["conversation_id"]
    assert await live_sessions(azure) == before + 1
    await api.delete(f"/conversations/{conversation_id}")
    assert await live_sessions(azure) == before


async def test_an_uploaded_file_can_be_read_by_code_and_downloaded(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", Say("Send it.")))["conversation_id"]
    files = [
        ("file", ("data.csv", b"a,b\n1,2\n", "text/csv")),
        ("file", ("größe 2.txt", b"zwei", "text/plain")),
    ]
    reply = await api.post(f"/conversations/{conversation_id}/files", files=files)
    assert reply.status_code == 201, reply.text
    assert [f["name"] for f in reply.json()["files"]] == ["data.csv", "größe 2.txt"]
    code = "import os; print(sorted(os.listdir('/mnt/data')), open('/mnt/data/data.csv').read())"
    answer = await ask(conversation_id, CallTool(code=code), Say("Read."))
    assert answer["executions"][0]["stdout"] == "['data.csv', 'größe 2.txt'] a,b\n1,2\n\n"
    assert answer["files"] == []
    url = reply.json()["files"][1]["url"].removeprefix("/api")
    got = await api.get(url)
    assert got.content == b"zwei"
    assert got.headers["content-type"].startswith("text/plain")
    assert got.headers["content-disposition"].startswith("attachment;")
    assert got.headers["x-content-type-options"] == "nosniff"


async def test_a_file_uploaded_to_a_live_session_replaces_the_one_there(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    write = CallTool(code="open('/mnt/data/n.txt', 'w').write('1')")
    conversation_id = (await ask("new", write, Say("Written.")))["conversation_id"]
    files = {"file": ("n.txt", b"2")}
    await api.post(f"/conversations/{conversation_id}/files", files=files)
    read = CallTool(code="open('/mnt/data/n.txt').read()")
    answer = await ask(conversation_id, read, Say("Read."))
    assert answer["executions"][0]["result"] == "2"


async def test_files_and_figures_of_a_turn_have_addresses_that_work(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    code = (
        "open('/mnt/data/out.csv', 'w').write('x')\n"
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    )
    answer = await ask("new", CallTool(code=code), Say("Done."))
    got = {}
    for file in answer["files"]:
        reply = await api.get(file["url"].removeprefix("/api"))
        assert reply.status_code == 200
        assert len(reply.content) == file["size_bytes"]
        got[file["name"]] = reply.content
    assert got["out.csv"] == b"x"
    assert got["image-1-1.png"].startswith(b"\x89PNG")
    listed = await api.get(f"/conversations/{answer['conversation_id']}/files")
    assert {f["name"] for f in listed.json()["files"]} == set(got)


async def test_a_file_has_one_media_type_wherever_it_is_named(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    names = ["a.csv.gz", "a.parquet", "a.webp", "a.xyz"]
    code = f"for name in {names}: open('/mnt/data/' + name, 'w').write('x')"
    answer = await ask("new", CallTool(code=code), Say("Done."))
    listed = (await api.get(f"/conversations/{answer['conversation_id']}/files")).json()["files"]
    in_answer = {file["name"]: file["media_type"] for file in answer["files"]}
    assert in_answer == {file["name"]: file["media_type"] for file in listed}
    assert in_answer["a.csv.gz"] == "application/gzip"
    for name in names:
        url = f"/conversations/{answer['conversation_id']}/files/{name}"
        assert (await api.get(url)).headers["content-type"] == in_answer[name]


async def test_a_lost_session_is_noticed_and_its_files_are_put_back(
    azure: SharedAzure, api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", CallTool(code="x = 1"), Say("Set.")))["conversation_id"]
    files = {"file": ("kept.txt", b"still here")}
    await api.post(f"/conversations/{conversation_id}/files", files=files)
    azure.stack.pool.faults.lose_sessions()
    steps = (CallTool(code="print(open('/mnt/data/kept.txt').read()); x"), Say("Gone."))
    with azure.model.script(*steps) as script:
        body = {"input": "x?", "conversation_id": conversation_id}
        answer = (await api.post("/chat", json=body)).json()
    (execution,) = answer["executions"]
    assert execution["stdout"] == "still here\n"
    assert "NameError" in execution["stderr"]
    assert [w["code"] for w in answer["warnings"]] == ["SessionLost"]
    assert "replaced by a new one" in str(script.requests[1].messages[-1].content)


async def test_a_second_turn_at_the_same_time_has_to_wait(
    azure: SharedAzure, api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    body = {"input": "Go on.", "conversation_id": conversation_id}
    azure.stack.openai.faults.inject(Slow(before_answer_s=3))
    asked = asyncio.Event()

    def answers_late(_: ChatRequest) -> Say:
        asked.set()
        return Say("First.")

    with azure.model.using(answers_late):
        first = asyncio.create_task(api.post("/chat", json=body))
        await asked.wait()
        second = await api.post("/chat", json=body)
        assert (await first).json()["output"] == "First."
    assert (second.status_code, second.json()["code"]) == (409, "ConversationBusy")
    assert int(second.headers["retry-after"]) > 0


async def test_a_turn_whose_caller_hangs_up_leaves_no_trace_and_lets_go(
    azure: SharedAzure, api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    azure.stack.openai.faults.inject(Slow(before_answer_s=20))
    body = {"input": "Never mind.", "conversation_id": conversation_id}
    with pytest.raises(httpx2.ReadTimeout):
        await api.post("/chat", json=body, timeout=0.5)
    async with asyncio.timeout(5):
        while True:
            with azure.model.using(lambda _: Say("Here.")):
                reply = await api.post("/chat", json=body | {"input": "Still there?"})
            if reply.status_code == 200:
                break
    turns = (await api.get(f"/conversations/{conversation_id}")).json()["turns"]
    assert [turn["input"] for turn in turns] == ["Go on.", "Still there?"]


async def test_a_conversation_outlives_the_worker(
    azure: SharedAzure, settings: dict[str, str], ask: Ask
) -> None:
    conversation_id = (await ask("new", CallTool(code="y = 5"), Say("Set.")))["conversation_id"]
    with host_process(PROJECT, environment=settings) as another:
        another.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{another.url}/api", timeout=60) as api:
            with azure.model.script(CallTool(code="y"), Say("Five.")):
                body = {"input": "y?", "conversation_id": conversation_id}
                answer = (await api.post("/chat", json=body)).json()
    assert answer["executions"][0]["result"] == "5"


@pytest.mark.parametrize(
    ("conversation_id", "status"), [(UNKNOWN, 404), ("other", 400), ("", 400), (5, 400)]
)
async def test_an_unknown_conversation_is_not_made(
    api: httpx2.AsyncClient, conversation_id: object, status: int
) -> None:
    reply = await api.post("/chat", json={"input": "Hi", "conversation_id": conversation_id})
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize("name", ["a//b.txt", "..", "x" * 300, "a/../b"])
async def test_a_file_name_that_the_pool_does_not_take_is_refused(
    api: httpx2.AsyncClient, ask: Ask, name: str
) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    reply = await api.post(f"/conversations/{conversation_id}/files", files={"file": (name, b"x")})
    assert reply.status_code == 400, reply.text
    assert reply.json()["code"] == "InvalidRequest"


async def test_a_file_that_is_not_there_is_a_404(api: httpx2.AsyncClient, ask: Ask) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    for method in ("GET", "DELETE"):
        reply = await api.request(method, f"/conversations/{conversation_id}/files/no.txt")
        assert (reply.status_code, reply.json()["code"]) == (404, "FileNotFound")


async def test_a_deleted_file_is_gone_from_store_and_session(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    write = CallTool(code="open('/mnt/data/n.txt', 'w').write('1')")
    conversation_id = (await ask("new", write, Say("Written.")))["conversation_id"]
    path = f"/conversations/{conversation_id}/files/n.txt"
    assert (await api.delete(path)).status_code == 204
    look = CallTool(code="import os; os.listdir('/mnt/data')")
    answer = await ask(conversation_id, look, Say("Empty."))
    assert answer["executions"][0]["result"] == "[]"


async def test_an_upload_that_is_no_form_is_refused(api: httpx2.AsyncClient, ask: Ask) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    reply = await api.post(f"/conversations/{conversation_id}/files", json={"file": "x"})
    assert reply.status_code == 415
    empty = {"content-type": "multipart/form-data; boundary=B"}
    reply = await api.post(
        f"/conversations/{conversation_id}/files", content=b"--B--\r\n", headers=empty
    )
    assert reply.status_code == 400


async def test_a_worker_that_is_killed_in_a_turn_leaves_the_conversation_as_it_was(
    azure: SharedAzure, settings: dict[str, str], api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", CallTool(code="z = 1"), Say("Set.")))["conversation_id"]
    body = {"input": "Never answered.", "conversation_id": conversation_id}
    with host_process(PROJECT, environment=settings) as doomed:
        doomed.wait_until_ready()
        asked = asyncio.Event()

        def answers_late(_: ChatRequest) -> CallTool:
            asked.set()
            return CallTool(code="import time; time.sleep(20)")

        async with httpx2.AsyncClient(base_url=f"{doomed.url}/api", timeout=60) as client:
            with azure.model.using(answers_late):
                turn = asyncio.create_task(client.post("/chat", json=body))
                await asked.wait()
                await asyncio.to_thread(doomed.stop, signal.SIGKILL)
            with pytest.raises(httpx2.TransportError):
                await turn
    shown = (await api.get(f"/conversations/{conversation_id}")).json()
    assert [turn["input"] for turn in shown["turns"]] == ["Go on."]
    assert (await ask(conversation_id, Say("Here.")))["output"] == "Here."


async def test_with_sign_in_a_conversation_is_its_owners_alone(
    azure: SharedAzure, settings: dict[str, str]
) -> None:
    def principal(name: str) -> dict[str, str]:
        return {"x-ms-client-principal-id": name, "x-ms-client-principal-idp": "aad"}

    ada = principal("ada")
    body = {"input": "Hi", "conversation_id": "new"}
    with host_process(PROJECT, environment=settings | {"WEBSITE_AUTH_ENABLED": "True"}) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as api:
            nobody = await api.post("/chat", json=body)
            with azure.model.script(Say("Hi.")):
                started = await api.post("/chat", json=body, headers=principal("ada"))
            path = f"/conversations/{started.json()['conversation_id']}"
            hers = await api.get(path, headers=principal("ada"))
            his = await api.get(path, headers=principal("bob"))
            with azure.model.script(Say("Hi.")):
                newer = await api.post("/chat", json=body | {"input": "x " * 90}, headers=ada)
            first = await api.get("/conversations?limit=1", headers=ada)
            cursor = {"limit": 1, "cursor": first.json()["next_cursor"]}
            last = await api.get("/conversations", params=cursor, headers=ada)
            of_bob = await api.get("/conversations", headers=principal("bob"))
            wrong = [
                await api.get(f"/conversations?{query}", headers=ada)
                for query in ("limit=0", "limit=101", "limit=x", "cursor=x", "page=2")
            ]
            of_nobody = await api.get("/conversations")
    (entry,) = first.json()["conversations"]
    assert entry.keys() == {"id", "title", "created_at", "updated_at", "turns"}
    assert entry["id"] == newer.json()["conversation_id"]
    assert (entry["title"], entry["turns"]) == (("x " * 90)[:79].rstrip() + "…", 1)
    assert [entry["id"] for entry in last.json()["conversations"]] == [
        started.json()["conversation_id"]
    ]
    assert last.json()["next_cursor"] is None
    assert of_bob.json() == {"conversations": [], "next_cursor": None}
    assert [answer.status_code for answer in wrong] == [400] * 5
    assert [answer.json()["field"] for answer in wrong] == ["limit"] * 3 + ["cursor", "page"]
    assert (of_nobody.status_code, of_nobody.json()["code"]) == (401, "SignInRequired")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "SignInRequired")
    assert hers.status_code == 200
    assert (his.status_code, his.json()["code"]) == (404, "ConversationNotFound")


async def test_where_sign_in_is_required_it_takes_the_place_of_the_function_key(
    azure: SharedAzure, settings: dict[str, str]
) -> None:
    signed_in = {"x-ms-client-principal-id": "ada", "x-ms-client-principal-idp": "aad"}
    environment = settings | {
        "SIGN_IN_REQUIRED": "true",
        "WEBSITE_AUTH_ENABLED": "True",
        "LOCAL_FUNCTION_KEY": "secret",
    }
    with host_process(PROJECT, environment=environment) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as api:
            for path in ("/chat?input=Hi", "/v1/models", "/openapi.json", "/health/ready"):
                for headers in ({}, {"x-functions-key": "secret"}):
                    assert (await api.get(path, headers=headers)).status_code == 401, path
            for path in ("/health/live", "/ui"):
                assert (await api.get(path)).status_code == 200, path
            with azure.model.script(Say("Hi, Ada.")):
                answer = await api.get("/chat?input=Hi", headers=signed_in)
    assert answer.json()["output"] == "Hi, Ada."


async def test_an_app_whose_platform_checks_nobody_does_not_start(settings: dict[str, str]) -> None:
    environment = settings | {"SIGN_IN_REQUIRED": "true"}
    with host_process(PROJECT, environment=environment) as host:
        assert await asyncio.to_thread(host.process.wait, 30) != 0
    assert "WEBSITE_AUTH_ENABLED is not" in host.output


async def test_without_sign_in_its_headers_count_for_nothing(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    headers = {"x-ms-client-principal-id": "bob", "x-ms-client-principal-idp": "aad"}
    assert (await api.get(f"/conversations/{conversation_id}", headers=headers)).status_code == 200


async def test_a_file_larger_than_the_pool_takes_is_refused(
    api: httpx2.AsyncClient, ask: Ask
) -> None:
    conversation_id = (await ask("new", Say("Hi.")))["conversation_id"]
    path = f"/conversations/{conversation_id}/files"
    reply = await api.post(path, files={"file": ("big.bin", bytes(128 * 1024**2 + 1))})
    assert (reply.status_code, reply.json()["code"]) == (413, "PayloadTooLarge")
    assert (await api.get(path)).json() == {"files": []}


async def test_without_a_store_a_conversation_is_refused_by_the_name_of_its_setting(
    azure: SharedAzure,
) -> None:
    with host_process(PROJECT, environment=azure.stack.app_settings) as host:
        host.wait_until_ready()
        async with httpx2.AsyncClient(base_url=f"{host.url}/api", timeout=60) as api:
            reply = await api.post("/chat", json={"input": "Hi", "conversation_id": "new"})
    assert reply.status_code == 500
    assert "CONVERSATIONS_URL" in reply.json()["detail"]


async def test_without_sign_in_there_is_no_list_of_ones_own(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/conversations")
    assert (answer.status_code, answer.json()["code"]) == (403, "SignInNotConfigured")
