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
        url: `https://<account>.blob.core.windows.net/<container>`, or `file:///<folder>`.
        credential: for Azure Blob, where the app's identity needs the role Storage Blob Data
            Contributor on the container; it outlives this. Not used for a folder.
        limits: others than the default ones.
    """
    # Each is imported by whoever uses it: Azure Blob's client costs 0.3 s of CPU time and 17 MB,
    # and the folder needs flock, which Windows does not have.
    if urlsplit(url).scheme == "file":
        from agent.conversations.folder import FolderStore

        yield FolderStore(Path(url2pathname(urlsplit(url).path)), limits)
        return
    from agent.conversations.blob import BlobStore, open_container

    async with open_container(url, credential) as container:
        yield BlobStore(container, limits)
