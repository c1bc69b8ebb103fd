"""Maps errors of Azure Blob Storage to ours.

https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from typing import Final

from agent.conversations.store import conversation_busy, no_such_conversation
from agent.errors import (
    AgentError,
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
)
from agent.telemetry import logger

ROLE: Final = "Storage Blob Data Contributor"


def error_of(
    status: int, code: str, missing: AgentError | None = None, retry_after_s: int | None = None
) -> AgentError:
    """Our error for an answer of the service.

    Args:
        status: of HTTP.
        code: the service's own.
        missing: what it means that there is no such blob; without it, no such conversation.
        retry_after_s: when the service said that it can.
    """
    if code == "LeaseIdMissing":
        # Of a worker with an earlier version of this app.
        return conversation_busy()
    if code == "ContainerNotFound":
        return StoreNotFoundError("The container that CONVERSATIONS_URL names does not exist.")
    if status == 404:
        return missing or no_such_conversation()
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
    words = f"Azure Blob Storage answered HTTP {status} {code}.".replace(" .", ".")
    return StoreError(words, retry_after_s=retry_after_s)
