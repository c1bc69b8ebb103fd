"""Maps errors of Azure Blob Storage to ours.

https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.storage.blob import StorageErrorCode

from agent.conversations.store import conversation_busy, no_such_conversation
from agent.errors import (
    AgentError,
    HoldLostError,
    IdentityError,
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
    StoreUnreachableError,
)
from agent.telemetry import logger

ROLE: Final = "Storage Blob Data Contributor"
# Of one call with its retries; a block of a file is one call.
OPERATION_TIMEOUT_S: Final = 30

_BUSY: Final = frozenset({"LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"})
_LEASE_LOST_CODES: Final = frozenset(
    {
        "AppendPositionConditionNotMet",
        "LeaseIdMismatchWithBlobOperation",
        "LeaseIdMismatchWithLeaseOperation",
        "LeaseLost",
        "LeaseNotPresentWithBlobOperation",
        "LeaseNotPresentWithLeaseOperation",
    }
)


@contextlib.asynccontextmanager
async def blob_call(*, missing: AgentError | None = None) -> AsyncIterator[None]:
    """One call of the client, with a limit in time and with our errors.

    Args:
        missing: what it means that there is no such blob; without it, no such conversation.
    """
    try:
        async with asyncio.timeout(OPERATION_TIMEOUT_S):
            yield
    except HttpResponseError as error:
        raise _of_answer(error, missing or no_such_conversation()) from error
    # requests' own errors, which the transport lets through while a body arrives, are OSErrors;
    # so is TimeoutError.
    except (AzureError, OSError) as error:
        logger.warning("blob: %s", type(error).__name__)
        raise StoreUnreachableError("There is no connection to Azure Blob Storage.") from error


def code_of(error: HttpResponseError) -> str:
    """Azure Blob's error code; empty where the answer has none, or it was not Azure Blob's."""
    code = getattr(error, "error_code", None)
    return code.value if isinstance(code, StorageErrorCode) else str(code or "")


def _of_answer(error: HttpResponseError, missing: AgentError) -> AgentError:
    code, status = code_of(error), error.status_code
    if isinstance(error, ClientAuthenticationError) and status is None:
        logger.warning("no token for Azure Blob Storage: %s", error.message)
        return IdentityError(
            "In Azure, assign the managed identity to the app (AZURE_CLIENT_ID names a "
            "user-assigned one); on a laptop, sign in with `az login`, or keep the conversations "
            "in a folder."
        )
    if code in _BUSY:
        return conversation_busy()
    if code in _LEASE_LOST_CODES:
        return HoldLostError("Another turn continued the conversation. Ask again.")
    if code == "ContainerNotFound":
        return StoreNotFoundError("The container that CONVERSATIONS_URL names does not exist.")
    if isinstance(error, ResourceNotFoundError):
        return missing
    logger.warning("blob: HTTP %s %s", status, code)
    if status == 401:
        return StoreAccessError(
            "Azure Blob Storage refused the token. Check that the identity belongs to the "
            "account's Entra tenant."
        )
    if status == 403:
        return StoreAccessError(
            f"The app's identity needs the role '{ROLE}' on the container of the conversations, "
            "and the account's network rules must let the app in. A new assignment takes some "
            "minutes."
        )
    return StoreError(f"Azure Blob Storage answered HTTP {status} {code}.".replace(" .", "."))
