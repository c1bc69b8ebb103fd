"""The routes of a conversation: read it, delete it, and its files."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from agent.conversations.file_names import checked_name
from agent.conversations.files import (
    FILES_MAX,
    FILES_MAX_BYTES,
    ConversationFiles,
    ConversationKey,
)
from agent.conversations.owner import owner_of, pool_identifier
from agent.conversations.shielding import shielded
from agent.conversations.store import ArrivedFile
from agent.conversations.turn import ConversationServices
from agent.errors import (
    AgentError,
    FileNotStoredError,
    PayloadTooLargeError,
    PoolError,
    PoolNotFoundError,
    SignInNotConfiguredError,
)
from agent.frozen import frozen
from agent.http.bodies import json_response, read_page
from agent.http.dispatch import Route
from agent.http.schemas import (
    ConversationFileSchema,
    ConversationListSchema,
    ConversationSchema,
    FileListSchema,
    NewConversationSchema,
)
from agent.http.uploads import uploads
from agent.media_types import media_type_of
from agent.runtime import get_runtime
from agent.session_pool.client import SessionsClient
from agent.session_pool.names import name_of
from agent.telemetry import logger
from agent.telemetry.calls import count_upload

# For a question about the session.
SESSION_TIMEOUT_S: Final = 30
# For a transfer of 128 MB; Azure's load balancer gives it 230 s.
TRANSFER_TIMEOUT_S: Final = 210


@frozen
class _Conversation:
    """The conversation that a request's path names, and its session if the pool has one.

    Whether it exists is for the store to say.
    """

    services: ConversationServices
    key: ConversationKey
    identifier: str

    @classmethod
    async def of(cls, request: Request) -> "_Conversation":
        runtime = await get_runtime()
        services = await runtime.conversations()
        owner = owner_of(request.headers, sign_in=runtime.sign_in)
        key = ConversationKey(owner, request.path_params["conversation_id"])
        identifier = pool_identifier(await services.store.identifier_key(), owner, key.id)
        return cls(services, key, identifier)

    async def live_session(self) -> SessionsClient | None:
        """The pool, if the conversation's session is alive; asking does not make one."""
        sessions = self.services.turns.sessions
        if sessions and await sessions.is_alive(self.identifier, deadline=_in(SESSION_TIMEOUT_S)):
            return sessions
        return None


class FileResponse(StreamingResponse):
    """A file of a conversation, which is closed however the transfer ends."""

    def __init__(
        self, name: str, size_bytes: int, chunks: AsyncIterator[bytes], resources: AsyncExitStack
    ) -> None:
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Length": str(size_bytes),
            # Code wrote it: a browser must neither guess its type nor run it.
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        }
        super().__init__(chunks, headers=headers, media_type=media_type_of(name))
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; called by the server once the handler has returned it."""
        # Starlette leaves the iterator of a caller that disconnects to the garbage collector.
        async with self._resources:
            await super().__call__(scope, receive, send)


async def _list(request: Request) -> Response:
    """The caller's own conversations."""
    runtime = await get_runtime()
    if not runtime.sign_in:
        raise SignInNotConfiguredError(
            "Nobody signs in to this app, so that no conversation is anybody's own: keep the ids "
            "of those that you start. docs/deploy.md says how to turn sign-in on."
        )
    limit, cursor = read_page(request)
    services = await runtime.conversations()
    owner = owner_of(request.headers, sign_in=True)
    page = await services.store.list_conversations(owner, limit, cursor)
    return json_response(ConversationListSchema.model_validate(page))


async def _create(request: Request) -> Response:
    """A conversation to upload files to before its first question."""
    runtime = await get_runtime()
    services = await runtime.conversations()
    owner = owner_of(request.headers, sign_in=runtime.sign_in)
    async with services.store.start(owner) as held:
        created = NewConversationSchema.model_validate(held.conversation)
    return json_response(created, status=201)


async def _get(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    key, services = conversation.key, conversation.services
    async with services.reading:
        read = await services.store.get(key.owner, key.id)
        return json_response(ConversationSchema.model_validate(read))


async def _delete(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    key = conversation.key
    await conversation.services.store.delete(key.owner, key.id)
    if sessions := conversation.services.turns.sessions:
        try:
            await sessions.delete_session(conversation.identifier, deadline=_in(SESSION_TIMEOUT_S))
        except AgentError as error:
            # History and files are gone; the session's cooldown ends the rest.
            logger.warning("session of a deleted conversation not given back: %s", error.code)
    return Response(status_code=204)


async def _list_files(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    key = conversation.key
    stored = await conversation.services.store.list_files(key.owner, key.id)
    sizes = {file.name: file.size_bytes for file in stored}
    try:
        if sessions := await conversation.live_session():
            deadline = _in(SESSION_TIMEOUT_S)
            live = await sessions.list_files(conversation.identifier, deadline=deadline)
            sizes |= {file.name: file.size_bytes for file in live}
    except PoolError as error:
        # The kept ones are all that outlives the session.
        logger.warning("files of the session not listed: %s", error.code)
    entries = [_entry(key, name, size) for name, size in sorted(sizes.items())]
    return json_response(FileListSchema(files=entries))


async def _upload(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    store, key = conversation.services.store, conversation.key
    kept = {file.name: file.size_bytes for file in await store.list_files(key.owner, key.id)}
    arrived: list[ArrivedFile] = []
    try:
        # All of the form or nothing: none is kept before the last one is there.
        async for upload in uploads(request.headers.get("content-type", ""), request.stream()):
            name = name_of(upload.name.encode("utf-8", "surrogatepass"))
            kept.pop(name, None)
            content = _within(upload.content, name, kept)
            arrived.append(await store.receive_file(key.owner, key.id, name, content))
            kept[name] = arrived[-1].file.size_bytes
        for each in arrived:
            await each.keep()
            count_upload(each.file.size_bytes)
    except BaseException:
        for each in arrived:
            await shielded(each.discard())
        raise
    files = {each.file.name: each.file for each in arrived}
    entries = [_entry(key, file.name, file.size_bytes) for file in files.values()]
    try:
        if sessions := await conversation.live_session():
            session = ConversationFiles(store, key, sessions, conversation.identifier, 0)
            for entry in entries:
                await session.upload(entry.name, entry.size_bytes, deadline=_in(TRANSFER_TIMEOUT_S))
    except PoolError as error:
        # They are kept; the next turn gives them to its session.
        logger.warning("a file not uploaded to the session: %s", error.code)
    return json_response(FileListSchema(files=entries), status=201)


async def _within(
    content: AsyncIterator[bytes], name: str, others: Mapping[str, int]
) -> AsyncIterator[bytes]:
    """The same content, as far as the conversation has room for it."""
    room = FILES_MAX_BYTES - sum(others.values())
    if len(others) >= FILES_MAX:
        raise PayloadTooLargeError(
            f"A conversation may have {FILES_MAX:,} files: delete some before you upload {name}.",
            field="file",
        )
    async for chunk in content:
        room -= len(chunk)
        if room < 0:
            raise PayloadTooLargeError(
                f"All files of a conversation may have {FILES_MAX_BYTES:,} bytes: delete some "
                f"before you upload {name}.",
                field="file",
            )
        yield chunk


async def _download(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    name = _name_of(request)
    async with AsyncExitStack() as resources:
        size_bytes, chunks = await _open_file(conversation, name, resources)
        return FileResponse(name, size_bytes, chunks, resources.pop_all())


async def _open_file(
    conversation: _Conversation, name: str, resources: AsyncExitStack
) -> tuple[int, AsyncIterator[bytes]]:
    """Size and content of a file: the stored one, else the session's."""
    key = conversation.key
    try:
        stored, chunks = await resources.enter_async_context(
            conversation.services.store.open_file(key.owner, key.id, name)
        )
        return stored.size_bytes, chunks
    except FileNotStoredError:
        sessions = await conversation.live_session()
        if sessions is None:
            raise
        deadline = _in(TRANSFER_TIMEOUT_S)
        live = await sessions.list_files(conversation.identifier, deadline=deadline)
        size_bytes = next((file.size_bytes for file in live if file.name == name), None)
        if size_bytes is None:
            raise
        return size_bytes, await resources.enter_async_context(
            sessions.open_file(conversation.identifier, name, deadline=deadline)
        )


async def _delete_file(request: Request) -> Response:
    conversation = await _Conversation.of(request)
    name, key = _name_of(request), conversation.key
    missing = True
    # The session first: if it fails nothing is deleted, which is what the caller is told.
    if sessions := await conversation.live_session():
        with contextlib.suppress(PoolNotFoundError):
            await sessions.delete_file(
                conversation.identifier, name, deadline=_in(SESSION_TIMEOUT_S)
            )
            missing = False
    try:
        await conversation.services.store.delete_file(key.owner, key.id, name)
    except FileNotStoredError:
        if missing:
            raise
    return Response(status_code=204)


def _name_of(request: Request) -> str:
    return checked_name(request.path_params.get("name") or "")


def _entry(key: ConversationKey, name: str, size_bytes: int) -> ConversationFileSchema:
    return ConversationFileSchema(
        name=name,
        media_type=media_type_of(name),
        size_bytes=size_bytes,
        url=key.file_url(name),
    )


def _in(timeout_s: float) -> float:
    return asyncio.get_running_loop().time() + timeout_s


ROUTES: Final = {
    "conversations": Route({"GET": _list, "POST": _create}),
    "conversation": Route({"GET": _get, "DELETE": _delete}),
    "files": Route({"GET": _list_files, "POST": _upload}),
    "file": Route({"GET": _download, "DELETE": _delete_file}),
}
