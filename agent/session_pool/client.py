"""Client of the Azure Container Apps dynamic-sessions REST API, version 2025-10-02-preview.

https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter and the specification
Microsoft.App.DynamicSessions in Azure/azure-rest-api-specs. A session is allocated by the first
call that names its identifier.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, Field, JsonValue, ValidationError

from agent.errors import (
    DeadlineExceededError,
    PoolAnswerLostError,
    PoolError,
    PoolNotFoundError,
    PoolRefusedError,
    PoolUnreachableError,
)
from agent.frozen import frozen
from agent.session_pool.names import is_plain, name_of
from agent.session_pool.outputs import CellOutputs, Shown, read_outputs
from agent.session_pool.survey import (
    ANSWER_MAX_CHARS,
    Errand,
    SessionFile,
    Survey,
    is_transfer,
    new_transfer,
    read_survey,
    survey_code,
)
from agent.session_pool.transport import ContentOpener, PoolCalls, out_of_time
from agent.telemetry import logger
from agent.telemetry.calls import annotate_execution
from agent.tokens import TokenProvider

# The service ends an execution after 220 s, whatever was asked for.
EXECUTION_TIMEOUT_CEILING_S = 220
# What an answer may take on top of the execution: allocation of a session, and the way.
TRANSPORT_MARGIN_S = 15


# A survey takes some milliseconds; it may have to wait for code that runs, or for a new session.
SURVEY_TIMEOUT_S = 30
SURVEY_ATTEMPTS = 3
_NO_ERRAND = Errand()
# Half of the service's default: a character may count as two.
_SMALLEST_CUT_CHARS = 2048


@frozen
class SessionExecution:
    """The pool's report on one execution.

    Attributes:
        status: `Failed` when the code raised, ran out of time or lost its kernel.
        stdout: at most the number of characters that was asked for, cut without a marker.
        stderr: likewise; holds the traceback of code that failed.
        outputs: all that the cell showed, in order; of a pool that does not speak Jupyter's
            format, the last figure or the value of the last expression alone.
        cut: which of `stdout` and `stderr` the pool cut, as far as that shows.
        duration_ms: time in the kernel.
        session_guid: names the session itself; another one means that the kernel and the files
            of the session before are gone.
    """

    status: Literal["Succeeded", "Failed"]
    stdout: str
    stderr: str
    outputs: tuple[Shown, ...]
    cut: tuple[str, ...]
    duration_ms: int
    session_guid: str | None


class _ExecutionResult(BaseModel):
    stdout: str | None = None
    stderr: str | None = None
    result: JsonValue = Field(default=None, alias="executionResult")
    # JSON can name infinity, which no integer is; and no execution takes weeks.
    duration_ms: float = Field(default=0, alias="executionTimeInMilliseconds", ge=0, le=1e9)


class _ExecutionReply(BaseModel):
    status: Literal["Succeeded", "Failed"]
    result: _ExecutionResult | None = None


class _File(BaseModel):
    name: str
    directory: str | None = None
    type: str = ""
    size_bytes: int = Field(default=0, alias="sizeInBytes")
    modified_at: datetime = Field(alias="lastModifiedAt")


class _FilePage(BaseModel):
    value: list[_File]
    next_link: str | None = Field(default=None, alias="nextLink")


class SessionsClient:
    """Sessions of one pool. Safe to share: it keeps nothing of a request.

    Every method takes a `deadline` (event-loop time, seconds) that bounds all of it, retries
    included, and raises a `PoolError` or `DeadlineExceededError`. What the pool did not take or
    did not do is tried again. An execution has no idempotency key, so it is sent once: where its
    answer is lost, that is a `PoolAnswerLostError`.
    """

    def __init__(
        self,
        endpoint: str,
        http: aiohttp.ClientSession,
        token: TokenProvider,
        *,
        jupyter_format: bool = True,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            endpoint: the pool's management endpoint.
            http: an open client that outlives this.
            token: gives tokens.
            jupyter_format: whether to ask for all outputs of a cell. A pool that refuses is not
                asked again.
        """
        self._calls = PoolCalls(endpoint, http, token)
        self._asks_for_jupyter_format = jupyter_format
        # Known once an answer can only be the one or the other: `[]` could be both.
        self._speaks_jupyter_format = jupyter_format

    def __repr__(self) -> str:
        return f"<SessionsClient {self._calls.endpoint.rpartition('/')[2]}>"

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
        body: dict[str, JsonValue] = {
            "codeInputType": "Inline",
            "executionType": "Synchronous",
            "code": code,
            "timeoutInSeconds": timeout_s,
            "outputStreamsMaxLength": max_chars,
        }
        jupyter = self._asks_for_jupyter_format
        try:
            flag = {"returnJupyterFormatExecutionResult": True} if jupyter else {}
            reply = await self._execution(identifier, body | flag, timeout_s, deadline)
        except PoolRefusedError:
            if not jupyter:
                raise
            # Refused before it ran. If it is refused without the flag too, that was not the reason.
            jupyter = False
            reply = await self._execution(identifier, body, timeout_s, deadline)
            self._asks_for_jupyter_format = False
            logger.warning("pool: it has no Jupyter format; of several outputs it shows one")
        try:
            parsed = _ExecutionReply.model_validate_json(await reply.read())
        except ValidationError as error:
            raise _not_the_protocol("an execution") from error
        result = parsed.result or _ExecutionResult()
        annotate_execution(parsed.status, round(result.duration_ms), reply.headers)
        cell = self._outputs(result.result, jupyter=jupyter)
        stdout = result.stdout or cell.stdout[:max_chars]
        stderr = result.stderr or cell.stderr[:max_chars]
        streams = {"stdout": stdout, "stderr": stderr}
        return SessionExecution(
            status=parsed.status,
            stdout=stdout,
            stderr=stderr,
            outputs=cell.shown,
            cut=tuple(name for name, text in streams.items() if _is_cut(text, max_chars)),
            duration_ms=round(result.duration_ms),
            session_guid=reply.headers.get("x-ms-session-guid"),
        )

    async def _execution(
        self,
        identifier: str,
        body: dict[str, JsonValue],
        timeout_s: int,
        deadline: float,
        *,
        once: bool = True,
        purpose: str = "",
    ) -> aiohttp.ClientResponse:
        return await self._calls.request(
            "POST",
            "executions",
            identifier,
            deadline=deadline,
            reply_timeout_s=timeout_s + TRANSPORT_MARGIN_S,
            json=body,
            headers={"operation-id": secrets.token_hex(16)},
            # Code has no key by which the service could know it again.
            once=once,
            purpose=purpose,
        )

    def _outputs(self, value: JsonValue, *, jupyter: bool) -> CellOutputs:
        cell = read_outputs(value, jupyter=jupyter)
        if not jupyter:
            return cell
        if cell.in_jupyter_format is not None:
            self._speaks_jupyter_format = cell.in_jupyter_format
        elif not self._speaks_jupyter_format:
            return read_outputs(value, jupyter=False)
        return cell

    async def allocate(self, identifier: str, *, deadline: float) -> None:
        """Have the pool allocate a session, if there is none; nothing happens in it.

        No call does only that: all allocate but those that get or delete the session. The list of
        its files runs no code: the first cell stays the first.
        """
        await self._calls.request("GET", "files", identifier, deadline=deadline)

    async def delete_session(self, identifier: str, *, deadline: float) -> None:
        """Give the session back; its kernel and files are gone. Fine if there is none."""
        with contextlib.suppress(PoolNotFoundError):
            await self._calls.request("DELETE", "session", identifier, deadline=deadline)

    async def is_idle(self, identifier: str, *, timeout_s: float) -> bool:
        """Whether the session runs code within so many seconds; one that runs code does not."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            ran = await self.execute(
                identifier, "pass", timeout_s=1, max_chars=1000, deadline=deadline
            )
        except (DeadlineExceededError, PoolAnswerLostError):
            return False
        return ran.status == "Succeeded"

    async def is_alive(self, identifier: str, *, deadline: float) -> bool:
        """Whether the pool has a session with this identifier; this call alone creates none."""
        try:
            await self._calls.request("GET", "session", identifier, deadline=deadline)
        except PoolNotFoundError:
            return False
        return True

    async def survey(
        self, identifier: str, errand: Errand = _NO_ERRAND, *, deadline: float
    ) -> Survey | None:
        """All files in /mnt/data, asked of the session itself; waits for code that runs there.

        Returns:
            None where code made the session unable to answer.
        """
        code, mark = survey_code(errand)
        body: dict[str, JsonValue] = {
            "codeInputType": "Inline",
            "executionType": "Synchronous",
            "code": code,
            "timeoutInSeconds": SURVEY_TIMEOUT_S,
            "outputStreamsMaxLength": ANSWER_MAX_CHARS,
        }
        for attempt in range(SURVEY_ATTEMPTS):
            try:
                # It may be done twice.
                reply = await self._execution(
                    identifier, body, SURVEY_TIMEOUT_S, deadline, once=False, purpose="survey"
                )
                break
            except PoolNotFoundError:
                # The session ended while this waited for its turn.
                if attempt == SURVEY_ATTEMPTS - 1:
                    raise
        try:
            parsed = _ExecutionReply.model_validate_json(await reply.read())
        except ValidationError as error:
            raise _not_the_protocol("an execution") from error
        stdout = (parsed.result and parsed.result.stdout) or ""
        return read_survey(stdout, mark, reply.headers.get("x-ms-session-guid"))

    async def list_files(self, identifier: str, *, deadline: float) -> list[SessionFile]:
        """The files in /mnt/data and in folders below it, as the service lists them.

        Those whose names are not UTF-8 are left out. It does not wait for code that runs.
        """
        files: list[SessionFile] = []
        path: str | None = "files"
        parameters: dict[str, str] = {"recursive": "true"}
        while path:
            reply = await self._calls.request(
                "GET", path, identifier, deadline=deadline, parameters=parameters
            )
            try:
                page = _FilePage.model_validate_json(await reply.read())
            except ValidationError as error:
                raise _not_the_protocol("a list of files") from error
            files += [
                SessionFile(name_of(name.encode()), f.size_bytes, f.modified_at)
                for f in page.value
                if f.type.lower() != "directory"
                and not is_transfer(f.name)
                and "\N{REPLACEMENT CHARACTER}" not in (name := _full_name(f))
            ]
            path, parameters = (self._path_of(page.next_link), {}) if page.next_link else (None, {})
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
            name: of the file; see `names`.
            size_bytes: length of the content, at most 128 MB.
            open_content: called for each attempt; yields the content.
            deadline: see the class.
        """
        move = await self.send_file(identifier, name, size_bytes, open_content, deadline=deadline)
        if move:
            survey = await self.survey(identifier, Errand(moves=[move]), deadline=deadline)
            if survey is None or survey.failed:
                raise PoolRefusedError(f"The session could not name a file {name}.")

    async def send_file(
        self,
        identifier: str,
        name: str,
        size_bytes: int,
        open_content: ContentOpener,
        *,
        deadline: float,
    ) -> tuple[str, str] | None:
        """The same, but for the name of a file that the service does not take.

        Returns:
            The `Errand.moves` that gives such a file its name; None where it has it.
        """
        plain = "/" not in name and is_plain(name)
        sent = name if plain else new_transfer()
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{sent}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def form() -> AsyncIterator[bytes]:
            yield head
            async for chunk in open_content():
                yield chunk
            yield tail

        await self._calls.request(
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
        return None if plain else (sent, name)

    @contextlib.asynccontextmanager
    async def open_file(
        self, identifier: str, name: str, *, deadline: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content of a file in /mnt/data, as it arrives."""
        async with contextlib.AsyncExitStack() as resources:
            if not is_plain(name):
                linked = self._linked(identifier, name, deadline)
                name = await resources.enter_async_context(linked)
            folder, _, last = name.rpartition("/")
            path = f"files/{_segment(last)}/content"
            try:
                async with asyncio.timeout_at(deadline):
                    reply = await self._calls.request(
                        "GET",
                        path,
                        identifier,
                        deadline=deadline,
                        stream=True,
                        parameters={"path": folder} if folder else {},
                    )
                    try:
                        yield reply.content.iter_any()
                    finally:
                        reply.close()
            except aiohttp.ClientError as error:
                raise PoolUnreachableError("The connection to the session pool broke.") from error
            except TimeoutError as error:
                raise out_of_time() from error

    @contextlib.asynccontextmanager
    async def _linked(self, identifier: str, name: str, deadline: float) -> AsyncIterator[str]:
        """A second name of a file, that every call takes."""
        link = new_transfer()
        survey = await self.survey(identifier, Errand(links=[(name, link)]), deadline=deadline)
        if survey is None or survey.failed:
            raise PoolNotFoundError("The session has no such file.")
        try:
            yield link
        finally:
            with contextlib.suppress(PoolError, DeadlineExceededError):
                await self.delete_file(identifier, link, deadline=deadline)

    async def delete_file(self, identifier: str, name: str, *, deadline: float) -> None:
        """Remove a file from /mnt/data."""
        if not is_plain(name):
            survey = await self.survey(identifier, Errand(removes=[name]), deadline=deadline)
            if survey is None or survey.failed:
                raise PoolNotFoundError("The session has no such file.")
            return
        folder, _, last = name.rpartition("/")
        await self._calls.request(
            "DELETE",
            f"files/{_segment(last)}",
            identifier,
            deadline=deadline,
            parameters={"path": folder} if folder else {},
        )

    def _path_of(self, next_link: str) -> str:
        # A token goes nowhere but to the pool.
        if not next_link.startswith(f"{self._calls.endpoint}/"):
            raise _not_the_protocol("a list of files")
        return next_link.removeprefix(f"{self._calls.endpoint}/")


def _not_the_protocol(expected: str) -> PoolRefusedError:
    return PoolRefusedError(
        f"The session pool did not answer with {expected}. "
        "Check that POOL_MANAGEMENT_ENDPOINT is the pool's poolManagementEndpoint."
    )


def _is_cut(text: str, max_chars: int) -> bool:
    """Whether a stream ends where a pool would cut it, which leaves no mark.

    That is where it was asked to, or at a bound of its own: a power of two from the service's
    default of 4,096 on. It may count as .NET does, in units of UTF-16.
    """
    if len(text) < _SMALLEST_CUT_CHARS:
        return len(text) >= max_chars
    units = len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
    return units >= max_chars or any(n.bit_count() == 1 for n in (len(text), units))


def _full_name(file: _File) -> str:
    folder = (file.directory or "").strip("/").removeprefix("mnt/data").strip("/")
    return file.name if folder in ("", ".") else f"{folder}/{file.name}"


def _segment(name: str) -> str:
    return quote(name, safe="")
