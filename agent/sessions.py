"""Client of the Azure Container Apps dynamic-sessions REST API, version 2025-10-02-preview.

https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter and the specification
Microsoft.App.DynamicSessions in Azure/azure-rest-api-specs. A session is allocated by the first
call that names its identifier.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, Field, JsonValue, ValidationError
from yarl import URL

from agent.errors import (
    AgentError,
    DeadlineExceededError,
    PoolAccessError,
    PoolError,
    PoolFailedError,
    PoolFullError,
    PoolNotFoundError,
    PoolRefusedError,
    PoolTimeoutError,
    PoolUnreachableError,
)
from agent.telemetry import logger

API_VERSION = "2025-10-02-preview"
# The service ends an execution after 220 s, whatever was asked for.
EXECUTION_TIMEOUT_CEILING_S = 220
# What an answer may take on top of the execution: allocation of a session, and the way.
TRANSPORT_MARGIN_S = 15
CONNECT_TIMEOUT_S = 10
ATTEMPTS = 5
FIRST_BACKOFF_S = 0.5
# The service says so with HTTP 400.
SESSION_NOT_FOUND_CODES = frozenset({"SessionWithIdentifierNotFound", "SessionNotFound"})
ROLE = "Azure ContainerApps Session Executor"

type TokenProvider = Callable[[], Awaitable[str]]
type ContentOpener = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class SessionExecution:
    """What the pool says about one execution.

    Attributes:
        status: `Failed` when the code raised, ran out of time or lost its kernel.
        stdout: at most the number of characters that was asked for, cut without a marker.
        stderr: likewise; holds the traceback of code that failed.
        result: the last expression: JSON value, or an image
            `{"type": "image", "format": "png", "base64_data": ...}`; None if there is none.
        duration_ms: time in the kernel.
        session_guid: names the session itself; another one means that the kernel and the files
            of the session before are gone.
    """

    status: Literal["Succeeded", "Failed"]
    stdout: str
    stderr: str
    result: JsonValue
    duration_ms: int
    session_guid: str | None


@dataclass(frozen=True, slots=True)
class SessionFile:
    """A file in a session's /mnt/data."""

    name: str
    size_bytes: int
    modified_at: datetime


class _ExecutionResult(BaseModel):
    stdout: str | None = None
    stderr: str | None = None
    result: JsonValue = Field(default=None, alias="executionResult")
    duration_ms: float = Field(default=0, alias="executionTimeInMilliseconds")


class _ExecutionReply(BaseModel):
    status: Literal["Succeeded", "Failed"]
    result: _ExecutionResult | None = None


class _File(BaseModel):
    name: str
    type: str = ""
    size_bytes: int = Field(default=0, alias="sizeInBytes")
    modified_at: datetime = Field(alias="lastModifiedAt")


class _FilePage(BaseModel):
    value: list[_File]
    next_link: str | None = Field(default=None, alias="nextLink")


class _ErrorBody(BaseModel):
    code: str = ""


class _ErrorReply(BaseModel):
    error: _ErrorBody


class SessionsClient:
    """Sessions of one pool. Safe to share: it keeps nothing of a request.

    Every method takes a `deadline` (event-loop time, seconds) that bounds all of it, retries
    included, and raises a `PoolError` or `DeadlineExceededError`. Retried with exponential
    back-off and jitter, and not before the service's Retry-After: 429, 5xx and connections that
    failed. So code can run twice if a connection breaks while it runs, as with every client of
    this service: an execution has no idempotency key.
    """

    def __init__(self, endpoint: str, http: aiohttp.ClientSession, token: TokenProvider) -> None:
        """Args: the pool's management endpoint, an open client that outlives this, tokens."""
        self._endpoint = endpoint
        self._http = http
        self._token = token

    def __repr__(self) -> str:
        return f"<SessionsClient {self._endpoint.rpartition('/')[2]}>"

    async def execute(
        self, identifier: str, code: str, *, timeout_s: int, max_chars: int, deadline: float
    ) -> SessionExecution:
        """Run Python in the session and wait for it.

        Args:
            identifier: of the session.
            code: as a notebook cell; what it defines stays for the next execution.
            timeout_s: how long the code may run, at most EXECUTION_TIMEOUT_CEILING_S.
            max_chars: where the pool cuts stdout and stderr; without it the service cuts at 4096.
            deadline: see the class.
        """
        body = {
            "codeInputType": "Inline",
            "executionType": "Synchronous",
            "code": code,
            "timeoutInSeconds": timeout_s,
            "outputStreamsMaxLength": max_chars,
        }
        reply = await self._request(
            "POST",
            "executions",
            identifier,
            deadline=deadline,
            reply_timeout_s=timeout_s + TRANSPORT_MARGIN_S,
            json=body,
            headers={"operation-id": secrets.token_hex(16)},
        )
        try:
            parsed = _ExecutionReply.model_validate_json(await reply.read())
        except ValidationError as error:
            raise _not_the_protocol("an execution") from error
        result = parsed.result or _ExecutionResult()
        return SessionExecution(
            status=parsed.status,
            stdout=result.stdout or "",
            stderr=result.stderr or "",
            result=result.result,
            duration_ms=round(result.duration_ms),
            session_guid=reply.headers.get("x-ms-session-guid"),
        )

    async def delete_session(self, identifier: str, *, deadline: float) -> None:
        """Give the session back; its kernel and files are gone. Fine if there is none."""
        with contextlib.suppress(PoolNotFoundError):
            await self._request("DELETE", "session", identifier, deadline=deadline)

    async def is_alive(self, identifier: str, *, deadline: float) -> bool:
        """Whether the pool has a session of that identifier; unlike other calls this makes none."""
        try:
            await self._request("GET", "session", identifier, deadline=deadline)
        except PoolNotFoundError:
            return False
        return True

    async def list_files(self, identifier: str, *, deadline: float) -> list[SessionFile]:
        """The files in /mnt/data, folders left out."""
        files: list[SessionFile] = []
        path: str | None = "files"
        while path:
            reply = await self._request("GET", path, identifier, deadline=deadline)
            try:
                page = _FilePage.model_validate_json(await reply.read())
            except ValidationError as error:
                raise _not_the_protocol("a list of files") from error
            files += [
                SessionFile(f.name, f.size_bytes, f.modified_at)
                for f in page.value
                if f.type.lower() != "directory"
            ]
            path = self._path_of(page.next_link) if page.next_link else None
        return files

    async def upload_file(
        self,
        identifier: str,
        name: str,
        size_bytes: int,
        open_content: ContentOpener,
        *,
        deadline: float,
    ) -> None:
        """Put a file into /mnt/data, in place of one of that name.

        Args:
            identifier: of the session.
            name: of the file.
            size_bytes: length of the content, at most 128 MB.
            open_content: called for each attempt; yields the content.
            deadline: see the class.
        """
        boundary = secrets.token_hex(16)
        disposition = name.replace("\\", "\\\\").replace('"', '\\"')
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{disposition}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def form() -> AsyncIterator[bytes]:
            yield head
            async for chunk in open_content():
                yield chunk
            yield tail

        await self._request(
            "POST",
            "files",
            identifier,
            deadline=deadline,
            reply_timeout_s=60,
            open_body=form,
            headers={
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(head) + size_bytes + len(tail)),
            },
        )

    @contextlib.asynccontextmanager
    async def open_file(
        self, identifier: str, name: str, *, deadline: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content of a file in /mnt/data, as it arrives."""
        path = f"files/{_segment(name)}/content"
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._request("GET", path, identifier, deadline=deadline, stream=True)
                try:
                    yield reply.content.iter_any()
                finally:
                    reply.close()
        except aiohttp.ClientError as error:
            raise PoolUnreachableError("The connection to the session pool broke.") from error
        except TimeoutError as error:
            raise _out_of_time() from error

    async def delete_file(self, identifier: str, name: str, *, deadline: float) -> None:
        """Remove a file from /mnt/data."""
        await self._request("DELETE", f"files/{_segment(name)}", identifier, deadline=deadline)

    def _url(self, path: str, identifier: str) -> URL:
        parameters = {"api-version": API_VERSION, "identifier": identifier}
        # Encoded here: yarl would decode what is as good as itself in a file's name.
        url = URL(f"{self._endpoint}/{path}", encoded=True)
        return url.update_query(parameters)

    def _path_of(self, next_link: str) -> str:
        # A token goes nowhere but to the pool.
        if not next_link.startswith(f"{self._endpoint}/"):
            raise _not_the_protocol("a list of files")
        return next_link.removeprefix(f"{self._endpoint}/")

    async def _request(
        self,
        method: str,
        path: str,
        identifier: str,
        *,
        deadline: float,
        reply_timeout_s: float = 30,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        open_body: ContentOpener | None = None,
        stream: bool = False,
    ) -> aiohttp.ClientResponse:
        """One call with its retries; the answer has status 2xx."""
        url = self._url(path, identifier)
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=reply_timeout_s)
        try:
            async with asyncio.timeout_at(deadline):
                for attempt in itertools.count(1):
                    authorization = {"Authorization": f"Bearer {await self._token()}"}
                    sending = self._http.request(
                        method,
                        url,
                        headers={**(headers or {}), **authorization},
                        json=json,
                        data=open_body() if open_body else None,
                        timeout=timeout,
                        # A redirect could lead the token elsewhere.
                        allow_redirects=False,
                    )
                    try:
                        return await _reply_to(sending, stream=stream)
                    except PoolError as error:
                        pause_s = max(_backoff_s(attempt), error.retry_after_s or 0)
                        left_s = deadline - asyncio.get_running_loop().time()
                        if not error.retryable or attempt == ATTEMPTS or pause_s >= left_s:
                            raise
                        logger.info("pool: %s, attempt %d of %d", error.code, attempt, ATTEMPTS)
                    await asyncio.sleep(pause_s)
        except TimeoutError as error:
            raise DeadlineExceededError(
                "The session pool took longer than the turn has."
            ) from error
        raise AssertionError("the loop returns or raises")


async def _reply_to(
    sending: Awaitable[aiohttp.ClientResponse], *, stream: bool
) -> aiohttp.ClientResponse:
    """One attempt, in our errors; the body is read, but for that of a stream."""
    try:
        reply = await sending
        succeeded = 200 <= reply.status < 300
        if not (stream and succeeded):
            await reply.read()
    except aiohttp.SocketTimeoutError as error:
        raise PoolTimeoutError("The session pool did not answer in time.") from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, AgentError):  # the body's own
            raise error.__cause__ from error
        raise PoolUnreachableError("There is no connection to the session pool.") from error
    if not succeeded:
        raise _error_of(reply, await reply.read())
    return reply


def _error_of(reply: aiohttp.ClientResponse, body: bytes) -> PoolError:
    status, code = reply.status, _error_code(reply, body)
    if code in SESSION_NOT_FOUND_CODES:
        return PoolNotFoundError("The session pool has no such session.")
    logger.warning("pool: HTTP %d %s on %s", status, code, reply.method)
    match status:
        case 401:
            return PoolAccessError(
                "The session pool refused the token: is the identity of the pool's tenant?"
            )
        case 403:
            return PoolAccessError(
                f"The app's identity needs the role '{ROLE}' on the session pool. "
                "A new assignment takes some minutes."
            )
        case 404:
            return PoolNotFoundError("The session pool has no such session, file or address.")
        case 429:
            return PoolFullError(
                "All sessions of the pool are in use.", retry_after_s=_retry_after_s(reply)
            )
        case _ if status >= 500:
            return PoolFailedError(
                f"The session pool answered HTTP {status}.", retry_after_s=_retry_after_s(reply)
            )
    return PoolRefusedError(f"The session pool answered HTTP {status} {code}.".replace(" .", "."))


def _error_code(reply: aiohttp.ClientResponse, body: bytes) -> str:
    """The service's error code; empty where the answer has none, or not a plain word."""
    code = reply.headers.get("x-ms-error-code", "")
    if not code:
        try:
            code = _ErrorReply.model_validate_json(body).error.code
        except ValidationError:
            return ""
    return code if code.isalnum() and len(code) <= 64 else ""


def _retry_after_s(reply: aiohttp.ClientResponse) -> int | None:
    value = reply.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _backoff_s(attempt: int) -> float:
    jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads retries, guards nothing
    return float(FIRST_BACKOFF_S * 2 ** (attempt - 1) * jitter)


def _out_of_time() -> DeadlineExceededError:
    return DeadlineExceededError("The session pool took longer than the request has.")


def _not_the_protocol(expected: str) -> PoolRefusedError:
    return PoolRefusedError(
        f"The session pool did not answer with {expected}. "
        "Check that POOL_MANAGEMENT_ENDPOINT is the pool's poolManagementEndpoint."
    )


def _segment(name: str) -> str:
    return quote(name, safe="")
