"""One download: https alone, from an allowed host at a public address, bounded in size and time.

Nothing of one download reaches another: each has a client of its own, without cookies, credentials,
proxies from the environment or connections that are kept.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from agent.frozen import frozen
from agent.open_data.addresses import Address, CheckedResolver, is_public
from agent.open_data.errors import AddressNotPublicError, FetchError
from agent.open_data.file_names import file_name
from agent.open_data.hosts import AllowedHosts

DOWNLOAD_MAX_BYTES: Final = 16 * 1024**2  # as a conversation keeps
DOWNLOAD_TIMEOUT_S: Final = 60
REDIRECTS_MAX: Final = 5
CONNECT_TIMEOUT_S: Final = 10
SILENCE_TIMEOUT_S: Final = 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ERROR_WORDS_MAX_BYTES: Final = 500
_HEADERS: Final = {
    "Accept": "*/*",
    # Nothing is unpacked here, so that nothing can grow here: what comes compressed all the same is
    # saved so, and a session with limits of its own unpacks it.
    "Accept-Encoding": "identity",
    # Many hosts refuse who does not say who they are.
    "User-Agent": "functions-code-interpreter",
}
_CONTENT_TYPE: Final = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,80}")
# Content-Encoding → whether the file is compressed.
_ENCODINGS: Final = {"": False, "identity": False, "gzip": True, "x-gzip": True}


@frozen
class Download:
    """A file.

    Attributes:
        name: plain, see `file_names`.
        content_type: as the host has it, without parameters, in lower case.
        content: all of it.
        host: that sent it, after redirects.
    """

    name: str
    content_type: str
    content: bytes
    host: str


@frozen
class Bounds:
    """How much one download may be."""

    max_bytes: int = DOWNLOAD_MAX_BYTES
    timeout_s: float = DOWNLOAD_TIMEOUT_S


_BOUNDS: Final = Bounds()


class OpenData:
    """Downloads from allowed hosts. Safe to share: it keeps nothing of a download."""

    def __init__(
        self,
        hosts: AllowedHosts,
        tls: ssl.SSLContext,
        *,
        bounds: Bounds = _BOUNDS,
        resolver: AbstractResolver | None = None,
        is_allowed_address: Callable[[Address], bool] = is_public,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            hosts: where data may come from.
            tls: which authorities are trusted.
            bounds: of each download.
            resolver: looks names up, in place of the system's.
            is_allowed_address: tells whether an address may be connected to.
        """
        self.hosts = hosts
        self._tls = tls
        self._bounds = bounds
        self._resolver = resolver
        self._is_allowed_address = is_allowed_address

    async def get(self, address: str) -> Download:
        """The file at an address.

        Raises:
            FetchError: there is none, or it may not be fetched; tells the model what to do.
        """
        url = self.hosts.url_of(address)
        try:
            async with asyncio.timeout(self._bounds.timeout_s), self._client() as client:
                for _ in range(REDIRECTS_MAX + 1):
                    async with client.get(url, allow_redirects=False) as reply:
                        if reply.status not in _REDIRECTS:
                            return await self._read(reply)
                        url = self._target_of(reply)
        except aiohttp.ClientError as error:
            raise _as_fetch_error(error, str(url.raw_host)) from error
        except TimeoutError as error:
            raise FetchError(
                f"{url.raw_host} took too long: a file must arrive within "
                f"{self._bounds.timeout_s:g} seconds. Ask for less of it."
            ) from error
        raise FetchError(f"{url.raw_host} redirects more than {REDIRECTS_MAX} times.")

    def _client(self) -> aiohttp.ClientSession:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                resolver=CheckedResolver(resolver, self._is_allowed_address),
                use_dns_cache=False,
                force_close=True,
            ),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
            ),
            # A proxy would look names up by itself, where no address is checked.
            trust_env=False,
            auto_decompress=False,
        )

    def _target_of(self, reply: aiohttp.ClientResponse) -> URL:
        try:
            target = urljoin(str(reply.url), reply.headers.get("Location", ""))
            return self.hosts.url_of(target)
        except ValueError:
            raise FetchError(f"{reply.url.raw_host} redirects to what is no URL.") from None
        except FetchError as error:
            raise FetchError(f"{reply.url.raw_host} redirects elsewhere. {error}") from None

    async def _read(self, reply: aiohttp.ClientResponse) -> Download:
        host, content_type = str(reply.url.raw_host), _content_type_of(reply)
        if reply.status != 200:
            raise FetchError(f"{host} answered HTTP {reply.status}.{await _words_of(reply)}")
        encoding = ", ".join(reply.headers.getall("Content-Encoding", ())).strip().lower()
        if encoding not in _ENCODINGS:
            raise FetchError(f"{host} sent the file compressed in a way that was not asked for.")
        content = bytearray()
        if (reply.content_length or 0) > self._bounds.max_bytes:
            raise self._too_large(host)
        async for chunk in reply.content.iter_any():
            content += chunk
            if len(content) > self._bounds.max_bytes:
                raise self._too_large(host)
        name = file_name(
            disposition=reply.headers.get("Content-Disposition", ""),
            path=reply.url.raw_path,
            content_type=content_type,
        )
        if _ENCODINGS[encoding] and not name.endswith(".gz"):
            name += ".gz"
        return Download(name, content_type, bytes(content), host)

    def _too_large(self, host: str) -> FetchError:
        return FetchError(
            f"The file of {host} is larger than {self._bounds.max_bytes:,} bytes: ask for a part "
            "of it, if the host lets you choose columns, rows or dates in the URL."
        )


def fetcher(
    hosts: str, tls: ssl.SSLContext, *, max_bytes: int, timeout_s: float
) -> Callable[[str], Awaitable[bytes]]:
    """A function that gets the content of the file at an address, and raises FetchError.

    Args:
        hosts: names, as AllowedHosts reads them.
        tls: which authorities are trusted.
        max_bytes: of a file.
        timeout_s: for a file.

    Raises:
        ValueError: says which entry of `hosts` is not a name.
    """
    open_data = OpenData(AllowedHosts.parse(hosts), tls, bounds=Bounds(max_bytes, timeout_s))

    async def fetch(address: str) -> bytes:
        return (await open_data.get(address)).content

    return fetch


def _content_type_of(reply: aiohttp.ClientResponse) -> str:
    """What the host says that it is; a header could say anything, and of any length."""
    claimed = reply.content_type.lower()
    return claimed if _CONTENT_TYPE.fullmatch(claimed) else "application/octet-stream"


async def _words_of(reply: aiohttp.ClientResponse) -> str:
    """What a host says of a URL that it does not take, as far as it is not a page for people."""
    if reply.content_type not in {"application/json", "application/problem+json", "text/plain"}:
        return ""
    words = (await reply.content.read(_ERROR_WORDS_MAX_BYTES)).decode("utf-8", "replace")
    return f" It says: {words}" if words else ""


def _as_fetch_error(error: aiohttp.ClientError, host: str) -> FetchError:
    match error:
        case aiohttp.ClientConnectorDNSError(os_error=AddressNotPublicError()):
            return FetchError(f"The name {host} leads to an address that is not public.")
        case aiohttp.ClientConnectorDNSError():
            return FetchError(f"There is no host of the name {host}.")
        case aiohttp.ClientSSLError():
            return FetchError(f"{host} has no certificate that is valid for its name.")
        case aiohttp.ServerTimeoutError():
            return FetchError(f"{host} was silent for too long. Try once more, or later.")
        case aiohttp.ClientPayloadError():
            return FetchError(f"The connection to {host} broke before the file was complete.")
        case aiohttp.ClientResponseError():
            return FetchError(f"What {host} answered is not HTTP.")
    return FetchError(f"There is no connection to {host}. Try once more, or later.")
