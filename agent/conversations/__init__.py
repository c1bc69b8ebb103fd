"""Conversations: what was said before, and which files belong to it?

A store keeps them: `open_store` gives the one that a URL names. `fit` makes of the turns what the
model reads again.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from agent.conversations.file_names import media_type_of
from agent.conversations.history import fit
from agent.conversations.records import Conversation, StoredFile, Turn
from agent.conversations.store import ConversationStore, HeldConversation, Limits
from agent.errors import SettingsError
from agent.messages import Message, ToolCall

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

__all__ = [
    "Conversation",
    "ConversationStore",
    "HeldConversation",
    "Limits",
    "Message",
    "StoredFile",
    "ToolCall",
    "Turn",
    "fit",
    "media_type_of",
    "open_store",
]


@contextlib.asynccontextmanager
async def open_store(
    url: str, credential: "AsyncTokenCredential", limits: Limits | None = None
) -> AsyncIterator[ConversationStore]:
    """The store at `url`, open while the block runs; no request is made yet.

    Args:
        url: `https://<account>.blob.core.windows.net/<container>`, or `file:<folder>`.
        credential: for Azure Blob, where the app's identity needs the role Storage Blob Data
            Contributor on the container; it outlives this. Not used for a folder.
        limits: others than the default ones.

    Raises:
        SettingsError: the URL is neither.
    """
    parts = urlsplit(url)
    container = [name for name in parts.path.split("/") if name]
    # Each is imported by whoever uses it: Azure Blob's client costs 60 ms of CPU time and 6 MB, and
    # the folder needs flock, which Windows does not have.
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        from agent.conversations.folder import FolderStore

        yield FolderStore(Path(url2pathname(parts.path)), limits)
    elif parts.scheme == "https" and parts.hostname and container and not parts.query:
        from agent.conversations.blob import BlobStore, open_container

        async with open_container(url, credential) as client:
            yield BlobStore(client, limits)
    else:
        raise SettingsError(
            "CONVERSATIONS_URL must be https://<account>.blob.core.windows.net/<container> without "
            "a SAS token, or file:<folder>."
        )
