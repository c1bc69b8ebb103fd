"""Which store a URL names."""

from pathlib import Path

import pytest

from agent.conversations.store import open_store
from agent.errors import SettingsError
from local.managed_identity import ManagedIdentity
from tests.agent.conversations.samples import ALICE, new_conversation
from tests.support.azurite.server import MintedCredential

CREDENTIAL = MintedCredential(ManagedIdentity())


async def test_a_file_url_names_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    async with open_store(root.as_uri(), CREDENTIAL) as store:
        conversation = await new_conversation(store)
    assert (root / ALICE.folder / conversation.id).is_dir()


async def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("file:.local/conversations", CREDENTIAL) as store:
        await new_conversation(store)
    assert (tmp_path / ".local" / "conversations" / ALICE.folder).is_dir()


async def test_an_https_url_names_a_container() -> None:
    url = "https://account.blob.core.windows.net/conversations"
    async with open_store(url, CREDENTIAL) as store:
        assert repr(store) == "<BlobStore account/conversations>"


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
async def test_any_other_url_is_the_settings_fault(url: str) -> None:
    with pytest.raises(SettingsError, match="CONVERSATIONS_URL") as refused:
        async with open_store(url, CREDENTIAL):
            pass
    assert "secret" not in str(refused.value)
