"""Files of every name in a conversation: listed, fetched, kept, put back, deleted."""

import ast
import os
from typing import Any

import httpx2
import pytest

from agent.session_pool.names import name_of
from local.azure_openai import CallTool, Say
from tests.agent.turns.test_written_files import NAMES
from tests.conftest import SharedAzure
from tests.support.functions_host import HostProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

RAW = {os.fsencode(name): str(number) for number, name in enumerate(NAMES)}
WRITE = f"""
import os
for name, text in {RAW!r}.items():
    path = b'/mnt/data/' + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, 'w').write(text)
kept = True
"""
READ = """
import os
found = {}
for folder, _, names in os.walk(b'/mnt/data'):
    for name in names:
        path = os.path.join(folder, name)
        found[path[len(b'/mnt/data/'):]] = open(path).read()
print(found)
print('kept' in globals())
"""


async def test_every_name_is_listed_fetched_kept_put_back_and_deleted(
    azure: SharedAzure, host: HostProcess, api: httpx2.AsyncClient
) -> None:
    async def ask(conversation_id: str, code: str) -> dict[str, Any]:
        with azure.model.script(CallTool(code=code), Say("Done.")):
            body = {"input": "Go.", "conversation_id": conversation_id}
            reply = await api.post("/chat", json=body)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        assert answer["executions"][0]["status"] == "Succeeded", answer
        return answer

    async def found_in_session() -> tuple[dict[bytes, str], bool]:
        answer = await ask(conversation_id, READ)
        files, kept = answer["executions"][0]["stdout"].splitlines()
        return ast.literal_eval(files), kept == "True"

    answer = await ask("new", WRITE)
    conversation_id = answer["conversation_id"]
    expected = {name_of(raw): text for raw, text in RAW.items()}
    assert answer["warnings"] == []
    assert sorted(file["name"] for file in answer["files"]) == sorted(expected)

    # Listed once, and fetched from the address that the list has
    listed = (await api.get(f"/conversations/{conversation_id}/files")).json()["files"]
    assert sorted(file["name"] for file in listed) == sorted(expected)
    for file in listed:
        reply = await api.get(f"{host.url}{file['url']}")
        assert (file["name"], reply.status_code, reply.text) == (
            file["name"],
            200,
            expected[file["name"]],
        )

    # The next turn finds them, deletes one and renames another
    assert await found_in_session() == (RAW, True)
    gone, renamed, *_ = RAW
    answer = await ask(
        conversation_id,
        f"import os\nos.chdir('/mnt/data')\nos.remove({gone!r})\nos.rename({renamed!r}, 'renamed')",
    )
    assert [file["name"] for file in answer["files"]] == ["renamed"]
    now = {raw: text for raw, text in RAW.items() if raw not in (gone, renamed)}
    now[b"renamed"] = RAW[renamed]

    # A session that is lost is not a deletion, and what was deleted does not come back
    azure.stack.pool.faults.lose_sessions()
    assert await found_in_session() == (now, False)
    listed = (await api.get(f"/conversations/{conversation_id}/files")).json()["files"]
    assert sorted(file["name"] for file in listed) == sorted(map(name_of, now))

    # Deleted by the caller: from the list, from the session, and after it
    for file in listed:
        assert (await api.delete(f"{host.url}{file['url']}")).status_code == 204, file
    assert (await api.get(f"/conversations/{conversation_id}/files")).json()["files"] == []
    assert await found_in_session() == ({}, False)
    azure.stack.pool.faults.lose_sessions()
    assert await found_in_session() == ({}, False)


async def test_an_upload_of_any_name_is_in_the_session_of_the_next_turn(
    azure: SharedAzure, api: httpx2.AsyncClient
) -> None:
    conversation_id = (await api.post("/conversations")).json()["id"]
    names = ["it's.csv", "out/a+b.csv", "\N{GRINNING FACE}.txt", 'q"q.txt', "plain.txt"]
    for _ in range(2):
        form = [("file", (name, name.encode())) for name in names]
        reply = await api.post(f"/conversations/{conversation_id}/files", files=form)
        assert reply.status_code == 201, reply.text
        assert sorted(file["name"] for file in reply.json()["files"]) == sorted(names)
        with azure.model.script(CallTool(code=READ), Say("Done.")):
            body = {"input": "Go.", "conversation_id": conversation_id}
            answer = (await api.post("/chat", json=body)).json()
        # The second time they were uploaded into a session that was there.
        found = ast.literal_eval(answer["executions"][0]["stdout"].splitlines()[0])
        assert found == {name.encode(): name for name in names}


async def test_nothing_of_a_refused_upload_stays(api: httpx2.AsyncClient) -> None:
    conversation_id = (await api.post("/conversations")).json()["id"]
    path = f"/conversations/{conversation_id}/files"
    first = await api.post(path, files=[("file", ("a.txt", b"first"))])
    assert first.status_code == 201
    refused = await api.post(
        path,
        files=[("file", ("a.txt", b"second")), ("file", ("b.txt", b"b")), ("file", ("..", b"c"))],
    )
    assert refused.status_code == 400
    assert [file["name"] for file in (await api.get(path)).json()["files"]] == ["a.txt"]
    assert (await api.get(f"{path}/a.txt")).text == "first"


async def test_file_routes_tell_what_was_done_when_the_pool_fails(
    faults: SharedAzure, api: httpx2.AsyncClient
) -> None:
    conversation_id = (await api.post("/conversations")).json()["id"]
    path = f"/conversations/{conversation_id}/files"
    faults.stack.pool.faults.revoke_role()
    uploaded = await api.post(path, files=[("file", ("a.txt", b"a"))])
    assert uploaded.status_code == 201
    assert [file["name"] for file in (await api.get(path)).json()["files"]] == ["a.txt"]
    assert (await api.get(f"{path}/a.txt")).text == "a"
    refused = await api.delete(f"{path}/a.txt")
    assert (refused.status_code, refused.json()["code"]) == (502, "PoolAccessDenied")
    assert (await api.get(f"{path}/a.txt")).status_code == 200
    faults.stack.pool.faults.grant_role()
    assert (await api.delete(f"{path}/a.txt")).status_code == 204
    assert (await api.get(path)).json()["files"] == []
