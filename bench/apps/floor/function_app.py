"""The least that a turn can cost: the three calls, one client, one token, nothing else.

A turn of a conversation is the same and one line more in a file.
"""

import json
import os
import uuid
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
import azure.functions as func
from azurefunctions.extensions.http.fastapi import JSONResponse, Request

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
_env = os.environ  # noqa: TID251 - the floor is an app by itself, and reads its settings as the shortest app does
_folder = url2pathname(urlsplit(_env.get("CONVERSATIONS_URL", "file:.")).path)
_clients: list[aiohttp.ClientSession] = []
_tokens: dict[str, str] = {}


@app.route("chat", methods=["POST"])
async def chat(req: Request) -> JSONResponse:
    """Model, pool, model; in a conversation, append."""
    if not _clients:
        _clients.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    asked = await req.json()
    question, conversation_id = asked["input"], asked.get("conversation_id")
    messages = [{"role": "user", "content": question}]
    first = await _complete(messages)
    code = json.loads(first["tool_calls"][0]["function"]["arguments"])["code"]
    ran = await _call(
        f"{_env['POOL_MANAGEMENT_ENDPOINT']}/executions",
        "https://dynamicsessions.io",
        {"codeInputType": "Inline", "executionType": "Synchronous", "code": code},
        {"api-version": "2025-10-02-preview", "identifier": uuid.uuid4().hex},
    )
    result = {
        "role": "tool",
        "tool_call_id": first["tool_calls"][0]["id"],
        "content": ran["result"]["stdout"],
    }
    answer = await _complete([*messages, first, result])
    if not conversation_id:
        return JSONResponse({"output": answer["content"]})
    if conversation_id == "new":
        conversation_id = uuid.uuid4().hex
    line = json.dumps({"question": question, "answer": answer["content"]})
    with open(f"{_folder}/{conversation_id}", "a") as file:  # noqa: ASYNC230 - 20 microseconds: the floor is what costs least, and a thread costs more
        file.write(f"{line}\n")
    return JSONResponse({"output": answer["content"], "conversation_id": conversation_id})


async def _complete(messages: list[dict]) -> dict:
    endpoint, deployment = _env["AZURE_OPENAI_ENDPOINT"], _env["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"]
    parameters = {"code": {"type": "string"}}
    tool = {"name": "run", "parameters": {"type": "object", "properties": parameters}}
    body = {"messages": messages, "tools": [{"type": "function", "function": tool}]}
    reply = await _call(
        f"{endpoint}/openai/deployments/{deployment}/chat/completions",
        "https://cognitiveservices.azure.com",
        body,
        {"api-version": "2024-10-21"},
    )
    return reply["choices"][0]["message"]


async def _call(url: str, audience: str, body: dict, params: dict) -> dict:
    headers = {"Authorization": f"Bearer {await _token(audience)}"}
    async with _clients[0].post(url, json=body, params=params, headers=headers) as reply:
        reply.raise_for_status()
        return await reply.json()


async def _token(audience: str) -> str:
    if audience not in _tokens:
        params = {"api-version": "2019-08-01", "resource": audience}
        headers = {"X-IDENTITY-HEADER": _env["IDENTITY_HEADER"]}
        url = _env["IDENTITY_ENDPOINT"]
        async with _clients[0].get(url, params=params, headers=headers) as reply:
            _tokens[audience] = (await reply.json())["access_token"]
    return _tokens[audience]
