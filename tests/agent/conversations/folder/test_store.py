"""What is the folder's own: processes that are killed, lines half written, files of others."""

import asyncio
import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.conversations.folder.disk import ConversationFolder
from agent.conversations.folder.store import FolderStore
from agent.conversations.records import Conversation
from agent.errors import (
    ConversationBusyError,
    ConversationNotFoundError,
    ConversationUnreadableError,
    StoreError,
)
from tests.agent.conversations.samples import ALICE, new_conversation, turn

PROJECT = Path(__file__).parents[4]

# Holds the conversation, says so, and appends turns until it is killed.
WORKER = """
    import asyncio, sys
    from pathlib import Path
    from agent.conversations.folder.store import FolderStore
    from tests.agent.conversations.samples import ALICE, new_conversation, turn

    async def main(root, conversation_id):
        async with FolderStore(Path(root)).hold(ALICE, conversation_id) as held:
            print(held.conversation.turn_count, flush=True)
            while True:
                await held.append(turn(printed="x" * 90_000))
                print(held.conversation.turn_count, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""

# Too long for one component of the file system: it lies in two folders.
LONG_NAME = f"{'a' * 250}/{'b' * 250}/c.txt"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def folder_of(tmp_path: Path, conversation: Conversation) -> Path:
    return tmp_path / conversation.owner.folder / conversation.id


async def content() -> AsyncIterator[bytes]:
    yield b"x"


def start_worker(tmp_path: Path, conversation: Conversation) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), conversation.id]
    return subprocess.Popen(program, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


async def test_nothing_is_lost_when_a_worker_is_killed_in_the_middle_of_turns(
    tmp_path: Path, store: FolderStore
) -> None:
    conversation = await new_conversation(store)
    turns = 0
    for kill_after in (0, 3, 10):
        with start_worker(tmp_path, conversation) as worker:
            assert worker.stdout
            counts = [int(worker.stdout.readline()) for _ in range(kill_after + 1)]
            with pytest.raises(ConversationBusyError):
                async with store.hold(ALICE, conversation.id):
                    pass
            worker.send_signal(signal.SIGKILL)
            counts += [int(line) for line in worker.stdout]
        assert counts[0] == turns
        async with asyncio.timeout(30), store.hold(ALICE, conversation.id) as held:
            # Every turn that was reported, and perhaps the one that was being written.
            assert held.conversation.turn_count - counts[-1] in (0, 1)
            await held.append(turn("Next"))
            turns = held.conversation.turn_count
    read = await store.get(ALICE, conversation.id)
    assert read.turn_count == turns
    assert read.turns[-1] == turn("Next")


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of what was flushed, in order."""
    flush, numbers = os.fsync, list[int]()

    def noted(file: int) -> None:
        numbers.append(os.fstat(file).st_ino)
        flush(file)

    monkeypatch.setattr(os, "fsync", noted)
    return numbers


def numbers_of(paths: list[Path]) -> list[int]:
    return [path.stat().st_ino for path in paths]


async def test_a_first_turn_and_all_names_that_lead_to_it_are_flushed(
    tmp_path: Path, store: FolderStore, flushed: list[int]
) -> None:
    for owners_folder_is_new in (True, False):
        flushed.clear()
        async with store.start(ALICE) as held:
            await held.append(turn())
        folder = folder_of(tmp_path, held.conversation)
        paths = [folder / "conversation.json", folder, folder.parent, folder / "turns.jsonl"]
        if owners_folder_is_new:
            paths.insert(0, tmp_path)
        assert flushed == numbers_of(paths)


@pytest.mark.parametrize("first", ["key", "conversation"])
async def test_the_names_of_a_new_root_and_of_the_folders_above_it_are_flushed(
    tmp_path: Path, flushed: list[int], first: str
) -> None:
    root = tmp_path / "new" / "conversations"
    store = FolderStore(root)
    await (store.identifier_key() if first == "key" else new_conversation(store))
    assert set(numbers_of([tmp_path, root.parent, root])) <= set(flushed)


async def test_a_delete_is_flushed_before_anything_is_removed(
    tmp_path: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await new_conversation(store)
    folder, left = folder_of(tmp_path, conversation), list[list[str]]()

    def noted(file: int) -> None:
        assert os.path.samestat(os.fstat(file), folder.parent.stat())
        left.extend(sorted(os.listdir(path)) for path in folder.parent.iterdir())

    monkeypatch.setattr(os, "fsync", noted)
    kept = sorted(os.listdir(folder))
    await store.delete(ALICE, conversation.id)
    assert left == [kept]
    assert list(folder.parent.iterdir()) == []


async def test_a_file_of_a_long_name_and_all_folders_that_lead_to_it_are_flushed(
    tmp_path: Path, store: FolderStore, flushed: list[int]
) -> None:
    conversation = await new_conversation(store)
    # Each time: a folder that is there may be another upload's, which has not flushed it yet.
    for _ in range(2):
        flushed.clear()
        await store.put_file(ALICE, conversation.id, LONG_NAME, content())
        path = next((folder_of(tmp_path, conversation) / "files").rglob("*.txt"))
        folders = [path.parents[2], path.parents[1], path.parents[0]]
        assert [folder.name[-1] for folder in folders] == ["s", "%", "%"]
        assert flushed == numbers_of([path, *folders])


@pytest.mark.parametrize("step", range(4))
async def test_a_delete_between_the_steps_of_keeping_a_file_leaves_nothing(
    tmp_path: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    conversation = await new_conversation(store)
    arrived = await store.receive_file(ALICE, conversation.id, LONG_NAME, content())
    folder = folder_of(tmp_path, conversation)
    steps = iter(range(100))

    def deleted_meanwhile(_: int) -> None:
        if next(steps) == step:
            ConversationFolder(folder).delete()

    monkeypatch.setattr(os, "fsync", deleted_meanwhile)
    with contextlib.suppress(ConversationNotFoundError):
        await arrived.keep()
    assert next(steps) > step
    assert list(folder.parent.iterdir()) == []


async def test_a_turn_half_written_is_none_and_the_next_one_takes_its_place(
    tmp_path: Path, store: FolderStore
) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 1"))
    history = folder_of(tmp_path, conversation) / "turns.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole + whole[: len(whole) // 2] + b"x" * 200_000)
    assert (await store.get(ALICE, conversation.id)).turns == (turn("Question 1"),)
    async with store.hold(ALICE, conversation.id) as held:
        assert [t.messages for t in held.conversation.turns] == [turn("Question 1").messages]
        await held.append(turn("Question 2"))
    read = await store.get(ALICE, conversation.id)
    assert read.turns == (turn("Question 1"), turn("Question 2"))


@contextlib.contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """Have the kernel refuse what is written behind that offset, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_costs_no_turn_but_the_one_that_does_not_fit(
    tmp_path: Path, store: FolderStore
) -> None:
    conversation = await new_conversation(store)
    history = folder_of(tmp_path, conversation) / "turns.jsonl"
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question 1"))
        with files_end_at(history.stat().st_size + 100), pytest.raises(StoreError):
            await held.append(turn("Question 2", printed="x" * 50_000))
        assert (await store.get(ALICE, conversation.id)).turns == (turn("Question 1"),)
        await held.append(turn("Question 3"))
    read = await store.get(ALICE, conversation.id)
    assert read.turns == (turn("Question 1"), turn("Question 3"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("conversation.json", b"not JSON"),
        ("conversation.json", b'{"format": 2, "created_at": "2026-01-01T00:00:00Z"}'),
        ("turns.jsonl", b"\x00\xff secret\n"),
        ("turns.jsonl", b'{"number": 1, "turn": {}}\n'),
    ],
)
async def test_a_foreign_file_is_a_clear_error(
    tmp_path: Path, store: FolderStore, name: str, content: bytes
) -> None:
    conversation = await new_conversation(store)
    (folder_of(tmp_path, conversation) / name).write_bytes(content)
    with pytest.raises(ConversationUnreadableError) as refused:
        await store.get(ALICE, conversation.id)
    assert "secret" not in str(refused.value)
    with pytest.raises(ConversationUnreadableError):
        async with store.hold(ALICE, conversation.id):
            pass
    await store.delete(ALICE, conversation.id)


async def test_a_missing_turn_is_noticed(tmp_path: Path, store: FolderStore) -> None:
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        for number in range(3):
            await held.append(turn(f"Question {number}"))
    history = folder_of(tmp_path, conversation) / "turns.jsonl"
    first, _, third = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(first + third)
    with pytest.raises(ConversationUnreadableError, match="a turn is missing"):
        await store.get(ALICE, conversation.id)


async def test_a_history_that_somebody_put_back_is_read_again(
    tmp_path: Path, store: FolderStore
) -> None:
    """Of the length and the time that it had."""
    conversation = await new_conversation(store)
    async with store.hold(ALICE, conversation.id) as held:
        await held.append(turn("Question A"))
    history = folder_of(tmp_path, conversation) / "turns.jsonl"
    changed_ns = history.stat().st_mtime_ns
    await asyncio.sleep(0.05)  # until the file system's clock has gone on
    history.write_bytes(history.read_bytes().replace(b"Question A", b"Question B"))
    os.utime(history, ns=(changed_ns, changed_ns))
    async with store.hold(ALICE, conversation.id) as held:
        assert held.conversation.turns[0].messages[0].text == "Question B"


async def test_what_a_killed_upload_left_is_cleared_up_after_a_day(
    tmp_path: Path, store: FolderStore
) -> None:
    conversation = await new_conversation(store)
    arriving = folder_of(tmp_path, conversation) / "arriving"
    old, new = arriving / "old", arriving / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    await store.put_file(ALICE, conversation.id, "a.txt", content())
    assert [path.name for path in arriving.iterdir()] == ["new"]


async def test_files_that_go_away_while_they_are_listed_are_left_out(
    tmp_path: Path, store: FolderStore
) -> None:
    conversation = await new_conversation(store)
    for folder in ("files", "arriving"):
        # Listed, and not there when it is looked at: as what is deleted or taken in meanwhile.
        (folder_of(tmp_path, conversation) / folder / "gone").symlink_to("nowhere")
    await store.put_file(ALICE, conversation.id, "a.txt", content())
    assert [file.name for file in await store.list_files(ALICE, conversation.id)] == ["a.txt"]


async def test_only_the_app_reads_what_people_said(tmp_path: Path) -> None:
    root = tmp_path / "new" / "conversations"
    store = FolderStore(root)
    await store.identifier_key()
    await new_conversation(store)
    paths = list(root.rglob("*"))
    assert len(paths) > 3
    for path in paths:
        reachable = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        private_folder = (path.parent.stat().st_mode & 0o777) == 0o700
        assert not reachable or private_folder, path
    assert stat.S_IMODE((root / "pool-identifier-key").stat().st_mode) == 0o600


async def test_a_root_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StoreError, match="folder of the conversations"):
        await new_conversation(FolderStore(tmp_path / "taken"))
    with pytest.raises(StoreError):
        await FolderStore(tmp_path / "taken").identifier_key()


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path;"
        "from agent.conversations.folder.store import FolderStore;"
        "print('ready', flush=True); sys.stdin.read();"
        "print(asyncio.run(FolderStore(Path(sys.argv[1])).identifier_key()).secret.hex())"
    )
    with contextlib.ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, str(tmp_path / "root")],
                    cwd=PROJECT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.close()
        keys = {process.stdout.read() for process in processes if process.stdout}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(keys) == 1
    assert len(bytes.fromhex(keys.pop())) == 32
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["pool-identifier-key"]


async def test_ten_thousand_conversations_list_a_page_fast(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    async with store.start(ALICE) as held:
        await held.append(turn())
    owner = tmp_path / ALICE.folder
    for number in range(9_999):
        # To be looked at, a link is as much work as a folder; it is less work to make.
        (owner / f"{number:032x}").symlink_to(held.conversation.id)
    took_s = []
    for _ in range(3):
        began = time.process_time()
        page = await store.list_conversations(ALICE, 50)
        took_s.append(time.process_time() - began)
    assert len(page.conversations) == 50
    assert page.conversations[-1].title == "What is 2+2?"
    assert min(took_s) < 0.3
