"""The identity that gets tokens: the managed identity in Azure, the developer's login on a laptop.

https://learn.microsoft.com/python/api/azure-identity/azure.identity.aio.defaultazurecredential
"""

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AioHttpTransport

from agent.deferred_imports import deferred_imports, unread_annotations
from agent.errors import IdentityError
from agent.lazy_reexports import lazy_reexports
from agent.telemetry import logger
from agent.telemetry.calls import token_span

# What only other ways to sign in need is loaded by them, a fifth of what importing the agent takes:
# X.509 by a certificate, requests by msal's own clients, of which the one for managed identities is
# named in the annotations of a module that every credential imports.
with (
    deferred_imports("cryptography.x509"),
    lazy_reexports("azure.identity"),
    lazy_reexports("msal"),
    unread_annotations("azure.identity._internal.msal_managed_identity_client"),
):
    import azure.identity._internal.msal_managed_identity_client  # noqa: F401 - used by nobody here: it must be loaded while `unread_annotations` is in force
    from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

MODEL_SCOPE = "https://cognitiveservices.azure.com/.default"
POOL_SCOPE = "https://dynamicsessions.io/.default"
STORE_SCOPE = "https://storage.azure.com/.default"
# A service that refuses every token should not have the identity endpoint asked with each call.
RENEWAL_PAUSE_S: Final = 60
# How long a token is handed out without asking the library, which then looks at the clock and makes
# a request to read its header. It gets another one five minutes before a token's end.
MEMORY_S: Final = 30


def open_credential(client_id: str | None, http: aiohttp.ClientSession) -> DefaultAzureCredential:
    """A credential to be closed by the caller; no request is made yet.

    Args:
        client_id: of the user-assigned managed identity, None for the system-assigned one.
        http: an open client that outlives this.
    """
    transport = AioHttpTransport(session=http, session_owner=False)
    if client_id is None:
        return DefaultAzureCredential(transport=transport)
    return DefaultAzureCredential(transport=transport, managed_identity_client_id=client_id)


class Tokens:
    """Valid tokens for one scope, from memory while they are fresh; call it for one.

    It raises IdentityError; the log, not the error, says what the identity endpoint answered.

    Args:
        credential: gives them; it outlives this.
        scope: of the service.
        open_other: makes one more credential, which has no token in memory.
    """

    def __init__(
        self,
        credential: DefaultAzureCredential,
        scope: str,
        open_other: Callable[[], DefaultAzureCredential],
    ) -> None:
        self._provider = get_bearer_token_provider(credential, scope)
        self._scope = scope
        self._open_other = open_other
        self._other: DefaultAzureCredential | None = None
        self._token = ""
        self._ask_at = 0.0
        self._renewing = asyncio.Lock()
        self._renewed_at = float(-RENEWAL_PAUSE_S)

    async def __call__(self) -> str:
        """A token."""
        now = asyncio.get_running_loop().time()
        if now >= self._ask_at:
            self._token = await self._asked()
            self._ask_at = now + MEMORY_S
        return self._token

    async def _asked(self) -> str:
        try:
            with token_span(self._scope):
                return await self._provider()
        except ClientAuthenticationError as error:
            logger.warning("no token for %s: %s", self._scope, error.message)
            raise IdentityError(
                "In Azure, assign the managed identity to the app (AZURE_CLIENT_ID names a "
                "user-assigned one); on a laptop, start the local Azure or sign in with `az login`."
            ) from error

    async def renew(self, refused: str) -> bool:
        """Forget a token that its service refuses; tells whether there is another one now.

        A service may refuse what is valid by its dates: whoever signs them has changed its key, as
        a local Azure does that starts again, or the token was revoked.
        """
        async with self._renewing:
            if await self() != refused:
                return True  # somebody else has
            now = asyncio.get_running_loop().time()
            if now - self._renewed_at < RENEWAL_PAUSE_S:
                return False
            self._renewed_at = now
            # The libraries' own memory cannot be emptied.
            before, self._other = self._other, self._open_other()
            self._provider = get_bearer_token_provider(self._other, self._scope)
            if before is not None:
                await before.close()
            self._ask_at = 0
            return await self() != refused

    async def aclose(self) -> None:
        """Close the credential that this made, if any."""
        if self._other is not None:
            await self._other.close()
