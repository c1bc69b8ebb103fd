"""Which store a URL names."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from agent.conversations.store import open_store
from agent.errors import SettingsError
from local.managed_identity import ManagedIdentity
from tests.agent.conversations.samples import ALICE, new_conversation
from tests.support.azurite.server import MintedTokens

TOKENS = MintedTokens(ManagedIdentity())


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_file_url_names_a_folder(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    root = tmp_path / "with space"
    conversation = await new_conversation(await open_store(root.as_uri(), http, TOKENS))
    assert (root / ALICE.folder / conversation.id).is_dir()


async def test_a_folder_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession
) -> None:
    monkeypatch.chdir(tmp_path)
    await new_conversation(await open_store("file:.local/conversations", http, TOKENS))
    assert (tmp_path / ".local" / "conversations" / ALICE.folder).is_dir()


async def test_an_https_url_names_a_container(http: aiohttp.ClientSession) -> None:
    url = "https://account.blob.core.windows.net/conversations"
    store = await open_store(url, http, TOKENS)
    assert repr(store) == "<BlobStore account.blob.core.windows.net/conversations>"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "conversations",
        "file:",
        "file:///",
        "file://elsewhere/folder",
        "http://127.0.0.1:10000/devstoreaccount1/conversations",
        "https://account.blob.core.windows.net",
        "https://account.blob.core.windows.net/",
        "https://account.blob.core.windows.net/conversations?sig=secret",
        "https:///conversations",
    ],
)
async def test_any_other_url_is_the_settings_fault(url: str, http: aiohttp.ClientSession) -> None:
    with pytest.raises(SettingsError, match="CONVERSATIONS_URL") as refused:
        await open_store(url, http, TOKENS)
    assert "secret" not in str(refused.value)
