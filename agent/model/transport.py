"""The openai client's requests over the worker's own connections, which are aiohttp's.

The client brings such a transport too (`DefaultAioHttpClient`), which opens connections of its own
and takes more of each request apart: a twentieth of a turn's CPU time, and of a cold start's.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx2
from yarl import URL

# As the client has them. A turn's own deadline comes first.
_TIMEOUT: Final = aiohttp.ClientTimeout(sock_connect=5, sock_read=600)
# What went wrong in aiohttp's words → in those that the client knows; the most specific first.
_ERRORS: Final[dict[type[Exception], type[httpx2.TransportError]]] = {
    aiohttp.SocketTimeoutError: httpx2.ReadTimeout,
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
        with _as_httpx2_errors():
            reply = await self._http.request(
                request.method,
                # Encoded already; yarl would decode what is as good as itself.
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=request.content or None,
                # Both are the client's to do, if it wants to.
                allow_redirects=False,
                auto_decompress=False,
                timeout=_TIMEOUT,
            )
        return httpx2.Response(reply.status, headers=reply.raw_headers, stream=_Body(reply))


class _Body(httpx2.AsyncByteStream):
    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx2_errors():
            async for piece in self._reply.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        """Give the connection back; one whose answer was not read to its end is closed."""
        self._reply.release()
        await self._reply.wait_for_close()


@contextmanager
def _as_httpx2_errors() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        kind = next(ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs))
        raise kind(str(error)) from error
