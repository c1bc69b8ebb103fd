"""One call of the session pool's REST API: authorised, tried again, in our errors."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import lru_cache
from urllib.parse import quote_plus, urlencode

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from agent.errors import (
    AgentError,
    DeadlineExceededError,
    PoolAccessError,
    PoolAnswerLostError,
    PoolError,
    PoolFailedError,
    PoolFullError,
    PoolNotFoundError,
    PoolRefusedError,
    PoolTimeoutError,
    PoolUnreachableError,
)
from agent.telemetry import logger
from agent.telemetry.calls import HttpSpan, count_retry, server_of
from agent.tokens import TokenProvider

API_VERSION = "2025-10-02-preview"
CONNECT_TIMEOUT_S = 10
ATTEMPTS = 5
FIRST_BACKOFF_S = 0.5
# The service says so with HTTP 400.
SESSION_NOT_FOUND_CODES = frozenset({"SessionWithIdentifierNotFound", "SessionNotFound"})
# The connection was not made, or closed before all of the request was written.
_NOT_TAKEN = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientConnectionResetError,
)
ROLE = "Azure ContainerApps Session Executor"


type ContentOpener = Callable[[], AsyncIterator[bytes]]


class _TokenRefusedError(PoolAccessError):
    """Another token may be taken."""


class _ErrorBody(BaseModel):
    code: str | None = ""
    message: str | None = ""


class _ErrorReply(BaseModel):
    error: _ErrorBody


class PoolCalls:
    """Calls of one pool's API; keeps nothing of a request.

    Tried again with exponential back-off and jitter, and not before the service's Retry-After: 429,
    5xx and connections that failed.
    """

    def __init__(self, endpoint: str, http: aiohttp.ClientSession, token: TokenProvider) -> None:
        """Args: the pool's management endpoint, an open client that outlives this, tokens."""
        self.endpoint = endpoint
        self._server = server_of(endpoint)
        self._http = http
        self._token = token

    async def request(
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
        parameters: Mapping[str, str] | None = None,
        stream: bool = False,
        once: bool = False,
        purpose: str = "",
    ) -> aiohttp.ClientResponse:
        """The answer, which has status 2xx.

        Args:
            method: of HTTP.
            path: below the pool's endpoint, encoded.
            identifier: of the session.
            deadline: event-loop time, in seconds; bounds the retries too.
            reply_timeout_s: how long the pool may be silent.
            headers: besides authorization.
            json: a body, or
            open_body: called for each attempt.
            parameters: of the query, besides version and session.
            stream: leave the answer's body to be read by the caller, who closes it.
            once: the pool must not take it twice: only what it surely did not take is sent again.
            purpose: for its span; see HttpSpan.

        Raises:
            PoolAnswerLostError: `once`, and the pool may have done it.
            PoolError: by what went wrong.
            DeadlineExceededError: the deadline came first.
        """
        url = self._url(path, identifier, parameters or {})
        timeout = _timeout(reply_timeout_s)
        try:
            async with asyncio.timeout_at(deadline) as limit:
                for attempt in itertools.count(1):
                    token = await self._token()
                    authorization = {"Authorization": f"Bearer {token}"}
                    span = HttpSpan(
                        "pool",
                        method,
                        _template(path),
                        self._server,
                        limit=limit,
                        attempt=attempt,
                        purpose=purpose,
                    )
                    try:
                        with span:
                            sending = self._http.request(
                                method,
                                url,
                                headers={**(headers or {}), **authorization, **span.headers()},
                                json=json,
                                data=open_body() if open_body else None,
                                timeout=timeout,
                                # A redirect could lead the token elsewhere.
                                allow_redirects=False,
                            )
                            return await _reply_to(sending, span, stream=stream, once=once)
                    except _TokenRefusedError:
                        if attempt == ATTEMPTS or not await self._token.renew(token):
                            raise
                        continue
                    except PoolError as error:
                        pause_s = max(_backoff_s(attempt), error.retry_after_s or 0)
                        left_s = deadline - asyncio.get_running_loop().time()
                        if not error.retryable or attempt == ATTEMPTS or pause_s >= left_s:
                            raise
                        logger.info("pool: %s, attempt %d of %d", error.code, attempt, ATTEMPTS)
                        count_retry("pool")
                    await asyncio.sleep(pause_s)
        except TimeoutError as error:
            raise out_of_time() from error
        raise AssertionError("the loop returns or raises")

    def _url(self, path: str, identifier: str, more: Mapping[str, str]) -> URL:
        # Encoded here: yarl would decode what is as good as itself in a file's name.
        if "?" in path:  # the next page of a list
            parameters = {"api-version": API_VERSION, "identifier": identifier, **more}
            return URL(f"{self.endpoint}/{path}", encoded=True).update_query(parameters)
        rest = f"&{urlencode(more)}" if more else ""
        session = f"api-version={API_VERSION}&identifier={quote_plus(identifier)}"
        return URL(f"{self.endpoint}/{path}?{session}{rest}", encoded=True)


@lru_cache(maxsize=256)  # more than an execution has whole seconds
def _timeout(reply_timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=reply_timeout_s)


def _template(path: str) -> str:
    """The path without the name of a file or the page of a list."""
    first, *more = path.partition("?")[0].split("/")
    if first == "files" and more:
        return "files/{name}/content" if more[-1] == "content" else "files/{name}"
    return first


async def _reply_to(
    sending: Awaitable[aiohttp.ClientResponse], span: HttpSpan, *, stream: bool, once: bool
) -> aiohttp.ClientResponse:
    """One attempt, in our errors; the body is read, but for that of a stream."""
    try:
        reply = await sending
        span.answered(reply.status)
        succeeded = 200 <= reply.status < 300
        if not (stream and succeeded):
            await reply.read()
    except _NOT_TAKEN as error:
        raise PoolUnreachableError("There is no connection to the session pool.") from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error.__cause__, AgentError):  # the body's own
            raise error.__cause__ from error
        if once:
            raise _answer_lost() from error
        if isinstance(error, aiohttp.SocketTimeoutError):
            raise PoolTimeoutError("The session pool did not answer in time.") from error
        raise PoolUnreachableError("There is no connection to the session pool.") from error
    if succeeded:
        return reply
    body = await reply.read()
    if once and _may_have_run(reply.status, *_error_words(reply, body)):
        raise _answer_lost() from _error_of(reply, body)
    raise _error_of(reply, body)


def _may_have_run(status: int, code: str, message: str) -> bool:
    """Whether the code of an execution that ended with this error may have run all the same."""
    # The session ended under it.
    if code in SESSION_NOT_FOUND_CODES:
        return True
    # `Error happened when allocating pod for identifier …`: there was no session to run it.
    return status >= 500 and "allocating" not in message


def _answer_lost() -> PoolAnswerLostError:
    return PoolAnswerLostError(
        "The session pool took the code, but its answer was lost: the code may have run."
    )


def _error_of(reply: aiohttp.ClientResponse, body: bytes) -> PoolError:
    status, (code, message) = reply.status, _error_words(reply, body)
    if code in SESSION_NOT_FOUND_CODES:
        return PoolNotFoundError("Session not found in the pool.")
    logger.warning("pool: HTTP %d %s on %s", status, code, reply.method)
    match status:
        case 401:
            return _TokenRefusedError(
                "The session pool refused the token. Check that the identity belongs to the pool's "
                "Entra tenant."
            )
        case 403:
            return PoolAccessError(
                f"The app's identity needs the role '{ROLE}' on the session pool. "
                "A new assignment takes some minutes."
            )
        case 404:
            return PoolNotFoundError("Session, file or address not found in the pool.")
        case 429:
            return PoolFullError(
                "All sessions of the pool are in use.", retry_after_s=_retry_after_s(reply)
            )
        case 507:
            return PoolRefusedError("The session has no room for the file.")
        case _ if status >= 500 and "allocating" in message:
            return PoolFullError("The session pool could not start a session.")
        case _ if status >= 500:
            return PoolFailedError(
                f"The session pool answered HTTP {status}.", retry_after_s=_retry_after_s(reply)
            )
    return PoolRefusedError(f"The session pool answered HTTP {status} {code}.".replace(" .", "."))


def _error_words(reply: aiohttp.ClientResponse, body: bytes) -> tuple[str, str]:
    """The service's error code and message; a code that is not a plain word is left out."""
    code, message = reply.headers.get("x-ms-error-code", ""), ""
    try:
        error = _ErrorReply.model_validate_json(body).error
        code, message = code or error.code or "", error.message or ""
    except ValidationError:
        pass
    return code if code.isalnum() and len(code) <= 64 else "", message


def _retry_after_s(reply: aiohttp.ClientResponse) -> int | None:
    value = reply.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _backoff_s(attempt: int) -> float:
    jitter = random.uniform(0.5, 1)  # noqa: S311 - keeps turns that failed together from asking again together; nobody gains by guessing it
    return float(FIRST_BACKOFF_S * 2 ** (attempt - 1) * jitter)


def out_of_time() -> DeadlineExceededError:
    """The error for a call whose deadline passed first."""
    return DeadlineExceededError("The session pool did not answer before the deadline.")
