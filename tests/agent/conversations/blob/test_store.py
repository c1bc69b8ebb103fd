"""What is Azure Blob's own: holds, append blocks, identities, and what others put there."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from agent.conversations.blob.container import Container as Client
from agent.conversations.blob.store import BlobStore
from agent.conversations.file_names import stored_name
from agent.conversations.owner import ANONYMOUS
from agent.conversations.store import Limits, open_store
from agent.credentials import STORE_SCOPE, Tokens, open_credential
from agent.errors import (
    ConversationBusyError,
    ConversationNotFoundError,
    ConversationUnreadableError,
    FileNotStoredError,
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
from tests.support.identities import shared_identity
from tests.support.telemetry import attributes_of, recorded


@pytest_asyncio.fixture
async def store(container: Container) -> BlobStore:
    return BlobStore(container.open())


def history(container: Container, conversation_id: str) -> BlobClient:
    return container.sdk.get_blob_client(f"{ALICE.folder}/{conversation_id}/turns.jsonl")


async def metadata_of(blob: BlobClient) -> dict[str, str]:
    return dict((await blob.get_blob_properties()).metadata)


async def test_the_hold_of_a_dead_worker_ends_and_that_of_a_living_one_does_not(
    container: Container,
) -> None:
    hold_s = 3
    store = BlobStore(container.open(), hold_s=hold_s)
    first, second = await new_conversation(store), await new_conversation(store)
    async with store.hold(ALICE, second.id) as held:
        # All that a worker leaves that is killed in the middle of a turn.
        blob = history(container, first.id)
        holder = {"holder": f"{'0' * 32}-0"}
        await blob.set_blob_metadata(await metadata_of(blob) | holder)
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, first.id):
                pass
        async with asyncio.timeout(hold_s + 10):
            while True:
                try:
                    async with store.hold(ALICE, first.id) as next_turn:
                        await next_turn.append(turn("Next"))
                    break
                except ConversationBusyError:
                    await asyncio.sleep(0.2)
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, second.id):
                pass
        await held.append(turn())
    assert [turn.input for turn in (await store.get(ALICE, first.id)).turns] == ["Next"]


async def freed(container: Container, conversation_id: str) -> None:
    """Have a hold end as if it had not been renewed in time."""
    blob = history(container, conversation_id)
    left = await metadata_of(blob)
    del left["holder"]
    await blob.set_blob_metadata(left)


async def test_a_worker_that_lost_its_hold_cannot_append(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as slow:
        await freed(container, conversation.id)
        async with store.hold(ALICE, conversation.id) as quick:
            with pytest.raises(HoldLostError):
                await slow.append(turn("Too late"))
            await quick.append(turn("In time"))
            with pytest.raises(HoldLostError):
                await slow.append(turn("Far too late"))
    assert [t.input for t in (await store.get(ALICE, conversation.id)).turns] == ["In time"]


async def test_a_hold_that_was_lost_is_not_given_back_in_place_of_another(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    async with AsyncExitStack() as other:
        async with store.hold(ALICE, conversation.id):
            await freed(container, conversation.id)
            quick = await other.enter_async_context(store.hold(ALICE, conversation.id))
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, conversation.id):
                pass
        await quick.append(turn("In time"))


async def test_a_renewal_that_finds_the_hold_lost_lets_nobody_write_in_place_of_another(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    looked = asyncio.Event()

    async def looking(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await handler(request)
        if request.method == "HEAD":
            looked.set()
        return answer

    slow_store = BlobStore(container.open(looking), hold_s=0.3)
    async with AsyncExitStack() as other:
        async with slow_store.hold(ALICE, conversation.id) as slow:
            await freed(container, conversation.id)
            quick = await other.enter_async_context(store.hold(ALICE, conversation.id))
            looked.clear()
            # Only a renewal that was refused looks why.
            await asyncio.wait_for(looked.wait(), 10)
            await asyncio.sleep(0.02)
            with pytest.raises(HoldLostError):
                await slow.append(turn("Too late"))
        await quick.append(turn("In time"))
    assert [t.input for t in (await store.get(ALICE, conversation.id)).turns] == ["In time"]


@pytest.mark.parametrize("ends", ["with a turn", "without one, its caller cancelled"])
async def test_a_turn_does_not_wait_for_a_renewal_that_hangs(
    container: Container, store: BlobStore, ends: str
) -> None:
    """The renewal is done, or not: its answer does not come."""
    conversation = await new_conversation(store)
    hangs = asyncio.Event()

    async def hanging(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await handler(request)
        if "comp=metadata" in str(request.url) and held_at.is_set() and not hangs.is_set():
            hangs.set()
            await asyncio.Event().wait()
        return answer

    held_at = asyncio.Event()
    slow_store = BlobStore(container.open(hanging), hold_s=0.3)

    async def take_a_turn() -> None:
        async with slow_store.hold(ALICE, conversation.id) as held:
            held_at.set()
            await hangs.wait()
            if ends == "with a turn":
                await held.append(turn("In time"))

    taken = asyncio.create_task(take_a_turn())
    await hangs.wait()
    if ends != "with a turn":
        taken.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({taken})
    async with store.hold(ALICE, conversation.id) as held:
        assert held.conversation.turn_count == (ends == "with a turn")


def losing_first_deletions() -> ClientMiddlewareType:
    """The answer to the first deletion of each blob gets lost."""
    seen: set[str] = set()

    def first_of_each(method: str, url: str) -> bool:
        is_first = method == "DELETE" and url not in seen
        if is_first:
            seen.add(url)
        return is_first

    return losing_answers(first_of_each)


async def test_a_deletion_whose_answer_got_lost_is_done(container: Container) -> None:
    store = BlobStore(container.open(losing_first_deletions()))
    conversation = await new_conversation(store)
    name = f"{ALICE.folder}/{conversation.id}/files/{stored_name('a.txt')}"
    await container.sdk.upload_blob(name, b"1")
    await store.delete(ALICE, conversation.id)
    with pytest.raises(ConversationNotFoundError):
        await store.delete(ALICE, conversation.id)


async def test_the_deletion_of_a_file_whose_answer_got_lost_is_done(container: Container) -> None:
    store = BlobStore(container.open(losing_first_deletions()))
    conversation = await new_conversation(store)
    name = f"{ALICE.folder}/{conversation.id}/files/{stored_name('a.txt')}"
    await container.sdk.upload_blob(name, b"1")
    await store.delete_file(ALICE, conversation.id, "a.txt")
    assert await store.list_files(ALICE, conversation.id) == []
    with pytest.raises(FileNotStoredError):
        await store.delete_file(ALICE, conversation.id, "a.txt")


async def test_of_many_who_come_at_once_one_goes_on_with_a_conversation(
    container: Container,
) -> None:
    stores = [BlobStore(container.open()) for _ in range(8)]
    conversation = await new_conversation(stores[0])
    taken: list[str] = []

    async def go_on(number: int) -> None:
        try:
            async with stores[number].hold(ALICE, conversation.id) as held:
                await asyncio.sleep(0.05)
                await held.append(turn(f"Question {number}"))
                taken.append(f"Question {number}")
        except ConversationBusyError:
            pass

    for _ in range(3):
        await asyncio.gather(*map(go_on, range(8)))
    read = await stores[0].get(ALICE, conversation.id)
    assert len(taken) >= 3
    assert [turn.input for turn in read.turns] == taken


@pytest.mark.parametrize("lost", ["comp=metadata", "comp=appendblock", "PUT "])
async def test_a_change_whose_answer_got_lost_is_our_own(container: Container, lost: str) -> None:
    """Each of them is sent twice: what takes the hold, renews it, adds the turn, gives it back."""
    seen: set[str] = set()

    def first_of_each(method: str, url: str) -> bool:
        call = f"{method} {url}"
        is_first = lost in call and call not in seen
        seen.add(call)
        return is_first

    store = BlobStore(container.open(losing_answers(first_of_each)), hold_s=3)
    async with store.start(ALICE) as held:
        await held.append(turn("Question 1"))
    seen.clear()
    async with store.hold(ALICE, held.conversation.id) as held:
        seen.clear()
        await asyncio.sleep(1.1)  # a renewal
        seen.clear()
        await held.append(turn("Question 2"))
    seen.clear()
    async with store.hold(ALICE, held.conversation.id):
        seen.clear()
    async with store.hold(ALICE, held.conversation.id):
        pass
    read = await store.get(ALICE, held.conversation.id)
    assert [turn.input for turn in read.turns] == ["Question 1", "Question 2"]


async def test_a_lease_of_an_earlier_version_is_a_hold_too(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    lease = BlobLeaseClient(history(container, conversation.id))
    await lease.acquire(lease_duration=15)
    with pytest.raises(ConversationBusyError):
        async with store.hold(ALICE, conversation.id):
            pass
    await lease.release()
    async with store.hold(ALICE, conversation.id):
        pass


async def test_the_history_goes_when_its_conversation_is_deleted_elsewhere(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await history(container, conversation.id).delete_blob()
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


async def test_a_turn_costs_as_few_requests_as_it_can(container: Container) -> None:
    methods: list[str] = []
    store, other = (BlobStore(container.open(counting(methods))) for _ in range(2))
    async with store.start(ANONYMOUS) as held:
        await held.append(turn())
    made_appended = ["PUT"] * 2
    assert methods == made_appended

    async def requests_of_a_turn(worker: BlobStore) -> list[str]:
        methods.clear()
        async with worker.hold(ANONYMOUS, held.conversation.id) as going:
            await going.append(turn())
        return list(methods)

    held_appended, read_held_appended = ["PUT"] * 2, ["GET", "PUT", "PUT"]
    assert await requests_of_a_turn(store) == held_appended
    assert await requests_of_a_turn(store) == held_appended
    assert await requests_of_a_turn(other) == read_held_appended
    assert await requests_of_a_turn(other) == held_appended
    # That others go on with it too is found out once.
    assert await requests_of_a_turn(store) == ["PUT", *read_held_appended]
    for _ in range(2):
        assert await requests_of_a_turn(store) == read_held_appended
    methods.clear()
    # What a turn does before its first execution: whether it is there and its files, in one.
    assert await store.list_files(ANONYMOUS, held.conversation.id) == []
    assert methods == ["GET"]


async def test_a_turn_that_another_added_before_ones_own_was_answered_is_not_lost(
    container: Container, store: BlobStore
) -> None:
    conversation = await new_conversation(store)

    async def slow_answer(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await handler(request)
        if "comp=appendblock" in str(request.url) and not went_on.is_set():
            went_on.set()
            async with store.hold(ALICE, conversation.id) as held:
                await held.append(turn("Question 2"))
            raise aiohttp.ServerDisconnectedError
        return answer

    went_on = asyncio.Event()
    slow_store = BlobStore(container.open(slow_answer))
    async with slow_store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 1"))
    async with slow_store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 3"))
    read = await store.get(ALICE, conversation.id)
    assert [turn.input for turn in read.turns] == [f"Question {n}" for n in (1, 2, 3)]


async def test_a_turn_whose_caller_left_while_it_was_added_is_there_for_the_next(
    container: Container,
) -> None:
    added, answered = asyncio.Event(), asyncio.Event()

    async def slow_answer(
        request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await handler(request)
        if "comp=appendblock" in str(request.url):
            added.set()
            await answered.wait()
        return answer

    store = BlobStore(container.open(slow_answer))
    conversation = await new_conversation(store)

    async def take_a_turn() -> None:
        async with store.hold(ALICE, conversation.id) as held:
            await held.append(turn("Question 1"))

    taken = asyncio.create_task(take_a_turn())
    await added.wait()
    taken.cancel()
    await asyncio.sleep(0)
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await taken
    async with store.hold(ALICE, conversation.id) as held:
        assert [turn.messages[0].text for turn in held.conversation.turns] == ["Question 1"]


async def test_a_list_costs_who_signed_in_two_requests_a_turn_and_one_a_page(
    container: Container,
) -> None:
    methods: list[str] = []
    store = BlobStore(container.open(counting(methods)))
    async with store.start(ALICE) as held:
        await held.append(turn())
    made_appended_listed = ["PUT"] * 3
    assert methods == made_appended_listed
    methods.clear()
    later = replace(turn(), asked_at=datetime(2026, 2, 3, tzinfo=UTC))
    async with store.hold(ALICE, held.conversation.id) as held:
        await held.append(later)
    assert sorted(methods) == ["DELETE", *["PUT"] * 3]
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
        store = BlobStore(Client(url, http, MintedTokens(shared_identity())))
        with pytest.raises(StoreNotFoundError, match="CONVERSATIONS_URL"):
            await new_conversation(store)
        with pytest.raises(StoreNotFoundError):
            await store.get(ALICE, "0" * 32)
        with pytest.raises(StoreNotFoundError):
            await store.identifier_key()


async def test_a_token_for_another_service_is_refused(
    azurite: Azurite, container: Container
) -> None:
    tokens = MintedTokens(shared_identity(), audience="https://dynamicsessions.io")
    async with connections(azurite.ca_file) as http:
        with pytest.raises(StoreAccessError):
            await new_conversation(BlobStore(Client(container.url, http, tokens)))


async def test_an_account_that_is_not_reached_is_retryable(unused_tcp_port: int) -> None:
    url = f"https://127.0.0.1:{unused_tcp_port}/account/container"
    async with aiohttp.ClientSession() as http:
        with pytest.raises(StoreUnreachableError) as refused:
            await new_conversation(BlobStore(Client(url, http, MintedTokens(shared_identity()))))
    assert refused.value.status == 503
    assert refused.value.retryable


async def test_the_managed_identity_opens_the_container(
    azurite: Azurite, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ManagedIdentity()
    async with serve(identity.app) as endpoint, connections(azurite.ca_file) as http:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{endpoint}{identity.path}")
        monkeypatch.setenv("IDENTITY_HEADER", identity.identity_header)
        async with open_credential(None, http) as credential:
            tokens = Tokens(credential, STORE_SCOPE, lambda: open_credential(None, http))
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
        async with open_credential(None, http) as credential:
            tokens = Tokens(credential, STORE_SCOPE, lambda: open_credential(None, http))
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
    assert "PUT /{container}/{blob}?comp=metadata" in names
    assert 404 in {attributes_of(span)["http.response.status_code"] for span in taken.spans}
    text = "".join(span.to_json() for span in taken.spans)
    for private in (conversation.id, ALICE.folder, container.url.rpartition("/")[2], "private"):
        assert private not in text, private
