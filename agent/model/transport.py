"""The openai client's requests over the worker's own connections, which are aiohttp's.

The client brings such a transport too (`DefaultAioHttpClient`), which opens connections of its own
and takes more of each request apart: a twentieth of a turn's CPU time, and of a cold start's.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import httpx2
from yarl import URL

# As the client has it. Who waits for an answer has a deadline, and needs no second clock, which
# would be wound up for each piece.
_TIMEOUT: Final = aiohttp.ClientTimeout(sock_connect=5)
PIECE_BYTES: Final = 256 * 1024
# What went wrong in aiohttp's words → in those that the client knows; the most specific first.
_ERRORS: Final[dict[type[Exception], type[httpx2.TransportError]]] = {
    aiohttp.ServerTimeoutError: httpx2.ConnectTimeout,
    aiohttp.ClientProxyConnectionError: httpx2.ProxyError,
    aiohttp.ClientHttpProxyError: httpx2.ProxyError,
    aiohttp.ClientConnectorError: httpx2.ConnectError,
    aiohttp.InvalidURL: httpx2.UnsupportedProtocol,
    aiohttp.ClientResponseError: httpx2.RemoteProtocolError,
    # A connection that is reset or ends, an answer that does not add up.
    Exception: httpx2.ReadError,
}


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests over an open session, which outlives this."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See AsyncBaseTransport."""
        content: bytes | AsyncIterator[bytes] = request.content
        if len(request.content) > PIECE_BYTES:
            content = _pieces(request.content)
            request.headers["Content-Length"] = str(len(request.content))
        try:
            reply = await self._http.request(
                request.method,
                # Encoded already; yarl would decode what is as good as itself.
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=content or None,
                # Both are the client's to do, if it wants to.
                allow_redirects=False,
                auto_decompress=False,
                timeout=_TIMEOUT,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _in_httpx2(error) from error
        response = httpx2.Response(reply.status, headers=reply.raw_headers, stream=_Body(reply))
        # Else it is found out, by decoding all of them.
        response.headers.encoding = "iso-8859-1"
        return response


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """A long body; encrypted whole, it would hold the loop and be in memory three times."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]
        await asyncio.sleep(0)


class _Body(httpx2.AsyncByteStream):
    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._reply.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _in_httpx2(error) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give the connection back; one whose answer was not read to its end is closed."""
        self._reply.release()
        await self._reply.wait_for_close()


def _in_httpx2(error: Exception) -> httpx2.TransportError:
    kind = next(ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs))
    return kind(str(error))
