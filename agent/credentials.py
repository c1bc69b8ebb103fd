"""The identity that gets tokens: the managed identity in Azure, the developer's login on a laptop.

https://learn.microsoft.com/python/api/azure-identity/azure.identity.aio.defaultazurecredential
"""

from collections.abc import Awaitable, Callable

from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider

from agent.errors import IdentityError
from agent.telemetry import logger

MODEL_SCOPE = "https://cognitiveservices.azure.com/.default"
POOL_SCOPE = "https://dynamicsessions.io/.default"


def open_credential(client_id: str | None) -> DefaultAzureCredential:
    """A credential to be closed by the caller; no request is made yet.

    Args:
        client_id: of the user-assigned managed identity, None for the system-assigned one.
    """
    # requests comes with msal anyway; aiohttp would take one more client and its TLS context.
    transport = AsyncioRequestsTransport()
    if client_id is None:
        return DefaultAzureCredential(transport=transport)
    return DefaultAzureCredential(transport=transport, managed_identity_client_id=client_id)


def token_provider(credential: DefaultAzureCredential, scope: str) -> Callable[[], Awaitable[str]]:
    """A function that gives a valid token for `scope`, from memory while it is fresh.

    It raises IdentityError; the log, not the error, says what the identity endpoint answered.
    """
    provider = get_bearer_token_provider(credential, scope)

    async def token() -> str:
        try:
            return await provider()
        except ClientAuthenticationError as error:
            logger.warning("no token for %s: %s", scope, error.message)
            raise IdentityError(
                "In Azure, assign the managed identity to the app (AZURE_CLIENT_ID names a "
                "user-assigned one); on a laptop, start the local Azure or sign in with `az login`."
            ) from error

    return token
