"""Every store there is, to hold all of them to one contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.conversations import ConversationStore, Limits
from agent.conversations.folder import FolderStore

type OpenStore = Callable[[Limits], ConversationStore]


@pytest.fixture(params=["folder"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the store as one more worker would: nothing is shared in memory."""
    return lambda limits: FolderStore(tmp_path / "conversations", limits)


@pytest.fixture
def store(worker: OpenStore) -> ConversationStore:
    return worker(Limits())
