"""The routes of a conversation: look at it, delete it, and its files."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agent import runtime, web
from agent.conversation_turn import (
    Asked,
    BegunTurn,
    ConversationFiles,
    ConversationKey,
    ConversationServices,
    begin_turn,
)
from agent.conversations import media_type_of
from agent.errors import AgentError, FileNotStoredError, PoolNotFoundError
from agent.owner import owner_of, pool_identifier
from agent.schemas import ConversationFileSchema, ConversationSchema, FileListSchema
from agent.sessions import SessionsClient
from agent.telemetry import logger
from agent.uploads import uploads

# What a look into the session may take.
SESSION_TIMEOUT_S = 30
# A transfer of 128 MB; Azure's load balancer gives it 230 s.
TRANSFER_TIMEOUT_S = 210


async def conversation(request: Request) -> Response:
    """`GET` and `DELETE /api/conversations/{conversation_id}`."""
    return await web.answer(request, {"GET": _get, "DELETE": _delete})


async def files(request: Request) -> Response:
    """`GET` and `POST /api/conversations/{conversation_id}/files`."""
    return await web.answer(request, {"GET": _list_files, "POST": _upload})


async def file(request: Request) -> Response:
    """`GET` and `DELETE /api/conversations/{conversation_id}/files/{name}`."""
    return await web.answer(request, {"GET": _download, "DELETE": _delete_file})


async def begin(
    request: Request, opened: runtime.Runtime, conversation_id: str | None, asked: Asked
) -> BegunTurn:
    """Begin a turn of a conversation of the caller; None starts one."""
    owner = owner_of(request.headers, sign_in=opened.sign_in)
    return await begin_turn(await opened.conversations(), owner, conversation_id, asked)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A conversation of the caller, and its session if the pool has one."""

    services: ConversationServices
    key: ConversationKey
    identifier: str

    async def live_session(self) -> SessionsClient | None:
        """The pool, if the conversation's session is alive; asking does not make one."""
        sessions = self.services.turns.sessions
        if sessions and await sessions.is_alive(self.identifier, deadline=_in(SESSION_TIMEOUT_S)):
            return sessions
        return None


async def _open(request: Request) -> _Opened:
    """Whose conversation the path names; whether it exists is for the store to say."""
    opened = await runtime.get()
    services = await opened.conversations()
    owner = owner_of(request.headers, sign_in=opened.sign_in)
    key = ConversationKey(owner, request.path_params["conversation_id"])
    identifier = pool_identifier(await services.store.identifier_key(), owner, key.id)
    return _Opened(services, key, identifier)


async def _get(request: Request) -> Response:
    opened = await _open(request)
    found = await opened.services.store.get(opened.key.owner, opened.key.id)
    return web.json(ConversationSchema.model_validate(found))


async def _delete(request: Request) -> Response:
    opened = await _open(request)
    await opened.services.store.delete(opened.key.owner, opened.key.id)
    if sessions := opened.services.turns.sessions:
        try:
            await sessions.delete_session(opened.identifier, deadline=_in(SESSION_TIMEOUT_S))
        except AgentError as error:
            # History and files are gone; the session's cooldown ends the rest.
            logger.warning("session of a deleted conversation not given back: %s", error.code)
    return Response(status_code=204)


async def _list_files(request: Request) -> Response:
    opened = await _open(request)
    kept = await opened.services.store.list_files(opened.key.owner, opened.key.id)
    sizes = {file.name: file.size_bytes for file in kept}
    if sessions := await opened.live_session():
        live = await sessions.list_files(opened.identifier, deadline=_in(SESSION_TIMEOUT_S))
        sizes |= {file.name: file.size_bytes for file in live}
    entries = [_entry(opened.key, name, size) for name, size in sorted(sizes.items())]
    return web.json(FileListSchema(files=entries))


async def _upload(request: Request) -> Response:
    opened = await _open(request)
    store, key = opened.services.store, opened.key
    taken: list[ConversationFileSchema] = []
    form = uploads(request.headers.get("content-type", ""), request.stream())
    async for upload in form:
        kept = await store.put_file(key.owner, key.id, upload.name, upload.content)
        taken.append(_entry(key, kept.name, kept.size_bytes))
    if sessions := await opened.live_session():
        bring = ConversationFiles(store, key, sessions, opened.identifier, "")
        for entry in taken:
            await bring.upload(entry.name, entry.size_bytes, deadline=_in(TRANSFER_TIMEOUT_S))
    return web.json(FileListSchema(files=taken), status=201)


async def _download(request: Request) -> Response:
    opened = await _open(request)
    name = request.path_params["name"]
    content = _content(opened, name)
    # What it yields first is its size; from then on it is open, and closing it closes the file.
    size_bytes = int(await anext(content))
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Length": str(size_bytes),
        # Code wrote it: a browser must neither guess its type nor run it.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return StreamingResponse(content, headers=headers, media_type=media_type_of(name))


async def _content(opened: _Opened, name: str) -> AsyncGenerator[bytes]:
    """Its size in bytes as text, then the content: of the store, else of the session."""
    async with AsyncExitStack() as stack:
        chunks: AsyncIterator[bytes]
        key = opened.key
        try:
            kept, chunks = await stack.enter_async_context(
                opened.services.store.open_file(key.owner, key.id, name)
            )
            size_bytes = kept.size_bytes
        except FileNotStoredError:
            sessions = await opened.live_session()
            if sessions is None:
                raise
            deadline = _in(TRANSFER_TIMEOUT_S)
            live = await sessions.list_files(opened.identifier, deadline=deadline)
            size_bytes = next((file.size_bytes for file in live if file.name == name), -1)
            if size_bytes < 0:
                raise
            chunks = await stack.enter_async_context(
                sessions.open_file(opened.identifier, name, deadline=deadline)
            )
        yield str(size_bytes).encode()
        async for chunk in chunks:
            yield chunk


async def _delete_file(request: Request) -> Response:
    opened = await _open(request)
    name, key = request.path_params["name"], opened.key
    missing: FileNotStoredError | None = None
    try:
        await opened.services.store.delete_file(key.owner, key.id, name)
    except FileNotStoredError as error:
        missing = error
    if sessions := await opened.live_session():
        try:
            await sessions.delete_file(opened.identifier, name, deadline=_in(SESSION_TIMEOUT_S))
            missing = None
        except PoolNotFoundError:
            pass
    if missing is not None:
        raise missing
    return Response(status_code=204)


def _entry(key: ConversationKey, name: str, size_bytes: int) -> ConversationFileSchema:
    return ConversationFileSchema(
        name=name,
        media_type=media_type_of(name),
        size_bytes=size_bytes,
        url=key.file_url(name),
    )


def _in(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s
