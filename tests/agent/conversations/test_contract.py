"""What callers of a store rely on, whichever it is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.conversations.owner import ANONYMOUS, Owner
from agent.conversations.records import Conversation, ConversationSummary, StoredFile, Turn
from agent.conversations.store import ConversationStore, Limits
from agent.errors import (
    ConversationBusyError,
    ConversationNotFoundError,
    FileNotStoredError,
    HoldLostError,
    InvalidRequestError,
    PayloadTooLargeError,
)
from agent.events import File
from tests.agent.conversations.conftest import OpenStore
from tests.agent.conversations.samples import (
    ALICE,
    BOB,
    as_the_next_turn_needs_it,
    new_conversation,
    turn,
)

UNKNOWN_ID = "0123456789abcdef0123456789abcdef"


async def content(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(store: ConversationStore, conversation: Conversation, name: str) -> bytes:
    async with store.open_file(conversation.owner, conversation.id, name) as (_, chunks):
        return b"".join([chunk async for chunk in chunks])


async def started(store: ConversationStore, turns: int = 0) -> Conversation:
    conversation = await new_conversation(store)
    if turns:
        async with store.hold(ALICE, conversation.id) as held:
            for number in range(turns):
                await held.append(turn(f"Question {number + 1}"))
    return conversation


def questions(conversation: Conversation) -> list[str]:
    return [turn.messages[0].text for turn in conversation.turns]


async def test_a_new_conversation_is_empty_and_has_an_id_of_128_bits(
    store: ConversationStore,
) -> None:
    before = datetime.now(UTC)
    first, second = await new_conversation(store), await new_conversation(store)
    assert first.turns == ()
    assert first.owner == ALICE
    assert first.id != second.id
    assert len(bytes.fromhex(first.id)) == 16
    assert before - timedelta(seconds=2) <= first.created_at <= datetime.now(UTC)


async def test_a_conversation_is_read_as_it_was_made(store: ConversationStore) -> None:
    made = await new_conversation(store)
    assert await store.get(ALICE, made.id) == made


async def test_a_turn_is_read_by_another_worker_as_it_was_appended(worker: OpenStore) -> None:
    store = worker(Limits())
    conversation = await new_conversation(store)
    asked = turn("Ein ½-Löffel „Zucker“?\r\n\x00\x1b \u2028 😀", printed="\\n\n" * 3)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(asked)
    stored = await worker(Limits()).get(ALICE, conversation.id)
    assert stored.turns == (asked,)
    assert held.conversation == as_the_next_turn_needs_it(stored)


async def test_a_new_conversation_is_held_for_its_first_turn(store: ConversationStore) -> None:
    async with store.start(ALICE) as held:
        conversation = held.conversation
        assert conversation.turns == ()
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, conversation.id):
                pass
        await held.append(turn("Question 1"))
        await held.append(turn("Question 2"))
    stored = await store.get(ALICE, conversation.id)
    assert held.conversation == as_the_next_turn_needs_it(stored)
    assert questions(stored) == ["Question 1", "Question 2"]
    with pytest.raises(HoldLostError):
        await held.append(turn())


async def test_the_next_turn_sees_all_turns_before_in_order(store: ConversationStore) -> None:
    conversation = await started(store, turns=3)
    async with store.hold(ALICE, conversation.id) as held:
        assert questions(held.conversation) == ["Question 1", "Question 2", "Question 3"]
        assert held.conversation.session_guid == "b7e1"


@pytest.mark.parametrize(
    "asked",
    [
        turn(),
        turn(printed="\ud83d"),
        turn(printed="x" * 30_000),
        replace(turn(), files=(File("a.png", "image/png", 3, "data:image/png;base64,AAAA"),)),
    ],
    ids=["short", "half a surrogate pair", "too long", "with a content"],
)
async def test_who_added_the_last_turn_goes_on_with_what_others_read(
    worker: OpenStore, asked: Turn
) -> None:
    limits = Limits(turn_max_bytes=20_000)
    store, other = worker(limits), worker(limits)
    async with store.start(ALICE) as held:
        await held.append(asked)
    for _ in range(3):
        async with store.hold(ALICE, held.conversation.id) as held:
            own = held.conversation
        async with other.hold(ALICE, held.conversation.id) as held:
            assert held.conversation == own
        async with store.hold(ALICE, held.conversation.id) as held:
            await held.append(asked)


async def test_who_added_a_turn_sees_what_others_added_since(worker: OpenStore) -> None:
    workers = [worker(Limits()), worker(Limits())]
    conversation = await new_conversation(workers[0])
    asked: list[str] = []
    for number in (0, 0, 1, 1, 0, 1, 0, 0):
        async with workers[number].hold(ALICE, conversation.id) as held:
            assert questions(held.conversation) == asked
            asked.append(f"Question {len(asked) + 1}")
            await held.append(turn(asked[-1]))
    assert questions(await workers[0].get(ALICE, conversation.id)) == asked


async def test_who_added_the_last_turn_is_told_of_a_turn_and_of_a_deletion_elsewhere(
    worker: OpenStore,
) -> None:
    store, other = worker(Limits()), worker(Limits())
    conversation = await started(store, turns=1)
    async with other.hold(ALICE, conversation.id):
        with pytest.raises(ConversationBusyError):
            async with store.hold(ALICE, conversation.id):
                pass
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn())
    await other.delete(ALICE, conversation.id)
    with pytest.raises(ConversationNotFoundError):
        async with store.hold(ALICE, conversation.id):
            pass


async def test_a_conversation_that_was_just_gone_on_with_is_its_owners_alone(
    store: ConversationStore,
) -> None:
    conversation = await started(store, turns=1)
    with pytest.raises(ConversationNotFoundError):
        async with store.hold(BOB, conversation.id):
            pass


async def test_a_hold_without_append_changes_nothing(store: ConversationStore) -> None:
    conversation = await started(store, turns=1)
    with pytest.raises(ZeroDivisionError):
        async with store.hold(ALICE, conversation.id):
            raise ZeroDivisionError
    assert questions(await store.get(ALICE, conversation.id)) == ["Question 1"]


async def test_a_second_turn_at_the_same_time_is_told_to_come_back(worker: OpenStore) -> None:
    store, other = worker(Limits()), worker(Limits())
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id):
        for busy in (store, other):
            with pytest.raises(ConversationBusyError) as refused:
                async with busy.hold(ALICE, conversation.id):
                    pass
            assert refused.value.retry_after_s
    async with other.hold(ALICE, conversation.id) as held:
        await held.append(turn())


async def test_of_many_turns_at_once_one_wins(worker: OpenStore) -> None:
    store = worker(Limits())
    conversation = await new_conversation(store)
    everybody_tried = asyncio.Barrier(8)

    async def ask(number: int) -> bool:
        try:
            async with worker(Limits()).hold(ALICE, conversation.id) as held:
                # A turn that is added may free the conversation for those who come then.
                await everybody_tried.wait()
                await held.append(turn(f"Question {number}"))
                return True
        except ConversationBusyError:
            await everybody_tried.wait()
            return False

    won = await asyncio.gather(*(ask(number) for number in range(8)))
    assert won.count(True) == 1
    assert questions(await store.get(ALICE, conversation.id)) == [f"Question {won.index(True)}"]


async def test_two_conversations_are_held_at_the_same_time(store: ConversationStore) -> None:
    first, second = await new_conversation(store), await new_conversation(store)
    async with store.hold(ALICE, first.id) as one, store.hold(ALICE, second.id) as two:
        await one.append(turn())
        await two.append(turn())


async def test_a_conversation_is_read_while_a_turn_runs(store: ConversationStore) -> None:
    conversation = await started(store, turns=1)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 2"))
        assert questions(await store.get(ALICE, conversation.id)) == ["Question 1", "Question 2"]


async def test_nothing_is_appended_after_the_hold(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        pass
    with pytest.raises(HoldLostError):
        await held.append(turn())
    assert (await store.get(ALICE, conversation.id)).turns == ()


async def test_a_cancelled_turn_leaves_the_conversation_free_and_readable(
    store: ConversationStore,
) -> None:
    conversation = await new_conversation(store)

    async def ask() -> None:
        async with store.hold(ALICE, conversation.id) as held:
            while True:
                await held.append(turn())

    async with asyncio.timeout(60):
        asking = asyncio.create_task(ask())
        while not (await store.get(ALICE, conversation.id)).turns:
            pass
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    before = await store.get(ALICE, conversation.id)
    async with store.hold(ALICE, conversation.id) as held:
        assert held.conversation == as_the_next_turn_needs_it(before)
        await held.append(turn("and now?"))
    assert questions(await store.get(ALICE, conversation.id))[-1] == "and now?"


@pytest.mark.parametrize("conversation_id", [UNKNOWN_ID, "", "../x", "A" * 32, f"{UNKNOWN_ID}/."])
async def test_an_unknown_conversation_is_not_found(
    store: ConversationStore, conversation_id: str
) -> None:
    with pytest.raises(ConversationNotFoundError):
        await store.get(ALICE, conversation_id)
    with pytest.raises(ConversationNotFoundError):
        async with store.hold(ALICE, conversation_id):
            pass
    with pytest.raises(ConversationNotFoundError):
        await store.delete(ALICE, conversation_id)
    with pytest.raises(ConversationNotFoundError):
        await store.put_file(ALICE, conversation_id, "a.txt", content(b"a"))
    with pytest.raises(ConversationNotFoundError):
        await store.list_files(ALICE, conversation_id)
    with pytest.raises(ConversationNotFoundError):
        await store.delete_file(ALICE, conversation_id, "a.txt")
    with pytest.raises(ConversationNotFoundError):
        async with store.open_file(ALICE, conversation_id, "a.txt"):
            pass


@pytest.mark.parametrize("stranger", [BOB, ANONYMOUS, replace(ALICE, identity_provider="google")])
async def test_somebody_elses_conversation_is_not_found(
    store: ConversationStore, stranger: object
) -> None:
    assert isinstance(stranger, type(ALICE))
    conversation = await started(store, turns=1)
    await store.put_file(ALICE, conversation.id, "a.txt", content(b"a"))
    with pytest.raises(ConversationNotFoundError) as others:
        await store.get(stranger, conversation.id)
    with pytest.raises(ConversationNotFoundError) as nobodys:
        await store.get(stranger, UNKNOWN_ID)
    assert others.value.detail == nobodys.value.detail
    with pytest.raises(ConversationNotFoundError):
        async with store.hold(stranger, conversation.id):
            pass
    with pytest.raises(ConversationNotFoundError):
        async with store.open_file(stranger, conversation.id, "a.txt"):
            pass
    with pytest.raises(ConversationNotFoundError):
        await store.delete(stranger, conversation.id)
    assert questions(await store.get(ALICE, conversation.id)) == ["Question 1"]


async def test_a_deleted_conversation_is_gone_with_its_files(worker: OpenStore) -> None:
    store = worker(Limits())
    conversation = await started(store, turns=1)
    await store.put_file(ALICE, conversation.id, "a.txt", content(b"a"))
    await store.delete(ALICE, conversation.id)
    for each in (store, worker(Limits())):
        with pytest.raises(ConversationNotFoundError):
            await each.get(ALICE, conversation.id)
        with pytest.raises(ConversationNotFoundError):
            async with each.open_file(ALICE, conversation.id, "a.txt"):
                pass
    with pytest.raises(ConversationNotFoundError):
        await store.delete(ALICE, conversation.id)


async def test_a_conversation_is_not_deleted_while_a_turn_runs(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        with pytest.raises(ConversationBusyError):
            await store.delete(ALICE, conversation.id)
        await held.append(turn())
    await store.delete(ALICE, conversation.id)


async def test_only_as_much_is_read_as_the_limits_say(worker: OpenStore) -> None:
    store = worker(Limits(hold_max_bytes=3000, get_max_bytes=9000))
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        for number in range(1, 21):
            await held.append(turn(f"Question {number}"))
        assert len(held.conversation.turns) == 20
    async with store.hold(ALICE, conversation.id) as held:
        short = held.conversation
        await held.append(turn("Question 21"))
        assert held.conversation.turn_count == 21
    long = await store.get(ALICE, conversation.id)
    assert 0 < len(short.turns) < len(long.turns) < 21
    assert short.turn_count == 20
    assert long.turn_count == 21
    assert questions(short)[0] == f"Question {short.earlier_turns + 1}"
    assert questions(long)[-1] == "Question 21"


async def test_the_newest_turn_is_read_however_long_it_is(worker: OpenStore) -> None:
    store = worker(Limits(hold_max_bytes=10, get_max_bytes=10))
    conversation = await started(store, turns=2)
    assert questions(await store.get(ALICE, conversation.id)) == ["Question 2"]


async def test_a_conversation_takes_so_many_turns_and_no_more(worker: OpenStore) -> None:
    store = worker(Limits(turns_max=2))
    conversation = await started(store, turns=2)
    with pytest.raises(InvalidRequestError, match="2 turns"):
        async with store.hold(ALICE, conversation.id):
            pass


async def test_long_outputs_are_shortened_so_that_the_turn_fits(worker: OpenStore) -> None:
    store = worker(Limits(turn_max_bytes=20_000))
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn(printed="x" * 1_000_000))
    stored = await store.get(ALICE, conversation.id)
    assert held.conversation == as_the_next_turn_needs_it(stored)
    stdout = stored.turns[0].executions[0].stdout
    assert "characters left out" in stdout
    assert len(stdout) <= 20_000


async def test_contents_in_urls_are_not_kept(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    plot = File("plot.png", "image/png", 3, "data:image/png;base64,AAAA")
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(replace(turn(), files=(plot,)))
    assert (await store.get(ALICE, conversation.id)).turns[0].files == (replace(plot, url=""),)


async def test_half_a_surrogate_pair_does_not_cost_the_turn(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn(printed="\ud83d"))
    assert (await store.get(ALICE, conversation.id)).turns[0].executions[0].stdout == "?"


async def test_a_file_is_read_as_it_was_put(worker: OpenStore) -> None:
    store = worker(Limits())
    conversation = await new_conversation(store)
    chunks = [bytes([n]) * 700_001 for n in range(9)]
    stored = await store.put_file(ALICE, conversation.id, "data.csv", content(*chunks))
    assert stored == StoredFile("data.csv", 9 * 700_001, "text/csv")
    other = worker(Limits())
    assert await other.list_files(ALICE, conversation.id) == [stored]
    assert await read(other, conversation, "data.csv") == b"".join(chunks)
    async with other.open_file(ALICE, conversation.id, "data.csv") as (file, _):
        assert file == stored


@pytest.mark.parametrize(
    "name",
    ["Résumé 2026 (1).pdf", "a%41#&=;,@$^.txt", " x ", "数据.csv", "..a"],
)
async def test_a_file_of_any_allowed_name_is_kept(store: ConversationStore, name: str) -> None:
    conversation = await new_conversation(store)
    await store.put_file(ALICE, conversation.id, name, content(b"here"))
    assert [file.name for file in await store.list_files(ALICE, conversation.id)] == [name]
    assert await read(store, conversation, name) == b"here"
    await store.delete_file(ALICE, conversation.id, name)
    assert await store.list_files(ALICE, conversation.id) == []


async def test_an_empty_file_is_kept(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    await store.put_file(ALICE, conversation.id, "empty", content())
    assert await store.list_files(ALICE, conversation.id) == [
        StoredFile("empty", 0, "application/octet-stream")
    ]
    assert await read(store, conversation, "empty") == b""


async def test_a_file_is_replaced_by_one_of_its_name(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    await store.put_file(ALICE, conversation.id, "a.txt", content(b"first"))
    await store.put_file(ALICE, conversation.id, "a.txt", content(b"2nd"))
    assert await read(store, conversation, "a.txt") == b"2nd"
    assert len(await store.list_files(ALICE, conversation.id)) == 1


async def test_a_file_over_the_limit_is_refused_and_the_old_one_stays(worker: OpenStore) -> None:
    store = worker(Limits(file_max_bytes=10))
    conversation = await new_conversation(store)
    await store.put_file(ALICE, conversation.id, "a.txt", content(b"12345", b"67890"))
    with pytest.raises(PayloadTooLargeError, match="10 bytes"):
        await store.put_file(ALICE, conversation.id, "a.txt", content(b"12345", b"67890", b"1"))
    assert await read(store, conversation, "a.txt") == b"1234567890"


async def test_an_upload_that_breaks_off_leaves_no_file(store: ConversationStore) -> None:
    conversation = await new_conversation(store)

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 5_000_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put_file(ALICE, conversation.id, "a.txt", broken())
    assert await store.list_files(ALICE, conversation.id) == []


async def test_a_file_that_arrives_after_its_conversation_was_deleted_is_not_kept(
    store: ConversationStore,
) -> None:
    conversation = await new_conversation(store)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 5_000_000
        await store.delete(ALICE, conversation.id)
        yield b"x"

    with pytest.raises(ConversationNotFoundError):
        await store.put_file(ALICE, conversation.id, "a.txt", slow())
    with pytest.raises(ConversationNotFoundError):
        async with store.open_file(ALICE, conversation.id, "a.txt"):
            pass


async def test_a_file_that_is_not_there_is_not_found(store: ConversationStore) -> None:
    conversation = await new_conversation(store)
    with pytest.raises(FileNotStoredError):
        await store.delete_file(ALICE, conversation.id, "a.txt")
    with pytest.raises(FileNotStoredError):
        async with store.open_file(ALICE, conversation.id, "a.txt"):
            pass


async def test_the_key_is_made_once_for_all_workers(worker: OpenStore) -> None:
    workers = [worker(Limits()) for _ in range(6)]
    keys = await asyncio.gather(*(each.identifier_key() for each in workers))
    assert len(set(keys)) == 1
    assert await worker(Limits()).identifier_key() == keys[0]


async def test_a_store_that_does_its_part_says_so(store: ConversationStore) -> None:
    await store.check()
    await new_conversation(store)
    await store.check()


def at(minute: int) -> datetime:
    return datetime(2026, 3, 1, 12, minute, 0, 123456, tzinfo=UTC)


async def asked(store: ConversationStore, *minutes: int, owner: Owner = ALICE) -> str:
    """A conversation with a question in each of these minutes; its id."""
    async with store.start(owner) as held:
        for minute in minutes:
            await held.append(replace(turn(f"Question of {minute}?"), asked_at=at(minute)))
        return held.conversation.id


async def listed(store: ConversationStore, owner: Owner = ALICE) -> list[str]:
    page = await store.list_conversations(owner, 100)
    return [entry.id for entry in page.conversations]


async def test_conversations_are_listed_newest_first(store: ConversationStore) -> None:
    old, new, middle = await asked(store, 1), await asked(store, 2, 9), await asked(store, 5)
    assert await listed(store) == [new, middle, old]
    async with store.hold(ALICE, old) as held:
        await held.append(replace(turn("Another?"), asked_at=at(30)))
    assert await listed(store) == [old, new, middle]


async def test_a_listed_conversation_has_its_first_question_times_and_turns(
    store: ConversationStore,
) -> None:
    question = "What is\n  the meaning of " + "é" * 200 + "?"
    async with store.start(ALICE) as held:
        await held.append(replace(turn(question), asked_at=at(1)))
    created = held.conversation.created_at
    for minute in (2, 3):
        async with store.hold(ALICE, held.conversation.id) as held:
            await held.append(replace(turn("More?"), asked_at=at(minute)))
    (entry,) = (await store.list_conversations(ALICE, 10)).conversations
    assert entry == ConversationSummary(
        held.conversation.id, f"What is the meaning of {'é' * 56}…", created, at(3), 3
    )


async def test_a_conversation_without_a_question_is_listed_without_a_title(
    store: ConversationStore,
) -> None:
    conversation = await new_conversation(store)
    (entry,) = (await store.list_conversations(ALICE, 10)).conversations
    assert (entry.id, entry.title, entry.turn_count) == (conversation.id, "", 0)
    assert abs(entry.updated_at - conversation.created_at) < timedelta(seconds=5)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(replace(turn("At last?"), asked_at=at(1)))
    (entry,) = (await store.list_conversations(ALICE, 10)).conversations
    assert (entry.title, entry.turn_count) == ("At last?", 1)


async def test_a_hold_that_adds_nothing_leaves_the_list_alone(store: ConversationStore) -> None:
    old, new = await asked(store, 1), await asked(store, 2)
    async with store.hold(ALICE, old):
        pass
    assert await listed(store) == [new, old]


async def test_pages_follow_each_other_to_the_last(store: ConversationStore) -> None:
    ids = [await asked(store, minute) for minute in range(7)]
    found: list[str] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor:
        page = await store.list_conversations(ALICE, 3, cursor)
        assert len(page.conversations) <= 3
        found += [entry.id for entry in page.conversations]
        cursor = page.next_cursor
        pages += 1
    assert (found, pages) == (ids[::-1], 3)


async def test_a_list_is_its_owners_alone(store: ConversationStore) -> None:
    hers, his = await asked(store, 1, 2), await asked(store, 3, owner=BOB)
    more = [await asked(store, 4) for _ in range(2)]
    assert set(await listed(store)) == {hers, *more}
    assert await listed(store, BOB) == [his]
    assert await listed(store, replace(ALICE, identity_provider="google")) == []
    # A cursor of hers leads him to nothing of hers.
    page = await store.list_conversations(ALICE, 1)
    other = await store.list_conversations(BOB, 10, page.next_cursor)
    assert {entry.id for entry in other.conversations} <= {his}


async def test_a_deleted_conversation_is_not_listed(store: ConversationStore) -> None:
    kept, deleted, empty = (
        await asked(store, 1),
        await asked(store, 2, 3),
        (await new_conversation(store)).id,
    )
    await store.delete(ALICE, deleted)
    await store.delete(ALICE, empty)
    assert await listed(store) == [kept]


@pytest.mark.parametrize("cursor", ["x", "-", "1x-2", "é", "=", "A" * 5000, "../..", "٣-a"])
async def test_a_cursor_that_no_page_gave_is_refused(store: ConversationStore, cursor: str) -> None:
    await asked(store, 1)
    with pytest.raises(InvalidRequestError, match="next_cursor"):
        await store.list_conversations(ALICE, 10, cursor)
