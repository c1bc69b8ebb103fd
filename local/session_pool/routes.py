"""The operations of the service: which path leads to which, and what each does."""

import re
import time
import urllib.parse
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from local.session_pool.api_versions import ApiVersion
from local.session_pool.bodies import read_body, read_upload
from local.session_pool.errors import (
    DeleteFileError,
    FileMissingError,
    NotSupportedError,
    PropertiesMissingError,
    ValidationFailedError,
)
from local.session_pool.execution import ExecutionRequest, Outcome
from local.session_pool.file_names import DATA_ROOT, check_name, split_path
from local.session_pool.files import SessionFiles
from local.session_pool.identifiers import check_identifier
from local.session_pool.metadata import PoolMetadata
from local.session_pool.operations import Operations
from local.session_pool.pool import Pool
from local.session_pool.session import Session
from local.session_pool.wire import Wire, content_type, json_bytes, timestamp
from local.session_pool.wire_flat import FlatWire
from local.session_pool.wire_wrapped import WrappedWire

# Answers up to here are sent whole, with their length; larger ones hold an image and are streamed.
_WHOLE_BYTES = 512 << 10
_PAGE = 300


@dataclass(frozen=True)
class Call:
    """One request that may be served.

    Attributes:
        request: from Starlette; its body is not read yet.
        version: what it asked for.
        wire: the shapes of that version.
        path: below the pool's, percent-decoded.
        received_s: monotonic time of arrival.
    """

    request: Request
    version: ApiVersion
    wire: Wire
    path: str
    received_s: float


Handler = Callable[["Routes", Call, dict[str, str]], Awaitable[Response]]


class Routes:
    """Serves calls from a pool."""

    def __init__(
        self, pool: Pool, files: SessionFiles, metadata: PoolMetadata, *, strict: bool, base: str
    ) -> None:
        self._pool = pool
        self._files = files
        self._metadata = metadata
        self._strict = strict
        self._base = base
        self.operations = Operations()

    def wire(self, version: ApiVersion) -> Wire:
        """Return the shapes of a version."""
        return FlatWire(version, self._strict) if version.is_flat else WrappedWire()

    async def serve(self, call: Call) -> Response:
        """Answer a call.

        Raises:
            PoolError: the answer is an error.
        """
        for method, pattern, serves, handler in _OPERATIONS:
            found = pattern.fullmatch(call.path)
            if found and method == call.request.method and serves(call.version):
                return await handler(self, call, found.groupdict())
        raise NotSupportedError(
            f"{call.request.method} {call.path} is not supported in API version"
            f" {call.version.name}.",
            "endpoint",
        )

    async def execute(self, call: Call, _: dict[str, str]) -> Response:
        identifier = self._identifier(call)
        request = call.wire.execution_request(await read_body(call.request))
        prepared_s = time.monotonic()
        session = await self._pool.allocate(identifier)
        allocated_s = time.monotonic()
        operation_id = call.request.headers.get("operation-id") or str(uuid.uuid4())
        headers = {"operation-id": operation_id, "x-ms-session-guid": session.guid}
        if request.asynchronous:
            if not isinstance(call.wire, FlatWire):
                raise ValidationFailedError(
                    "executionType Asynchronous needs API version 2024-10-02-preview or later.",
                    "executionType",
                )
            self.operations.start(session, request, operation_id)
            state = call.wire.execution_state(operation_id, identifier, request, "Running")
            query = urllib.parse.urlencode(
                {"api-version": call.version.name, "identifier": identifier}
            )
            headers["Operation-Location"] = (
                f"{call.request.base_url.scheme}://{call.request.headers['host']}{self._base}"
                f"/executions/{operation_id}?{query}"
            )
            return _json(state, 202, headers)
        outcome = await session.execute(request)
        session.touch(self._pool.now())
        finished_s = time.monotonic()
        headers |= {
            "x-ms-allocation-time": _ms(allocated_s - prepared_s),
            "x-ms-allocation-retries": "0",
            "x-ms-preparation-time": _ms(prepared_s - call.received_s),
            "x-ms-container-execution-duration": str(outcome.duration_ms),
            "x-ms-execution-request-time": _ms(finished_s - allocated_s),
            "x-ms-execution-read-response-time": _ms(time.monotonic() - finished_s),
            "x-ms-overall-execution-time": _ms(finished_s - prepared_s),
            "x-ms-total-execution-service-time": _ms(time.monotonic() - call.received_s),
        }
        # Recorded from the service: the first version of the new generation answers 202.
        status = 202 if self._strict and call.version.name == "2024-10-02-preview" else 200
        return _finished(call.wire, operation_id, identifier, request, outcome, status, headers)

    async def get_execution(self, call: Call, found: dict[str, str]) -> Response:
        session = self._session(call)
        operation = self.operations.get(session, found["id"])
        wire = call.wire
        if not operation.task.done():
            if not isinstance(wire, FlatWire):
                raise NotSupportedError("Executions cannot be polled in this API version.")
            state = wire.execution_state(
                operation.operation_id, session.identifier, operation.request, "Running"
            )
            return _json(state)
        return _finished(
            wire,
            operation.operation_id,
            session.identifier,
            operation.request,
            operation.task.result(),
            200,
            {},
        )

    async def list_files(self, call: Call, _: dict[str, str]) -> Response:
        folder = split_path(call.request.query_params.get("path"), strict=False)
        recursive = call.request.query_params.get("recursive", "").lower() == "true"
        session = await self._allocate(call)
        entries = await self._files.list_folder(
            session.kernel.data_directory,
            folder,
            recursive=not call.version.is_flat or (recursive and call.version.lists_deep),
        )
        return _json(call.wire.file_list(entries))

    async def upload(self, call: Call, _: dict[str, str]) -> Response:
        folder = split_path(call.request.query_params.get("path"), strict=self._strict)
        identifier = self._identifier(call)
        async with read_upload(call.request) as file:
            given, name = _split(file.filename or "")
            check_name(name, strict=self._strict)
            folder = "/".join(part for part in (folder, given) if part)
            session = await self._pool.allocate(identifier)
            entry = await self._files.write(session.kernel.data_directory, folder, name, file.file)
        return _json(call.wire.uploaded(entry))

    async def describe_file(self, call: Call, found: dict[str, str]) -> Response:
        session, folder, name = await self._file(call, found)
        entry = await self._files.describe(session.kernel.data_directory, folder, name)
        return _json(call.wire.file(entry))

    async def download(self, call: Call, found: dict[str, str]) -> Response:
        session, folder, name = await self._file(call, found)
        size, content = await self._files.read(session.kernel.data_directory, folder, name)
        headers = {"content-length": str(size)}
        return StreamingResponse(content, media_type=content_type(name), headers=headers)

    async def delete_file(self, call: Call, found: dict[str, str]) -> Response:
        session, folder, name = await self._file(call, found)
        try:
            await self._files.delete(session.kernel.data_directory, folder, name)
        except FileMissingError as error:
            raise DeleteFileError(error.message) from error
        return Response(status_code=204)

    async def get_session(self, call: Call, _: dict[str, str]) -> Response:
        return _json(_described(self._session(call), call.version))

    async def delete_session(self, call: Call, _: dict[str, str]) -> Response:
        await self._pool.delete(self._identifier(call))
        return Response(status_code=204)

    async def list_sessions(self, call: Call, _: dict[str, str]) -> Response:
        skip_text = call.request.query_params.get("skip") or "0"
        if not (skip_text.isascii() and skip_text.isdigit()):
            raise ValidationFailedError("skip is not a number.", "skip")
        skip = int(skip_text)
        sessions = self._pool.sessions()
        page = [_described(each, call.version) for each in sessions[skip : skip + _PAGE]]
        answer: dict[str, Any] = {"sessions": page} if call.version.is_flat else {"value": page}
        if not call.version.is_flat:
            answer["count"] = len(page)
        if len(sessions) > skip + _PAGE:
            query = urllib.parse.urlencode({"api-version": call.version.name, "skip": skip + _PAGE})
            request = call.request
            answer["nextLink"] = (
                f"{request.base_url.scheme}://{request.headers['host']}{self._base}/{call.path}"
                f"?{query}"
            )
        return _json(answer)

    async def metadata(self, call: Call, _: dict[str, str]) -> Response:
        return _json(self._metadata.describe())

    def _identifier(self, call: Call) -> str:
        identifier = call.request.query_params.get("identifier")
        return check_identifier(identifier, strict=self._strict)

    async def _allocate(self, call: Call) -> Session:
        return await self._pool.allocate(self._identifier(call))

    def _session(self, call: Call) -> Session:
        session = self._pool.get(self._identifier(call))
        session.touch(self._pool.now())
        return session

    async def _file(self, call: Call, found: dict[str, str]) -> tuple[Session, str, str]:
        """Return the session and the folder and name of the file that a path means."""
        path = split_path(call.request.query_params.get("path"), strict=False)
        given, name = _split(found["name"])
        check_name(name, strict=False)
        session = await self._allocate(call)
        return session, "/".join(part for part in (path, given) if part), name


def _flat(version: ApiVersion) -> bool:
    return version.is_flat


def _wrapped(version: ApiVersion) -> bool:
    return not version.is_flat


def _with_sessions(version: ApiVersion) -> bool:
    return version.has_sessions


def _any(version: ApiVersion) -> bool:
    return True


async def _wrong_generation(routes: Routes, call: Call, _: dict[str, str]) -> Response:
    raise PropertiesMissingError(f"{call.path} belongs to another API version.")


_OPERATIONS: list[tuple[str, re.Pattern[str], Callable[[ApiVersion], bool], Handler]] = [
    (method, re.compile(pattern, re.DOTALL), serves, handler)
    for method, pattern, serves, handler in (
        ("POST", "executions", _flat, Routes.execute),
        ("GET", "executions/(?P<id>[^/]+)", _flat, Routes.get_execution),
        ("POST", "code/execute/?", _wrapped, Routes.execute),
        ("POST", "files/upload", _wrapped, Routes.upload),
        ("GET", "files/content/(?P<name>.+)", _wrapped, Routes.download),
        ("GET", "files/?", _any, Routes.list_files),
        ("POST", "files/?", _flat, Routes.upload),
        ("GET", "files/(?P<name>.+)/content", _flat, Routes.download),
        ("GET", "files/(?P<name>.+)", _any, Routes.describe_file),
        ("DELETE", "files/(?P<name>.+)", _any, Routes.delete_file),
        ("GET", "session", _with_sessions, Routes.get_session),
        ("DELETE", "session", _with_sessions, Routes.delete_session),
        ("GET", "listSessions", _with_sessions, Routes.list_sessions),
        ("GET", "metadata", _with_sessions, Routes.metadata),
        ("POST", r"\.management/getSession", _any, Routes.get_session),
        ("POST", r"\.management/listSessions", _any, Routes.list_sessions),
    )
]


def _split(path: str) -> tuple[str, str]:
    """Split what a client gave as a file name into folder and name; both below /mnt/data."""
    if path.startswith(f"{DATA_ROOT}/"):
        path = path[len(DATA_ROOT) + 1 :]
    folder, _, name = path.rpartition("/")
    return split_path(folder, strict=False), name


def _described(session: Session, version: ApiVersion) -> dict[str, Any]:
    # The two generations differ in one letter.
    expiry = "expireAt" if version.is_flat else "expiresAt"
    return {
        "identifier": session.identifier,
        "etag": f'"{session.guid}"',
        "createdAt": timestamp(session.created_at),
        "lastAccessedAt": timestamp(session.last_accessed_at),
        expiry: timestamp(session.expire_at),
    }


def _finished(
    wire: Wire,
    operation_id: str,
    identifier: str,
    request: ExecutionRequest,
    outcome: Outcome,
    status: int,
    headers: dict[str, str],
) -> Response:
    pieces = wire.execution(operation_id, identifier, request, outcome)
    if outcome.reply is not None and sum(b.size_bytes for b in outcome.reply.blobs) > _WHOLE_BYTES:
        return StreamingResponse(
            pieces, status_code=status, headers=headers, media_type="application/json"
        )
    return Response(_whole(pieces), status, headers, "application/json")


def _whole(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_bytes(value), status, headers, "application/json")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.4f}"
