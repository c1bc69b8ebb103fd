"""Starts Azurite for tests: loopback, a free port, in memory, https, bearer tokens only for us.

How near this is to Azure: Azurite takes bearer tokens over https only, as Azure does, so it has a
certificate of its own that clients must be told to trust. Of a token it checks audience, issuer and
validity in time, not the signature, and it knows no roles: how a missing role is refused shows in
Azure alone. The tokens are those of the local managed identity.
"""

import contextlib
import datetime
import re
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientMiddlewareType
from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

from local.managed_identity import ManagedIdentity
from local.tls import TlsFiles
from tests.support.installation import node_program, npm_packages
from tests.support.waiting import until

AUDIENCE = "https://storage.azure.com"
# Azurite's one account: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
START_TIMEOUT_S = 30


class MintedCredential:
    """The local managed identity as a credential, without its endpoint in between."""

    def __init__(self, identity: ManagedIdentity, *, audience: str = AUDIENCE) -> None:
        self._identity = identity
        self._audience = audience

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        info = await self.get_token_info(*scopes)
        return AccessToken(info.token, info.expires_on)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        assert scopes == (f"{AUDIENCE}/.default",)
        now = datetime.datetime.now(datetime.UTC).timestamp()
        return AccessTokenInfo(self._identity.mint(self._audience), int(now) + 3600)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> "MintedCredential":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class MintedTokens:
    """The same as the agent asks for tokens."""

    def __init__(self, identity: ManagedIdentity, *, audience: str = AUDIENCE) -> None:
        self._identity = identity
        self._audience = audience

    async def __call__(self) -> str:
        return self._identity.mint(self._audience)

    async def renew(self, refused: str) -> bool:
        return False


class _Connector(aiohttp.TCPConnector):
    """Is closed when its sockets are.

    aiohttp does not use a connection again whose answer to HEAD has no length. It closes it then,
    which ends with the server's part of it, and that may come after a test's event loop is closed.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._sockets: list[socket.socket] = []
        super().__init__(ssl=tls, limit=0, socket_factory=self._opened)

    def _opened(self, address: aiohttp.AddrInfoType) -> socket.socket:
        self._sockets.append(socket.socket(*address[:3]))
        return self._sockets[-1]

    async def close(self, *, abort_ssl: bool = False) -> None:
        await super().close(abort_ssl=abort_ssl)
        await until(lambda: all(opened.fileno() < 0 for opened in self._sockets))


def connections(ca_file: str, *middlewares: ClientMiddlewareType) -> aiohttp.ClientSession:
    """Connections like those of a runtime, which trust this certificate; to be closed."""
    tls = ssl.create_default_context(cafile=ca_file)
    return aiohttp.ClientSession(connector=_Connector(tls), middlewares=middlewares)


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running Azurite.

    Attributes:
        account_url: where its containers are.
        ca_file: the certificate to trust, PEM.
    """

    account_url: str
    ca_file: str


@contextlib.contextmanager
def running() -> Iterator[Azurite]:
    """Azurite, installed if need be, while the block runs."""
    folder = npm_packages("azurite", Path(__file__).parent, ["package.json", "package-lock.json"])
    program = [node_program("node"), str(folder / "node_modules/azurite/dist/src/blob/main.js")]
    with tempfile.TemporaryDirectory() as work:
        tls = TlsFiles(Path(work, "tls"))
        certificate, key = tls.server_files()
        log = Path(work, "azurite.log")
        options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
        options += ["--oauth", "basic", "--cert", certificate, "--key", key]
        # The client may speak a newer version of the REST API than Azurite lists.
        options += ["--skipApiVersionCheck", "--disableTelemetry"]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [*program, *options],
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Azurite(f"{_base_url(process, log)}/{ACCOUNT}", str(tls.authority))
            finally:
                process.kill()


def _base_url(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up_at:
        if found := re.search(r"successfully listens on (https://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"Azurite did not start:\n{log.read_text()[-2000:]}")
