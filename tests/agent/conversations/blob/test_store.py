"""What is Azure Blob's own: leases, append blocks, identities, and what others put there."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from agent.conversations.blob.container import Container as Client
from agent.conversations.blob.store import BlobStore
from agent.conversations.owner import ANONYMOUS
from agent.conversations.store import Limits, open_store
from agent.credentials import STORE_SCOPE, Tokens, open_credential
from agent.errors import (
    ConversationBusyError,
    ConversationNotFoundError,
    ConversationUnreadableError,
    HoldLostError,
    IdentityError,
    StoreAccessError,
    StoreError,
    StoreNotFoundError,
    StoreUnreachableError,
)
from local.managed_identity import ManagedIdentity
from local.serving import serve
from tests.agent.conversations.conftest import Container
from tests.agent.conversations.samples import ALICE, new_conversation, turn
from tests.support.azurite.server import Azurite, MintedTokens, connections
from tests.support.telemetry import attributes_of, recorded


@pytest_asyncio.fixture
async def store(container: Container) -> BlobStore:
    return BlobStore(container.open())


def history(container: Container, conversation_id: str) -> BlobClient:
    return container.sdk.get_blob_client(f"{ALICE.folder}/{conversation_id}/turns.jsonl")


async def test_the_lease_of_a_dead_worker_expires_and_that_of_a_living_one_does_not(
    container: Container,
) -> None:
    lease_s = 15  # the shortest there is
    store = BlobStore(container.open(), lease_s=lease_s)
    first, second = await new_conversation(store), await new_conversation(store)
    async with store.hold(ALICE, second.id) as held:
        # All that a worker leaves that is killed in the middle of a turn.
        await BlobLeaseClient(history(container, first.id)).acquire(lease_duration=lease_s)
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, first.id):
                pass
        async with asyncio.timeout(lease_s + 10):
            while True:
                try:
                    async with store.hold(ALICE, first.id) as next_turn:
                        await next_turn.append(turn("Next"))
                    break
                except ConversationBusyError:
                    await asyncio.sleep(0.5)
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, second.id):
                pass
        await held.append(turn())
    assert [turn.input for turn in (await store.get(ALICE, first.id)).turns] == ["Next"]


async def test_a_worker_that_lost_its_lease_cannot_append(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as slow:
        await BlobLeaseClient(history(container, conversation.id)).break_lease(0)
        async with store.hold(ALICE, conversation.id) as quick:
            with pytest.raises(HoldLostError):
                await slow.append(turn("Too late"))
            await quick.append(turn("In time"))
            with pytest.raises(HoldLostError):
                await slow.append(turn("Far too late"))
    assert [t.input for t in (await store.get(ALICE, conversation.id)).turns] == ["In time"]


async def test_the_history_goes_when_its_conversation_is_deleted_elsewhere(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        blob = history(container, conversation.id)
        await BlobLeaseClient(blob).break_lease(0)
        await blob.delete_blob()
        with pytest.raises(ConversationNotFoundError):
            await held.append(turn())


def counting(methods: list[str]) -> ClientMiddlewareType:
    """Notes the method of each request that is sent."""

    async def middleware(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        methods.append(request.method)
        return await handler(request)

    return middleware


def losing_answers(lost: Callable[[str, str], bool]) -> ClientMiddlewareType:
    """Sends every request, and says of some that the connection broke before their answer."""

    async def middleware(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await handler(request)
        if lost(request.method, str(request.url)):
            await answer.read()
            raise aiohttp.ServerDisconnectedError
        return answer

    return middleware


async def test_a_turn_whose_answer_got_lost_is_there_once(container: Container) -> None:
    lost: list[str] = []

    def first_append(method: str, url: str) -> bool:
        if method == "PUT" and "comp=appendblock" in url and not lost:
            lost.append(url)
            return True
        return False

    store = BlobStore(container.open(losing_answers(first_append)))
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 1"))
        await held.append(turn("Question 2"))
    assert lost
    read = await store.get(ALICE, conversation.id)
    assert [turn.input for turn in read.turns] == ["Question 1", "Question 2"]


async def test_a_turn_costs_as_few_requests_as_it_can(container: Container) -> None:
    methods: list[str] = []
    store = BlobStore(container.open(counting(methods)))
    async with store.start(ANONYMOUS) as held:
        await held.append(turn())
    made_leased_appended_released = ["PUT"] * 4
    assert methods == made_leased_appended_released
    methods.clear()
    async with store.hold(ANONYMOUS, held.conversation.id) as held:
        await held.append(turn())
    leased_read_appended_released = ["PUT", "GET", "PUT", "PUT"]
    assert methods == leased_read_appended_released
    methods.clear()
    # What a turn does before its first execution: whether it is there and its files, in one.
    assert await store.list_files(ANONYMOUS, held.conversation.id) == []
    assert methods == ["GET"]


async def test_a_list_costs_who_signed_in_two_requests_a_turn_and_one_a_page(
    container: Container,
) -> None:
    methods: list[str] = []
    store = BlobStore(container.open(counting(methods)))
    async with store.start(ALICE) as held:
        await held.append(turn())
    made_leased_appended_listed_released = ["PUT"] * 5
    assert methods == made_leased_appended_listed_released
    methods.clear()
    later = replace(turn(), asked_at=datetime(2026, 2, 3, tzinfo=UTC))
    async with store.hold(ALICE, held.conversation.id) as held:
        await held.append(later)
    assert sorted(methods) == ["DELETE", "GET", *["PUT"] * 4]
    for _ in range(11):
        async with store.start(ALICE):
            pass
    methods.clear()
    page = await store.list_conversations(ALICE, 5)
    page = await store.list_conversations(ALICE, 5, page.next_cursor)
    page = await store.list_conversations(ALICE, 5, page.next_cursor)
    assert [entry.updated_at for entry in page.conversations][-1] == later.asked_at
    assert methods == ["GET"] * 3


async def test_a_list_that_cannot_be_kept_costs_no_turn(container: Container) -> None:
    lost = losing_answers(lambda _, url: "/recent/" in url)
    store = BlobStore(container.open(lost))
    async with store.start(ALICE) as held:
        await held.append(turn())
    assert (await store.get(ALICE, held.conversation.id)).turn_count == 1


async def test_a_long_history_costs_two_reads_however_long(container: Container) -> None:
    store = BlobStore(container.open())
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        for _ in range(40):
            await held.append(turn(printed="x" * 10_000))
    methods: list[str] = []
    counted = BlobStore(container.open(counting(methods)), Limits(get_max_bytes=100_000))
    read = await counted.get(ALICE, conversation.id)
    assert read.turn_count == 40
    assert 0 < len(read.turns) < 20
    assert methods == ["GET", "GET"]


WELL_FORMED = {"format": "1", "created_at": "2026-01-02T03:04:05+00:00"}


@pytest.mark.parametrize(
    ("metadata", "content"),
    [
        (None, b""),
        ({"format": "2", "created_at": WELL_FORMED["created_at"]}, b""),
        ({"format": "1"}, b""),
        ({"format": "1", "created_at": "yesterday"}, b""),
        (WELL_FORMED, b"\x00\xff not JSON\n"),
        (WELL_FORMED, b'{"number": 1, "turn": null}\n'),
        (WELL_FORMED, b'{"number": 1'),
        (WELL_FORMED, b"{}\n{}\n"),
    ],
)
async def test_a_foreign_append_blob_is_a_clear_error(
    container: Container, store: BlobStore, metadata: dict[str, str] | None, content: bytes
) -> None:
    blob = history(container, "0" * 32)
    await blob.create_append_blob(metadata=metadata)
    if content:
        await blob.append_block(content, len(content))
    with pytest.raises(ConversationUnreadableError) as refused:
        await store.get(ALICE, "0" * 32)
    assert "not JSON" not in str(refused.value)
    with pytest.raises(ConversationUnreadableError):
        async with store.hold(ALICE, "0" * 32):
            pass
    await store.delete(ALICE, "0" * 32)


async def test_a_foreign_block_blob_is_a_clear_error(
    container: Container, store: BlobStore
) -> None:
    blob = history(container, "0" * 32)
    await blob.upload_blob(b"{}")
    with pytest.raises(ConversationUnreadableError):
        await store.get(ALICE, "0" * 32)


async def test_a_foreign_key_is_a_clear_error(container: Container, store: BlobStore) -> None:
    await container.sdk.upload_blob("pool-identifier-key", b"short")
    with pytest.raises(StoreError, match="pool-identifier-key"):
        await store.identifier_key()


async def test_a_missing_container_is_named_by_its_setting(azurite: Azurite) -> None:
    url = f"{azurite.account_url}/nowhere"
    async with connections(azurite.ca_file) as http:
        store = BlobStore(Client(url, http, MintedTokens(ManagedIdentity())))
        with pytest.raises(StoreNotFoundError, match="CONVERSATIONS_URL"):
            await new_conversation(store)
        with pytest.raises(StoreNotFoundError):
            await store.get(ALICE, "0" * 32)
        with pytest.raises(StoreNotFoundError):
            await store.identifier_key()


async def test_a_token_for_another_service_is_refused(
    azurite: Azurite, container: Container
) -> None:
    tokens = MintedTokens(ManagedIdentity(), audience="https://dynamicsessions.io")
    async with connections(azurite.ca_file) as http:
        with pytest.raises(StoreAccessError):
            await new_conversation(BlobStore(Client(container.url, http, tokens)))


async def test_an_account_that_is_not_reached_is_retryable(unused_tcp_port: int) -> None:
    url = f"https://127.0.0.1:{unused_tcp_port}/account/container"
    async with aiohttp.ClientSession() as http:
        with pytest.raises(StoreUnreachableError) as refused:
            await new_conversation(BlobStore(Client(url, http, MintedTokens(ManagedIdentity()))))
    assert refused.value.status == 503
    assert refused.value.retryable


async def test_the_managed_identity_opens_the_container(
    azurite: Azurite, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ManagedIdentity()
    async with serve(identity.app) as endpoint, connections(azurite.ca_file) as http:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint}{identity.path}")
        monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
        async with open_credential(None) as credential:
            tokens = Tokens(credential, STORE_SCOPE, lambda: open_credential(None))
            store = await open_store(container.url, http, tokens)
            conversation = await new_conversation(store)
            async with store.hold(ALICE, conversation.id) as held:
                await held.append(turn())
            assert (await store.get(ALICE, conversation.id)).turns == (turn(),)


async def test_an_identity_without_token_is_told_from_a_refused_one(
    azurite: Azurite, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ManagedIdentity(system_assigned=None)
    async with serve(identity.app) as endpoint, connections(azurite.ca_file) as http:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint}{identity.path}")
        monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        async with open_credential(None) as credential:
            tokens = Tokens(credential, STORE_SCOPE, lambda: open_credential(None))
            with pytest.raises(IdentityError):
                await new_conversation(await open_store(container.url, http, tokens))


async def test_each_request_is_a_span_that_names_neither_owner_nor_conversation(
    store: BlobStore, container: Container
) -> None:
    with recorded() as taken:
        conversation = await new_conversation(store)
        async with store.hold(ALICE, conversation.id) as held:
            await held.append(turn("private"))
        with pytest.raises(ConversationNotFoundError):
            await store.get(ALICE, "0" * 32)
    names = {span.name for span in taken.spans}
    assert "PUT /{container}/{blob}?comp=appendblock" in names
    assert "PUT /{container}/{blob}?comp=lease" in names
    assert 404 in {attributes_of(span)["http.response.status_code"] for span in taken.spans}
    text = "".join(span.to_json() for span in taken.spans)
    for private in (conversation.id, ALICE.folder, container.url.rpartition("/")[2], "private"):
        assert private not in text, private
