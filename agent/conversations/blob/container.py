"""One container of Azure Blob Storage by its REST API, over the worker's own connections.

Microsoft's library takes 4 ms of CPU time a request, ten times what the request itself takes, and a
turn of a conversation makes four. What it is needed for here is small: blobs of one container,
written by this app alone.
https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

import asyncio
import itertools
import random
import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from io import BytesIO
from typing import Final
from urllib.parse import quote, unquote, urlencode

import aiohttp
from yarl import URL

from agent.conversations.blob.errors import error_of
from agent.errors import AgentError, StoreUnreachableError
from agent.frozen import frozen
from agent.telemetry import logger
from agent.telemetry.calls import HttpSpan, count_retry, server_of
from agent.tokens import TokenProvider

API_VERSION: Final = "2025-11-05"
# Of one call with its retries; a block of a file is one call.
OPERATION_TIMEOUT_S: Final = 30
ATTEMPTS: Final = 3
FIRST_BACKOFF_S: Final = 1
METADATA: Final = "x-ms-meta-"
_SHORT_BYTES: Final = 256 * 1024
_TIMEOUT: Final = aiohttp.ClientTimeout(sock_connect=10, sock_read=20)
# https://learn.microsoft.com/azure/architecture/best-practices/retry-service-specific
_TRY_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})


@frozen
class Reply:
    """What the service answered, with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The service's error code; empty where there is none, or it is no plain word."""
        code = self.headers.get("x-ms-error-code", "")
        return code if code.isalnum() and len(code) <= 64 else ""

    @property
    def metadata(self) -> dict[str, str]:
        """Of the blob that was asked for."""
        return {
            name.removeprefix(METADATA): value
            for header, value in self.headers.items()
            if (name := header.lower()).startswith(METADATA)
        }


@frozen
class Part:
    """Some bytes of a blob.

    Attributes:
        blob: its name.
        content: as many as were asked for, or as there are.
        size_bytes: of the whole blob.
        reply: with the blob's properties.
    """

    blob: str
    content: bytes
    size_bytes: int
    reply: Reply


@frozen
class ListedBlob:
    """A blob as a list shows it; its metadata only where they were asked for."""

    name: str
    size_bytes: int
    modified_at: datetime
    metadata: Mapping[str, str]


class Container:
    """The blobs of one container, which exists; safe to share, it keeps nothing of a request.

    Each call raises a StoreError, or what its `missing` says where there is no such blob. What the
    service did not do (408, 429, 5xx, a connection that failed) is tried again, not before its
    Retry-After. So a call may be done twice: what must not be has a condition.
    """

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        token: TokenProvider,
        *,
        first_backoff_s: float = FIRST_BACKOFF_S,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            url: of the container, https.
            http: an open client that outlives this.
            token: gives tokens.
            first_backoff_s: the wait before a call is tried again, twice that the next time.
        """
        self._url = url.rstrip("/")
        self._server = server_of(self._url)
        self._http = http
        self._token = token
        self._first_backoff_s = first_backoff_s

    def __str__(self) -> str:
        return self._url.removeprefix("https://")

    async def request(
        self,
        method: str,
        blob: str = "",
        operation: str = "",
        *,
        missing: AgentError | None = None,
        accepts: Collection[str | int] = (),
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """The answer, which has status 2xx or is one of those that are accepted.

        Args:
            method: of HTTP.
            blob: its name; the container itself without one.
            operation: what is asked of it (`comp`), if not the blob itself.
            missing: what it means that there is no such blob; without it, no such conversation.
            accepts: statuses and error codes that the caller looks at itself.
            parameters: of the query besides.
            headers: besides those that every request has.
            body: of the request.
        """
        path = f"/{quote(blob, safe='/~')}" if blob else ""
        query = f"?comp={operation}" if operation else ""
        template = f"/{{container}}/{{blob}}{query}" if blob else f"/{{container}}{query}"
        if parameters:
            query += f"{'&' if query else '?'}{urlencode(parameters)}"
        # Encoded already: yarl would decode what is as good as itself in a name.
        url = URL(f"{self._url}{path}{query}", encoded=True)
        sent = {**(headers or {}), "x-ms-version": API_VERSION}
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT_S) as limit:
                for attempt in itertools.count(1):
                    token = await self._token()
                    sent["Authorization"] = f"Bearer {token}"
                    sent["x-ms-date"] = _as_header(datetime.now(UTC).replace(microsecond=0))
                    span = HttpSpan(
                        "store", method, template, self._server, limit=limit, attempt=attempt
                    )
                    try:
                        with span:
                            reply = await self._sent(span, method, url, sent, body)
                            if not _is_taken(reply, accepts):
                                span.failed(str(reply.status))
                    except StoreUnreachableError:
                        pause_s = self._pause_s(attempt, limit)
                        if pause_s is None:
                            raise
                    else:
                        if reply.status == 401 and attempt == 1 and await self._token.renew(token):
                            continue
                        if reply.status not in _TRY_AGAIN:
                            break
                        pause_s = self._pause_s(attempt, limit, _retry_after_s(reply) or 0)
                        if pause_s is None:
                            break
                    count_retry("store")
                    await asyncio.sleep(pause_s)
        except TimeoutError as error:
            raise _unreachable() from error
        if _is_taken(reply, accepts):
            return reply
        raise error_of(reply.status, reply.code, missing, _retry_after_s(reply))

    def _pause_s(self, attempt: int, limit: asyncio.Timeout, at_least_s: float = 0) -> float | None:
        """The wait before another attempt; None if there shall be none."""
        jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads retries over time; no secret comes of it
        pause_s = max(self._first_backoff_s * 2 ** (attempt - 1) * jitter, at_least_s)
        left_s = (limit.when() or 0) - asyncio.get_running_loop().time()
        return None if attempt == ATTEMPTS or pause_s >= left_s else pause_s

    async def _sent(
        self, span: HttpSpan, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        try:
            # Read to its end, or closed by aiohttp where that fails: `async with` does no more.
            reply = await self._http.request(
                method,
                url,
                headers=headers,
                # What is long is written in pieces.
                data=BytesIO(body) if len(body) > _SHORT_BYTES else body or None,
                timeout=_TIMEOUT,
                # A redirect could lead the token elsewhere.
                allow_redirects=False,
            )
            span.answered(reply.status)
            return Reply(reply.status, reply.headers, await reply.read())
        except (aiohttp.ClientError, OSError) as error:
            logger.warning("blob: %s", type(error).__name__)
            raise _unreachable() from error

    async def read(
        self,
        blob: str,
        start: int,
        max_bytes: int,
        *,
        etag: str = "",
        missing: AgentError | None = None,
    ) -> Part:
        """The bytes of a blob from `start` on, at most so many.

        Args:
            blob: its name.
            start: of the bytes.
            max_bytes: of what is read.
            etag: the blob must still have it.
            missing: see `request`.
        """
        headers = {"x-ms-range": f"bytes={start}-{start + max_bytes - 1}"}
        if etag:
            headers["If-Match"] = etag
        reply = await self.request(
            "GET", blob, headers=headers, missing=missing, accepts={"InvalidRange"}
        )
        if reply.status < 300:
            # The length of the blob, not of the range: "bytes 0-9/100".
            size = reply.headers.get("content-range", "").rpartition("/")[2]
            return Part(blob, reply.body, int(size or len(reply.body)), reply)
        # There is none of these bytes: an empty blob has no range.
        reply = await self.request("HEAD", blob, missing=missing)
        return Part(blob, b"", int(reply.headers.get("content-length", 0)), reply)

    async def put(self, blob: str, kind: str, headers: Mapping[str, str]) -> Reply:
        """Make an empty blob (`BlockBlob`, `AppendBlob`), in place of one of that name."""
        return await self.request("PUT", blob, headers={**headers, "x-ms-blob-type": kind})

    async def list_blobs(
        self,
        prefix: str,
        marker: str = "",
        *,
        parameters: Mapping[str, str] | None = None,
        accepts: Collection[int] = (),
    ) -> tuple[list[ListedBlob], str] | None:
        """Blobs whose names begin so, by name, and the marker of those that follow, if any do.

        Args:
            prefix: of their names.
            marker: of the list before.
            parameters: of the list besides.
            accepts: statuses for which the answer is None.
        """
        asked = {"restype": "container", "prefix": prefix, **(parameters or {})}
        if marker:
            asked["marker"] = marker
        reply = await self.request("GET", "", "list", parameters=asked, accepts=accepts)
        if reply.status >= 300:
            return None
        listed = ET.fromstring(reply.body)  # noqa: S314 - Azure Blob's own answer over TLS: who can forge it has the conversations anyway
        return [_listed(blob) for blob in listed.iter("Blob")], listed.findtext("NextMarker") or ""

    async def all_blobs(self, prefix: str) -> list[ListedBlob]:
        """All blobs whose names begin so, by name; one call gives up to 5,000."""
        found: list[ListedBlob] = []
        marker = ""
        while page := await self.list_blobs(prefix, marker):
            blobs, marker = page
            found += blobs
            if not marker:
                break
        return found


def as_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as they are sent."""
    return {f"{METADATA}{name}": text for name, text in metadata.items()}


def _listed(blob: ET.Element) -> ListedBlob:
    name = blob.find("Name")
    text = "" if name is None else name.text or ""
    # What XML cannot say.
    encoded = name is not None and name.get("Encoded") == "true"
    return ListedBlob(
        unquote(text) if encoded else text,
        int(blob.findtext("Properties/Content-Length") or 0),
        parsedate_to_datetime(blob.findtext("Properties/Last-Modified") or ""),
        {element.tag: element.text or "" for element in blob.iterfind("Metadata/*")},
    )


def _is_taken(reply: Reply, accepts: Collection[str | int]) -> bool:
    return 200 <= reply.status < 300 or reply.status in accepts or reply.code in accepts


def _unreachable() -> StoreUnreachableError:
    return StoreUnreachableError("There is no connection to Azure Blob Storage.")


def _retry_after_s(reply: Reply) -> int | None:
    value = reply.headers.get("retry-after", "")
    return int(value) if value.isascii() and value.isdigit() else None


@lru_cache(maxsize=1)  # calls of one second have one date
def _as_header(at: datetime) -> str:
    return format_datetime(at, usegmt=True)
