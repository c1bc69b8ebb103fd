"""What requests with long bodies and long histories hold, counted in bytes, from first to last."""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request

from agent.conversations.owner import ANONYMOUS
from agent.http.dispatch import dispatch
from agent.memory import BUDGET_BYTES, FREE_BYTES, Memory
from agent.messages import Message
from agent.runtime import Runtime, close_runtime, get_runtime
from agent.turns.turn import TurnRequest
from local.azure_openai import CallTool, ChatRequest, Say, Step
from local.azure_openai.faults import PromptFiltered
from local.defaults import DEPLOYMENT
from tests.agent.conversations.samples import turn
from tests.conftest import SharedAzure

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "It is long. " * 30_000
RUN = {"threadId": "t", "runId": "r", "tools": [], "context": [], "state": {}, "forwardedProps": {}}
PAST = [{"id": "1", "role": "user", "content": "Eh?"}]
QUESTION = {"id": "3", "role": "user", "content": "And now?"}


def completion(**more: object) -> dict[str, object]:
    messages = [*PAST, {"role": "assistant", "content": LONG}, QUESTION]
    said = [{k: v for k, v in message.items() if k != "id"} for message in messages]
    return {"model": DEPLOYMENT, "messages": said, **more}


AGUI = RUN | {"messages": [*PAST, {"id": "2", "role": "assistant", "content": LONG}, QUESTION]}
# Case → route, body; every one leads to a turn whose model reads LONG.
ASKED: dict[str, tuple[str, Mapping[str, object]]] = {
    "AG-UI": ("agui", AGUI),
    "OpenAI": ("completions", completion()),
    "OpenAI, streamed": ("completions", completion(stream=True)),
    "a long question": ("chat", {"input": LONG}),
    "a long conversation": ("chat", {"input": "And now?", "conversation_id": "LONG"}),
    "a long conversation, streamed": ("chat", {"input": "And now?", "conversation_id": "LONG"}),
}
STREAMED = {"AG-UI", "OpenAI, streamed", "a long conversation, streamed"}


@dataclass
class Caller:
    """One HTTP request to the app in this process, and what its caller sees.

    Attributes:
        status: of the answer.
        headers: of the answer.
        body: of the answer.
        taken: how many bytes of the request's body the app took.
        stalls_after: so many bytes of it are sent, and no more.
    """

    route: str
    body: bytes
    accept: str = "application/json"
    leaves: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    taken: int = 0
    stalls_after: int = 2**63

    async def ask(self) -> None:
        headers = {
            "content-type": "application/json",
            "content-length": str(len(self.body)),
            "accept": self.accept,
        }
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        request = Request(scope, self._receive)
        response = await dispatch(self.route, request, sign_in_required=False)
        await response(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self.taken < min(len(self.body), self.stalls_after):
            piece = self.body[self.taken : self.taken + 64 * 1024]
            self.taken += len(piece)
            return {"type": "http.request", "body": piece, "more_body": self.taken < len(self.body)}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        self.answer += message.get("body", b"")


@dataclass
class Watching:
    """A model that looks at the app's memory whenever it is asked."""

    memory: Memory
    seen: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, request: ChatRequest) -> Step:
        said = sum(len(str(message.content)) for message in request.messages)
        self.seen.append((self.memory.used_bytes, said))
        return Say("Now.")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runtime(
    azure: SharedAzure, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Runtime]:
    folder: Path = tmp_path_factory.mktemp("conversations")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in azure.stack.app_settings.items():
            environment.setenv(name, value)
        environment.setenv("CONVERSATIONS_URL", folder.as_uri())
        environment.setenv("CONVERSATION_MAX_CHARS", "4000000")
        environment.setenv("INPUT_MAX_CHARS", "1000000")
        yield await get_runtime()
        await close_runtime()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def conversation(runtime: Runtime) -> str:
    services = await runtime.conversations()
    async with services.store.start(ANONYMOUS) as held:
        await held.append(turn(LONG))
        return held.conversation.id


def caller(case: str, conversation: str) -> Caller:
    route, body = ASKED[case]
    text = json.dumps(body).replace('"LONG"', f'"{conversation}"')
    accept = "text/event-stream" if case in STREAMED and route == "chat" else "application/json"
    return Caller(route, text.encode(), accept)


@contextmanager
def almost_full(memory: Memory, wait_s: float) -> Iterator[None]:
    """Others have all of the memory, and nobody waits long."""
    before, memory.wait_s = memory.wait_s, wait_s
    with memory.share() as others:
        others.settle(BUDGET_BYTES - FREE_BYTES)
        yield
    memory.wait_s = before


@pytest.mark.parametrize("case", ASKED)
async def test_all_that_is_long_is_counted_until_the_answer_is_sent(
    azure: SharedAzure, runtime: Runtime, conversation: str, case: str
) -> None:
    asking = caller(case, conversation)
    with azure.model.using(Watching(runtime.memory)) as model:
        await asking.ask()
    assert asking.status == 200
    assert b"Now." in asking.answer
    [(counted, said)] = model.seen
    # Its texts and the request to the model, which has them once more.
    assert 2 * len(LONG) <= 2 * said <= counted + 50_000
    assert counted < 4 * said
    assert runtime.memory.used_bytes == runtime.memory.waiting == 0


@pytest.mark.parametrize("case", ASKED)
async def test_who_finds_no_room_is_told_when_to_come_again(
    runtime: Runtime, conversation: str, case: str
) -> None:
    asking = caller(case, conversation)
    with almost_full(runtime.memory, wait_s=0.01):
        await asking.ask()
        assert (asking.status, asking.headers["retry-after"]) == (503, "10")
        problem = json.loads(asking.answer)
        assert problem.get("error", problem)["code"] == "AppBusy"
        # What is not read does not take memory either.
        assert asking.taken <= FREE_BYTES + 64 * 1024
    assert runtime.memory.used_bytes == runtime.memory.waiting == 0


async def test_short_requests_and_short_conversations_need_no_room(
    azure: SharedAzure, runtime: Runtime
) -> None:
    body: dict[str, object] = {"input": "Hi", "conversation_id": "new"}
    with (
        almost_full(runtime.memory, wait_s=0.01),
        azure.model.using(Watching(runtime.memory)),
    ):
        for _ in range(2):
            asking = Caller("chat", json.dumps(body).encode())
            await asking.ask()
            assert asking.status == 200
            body["conversation_id"] = json.loads(asking.answer)["conversation_id"]


@pytest.mark.parametrize("case", ["OpenAI", "AG-UI", "a long conversation"])
async def test_a_caller_that_leaves_during_its_turn_gives_its_share_back(
    azure: SharedAzure, runtime: Runtime, conversation: str, case: str
) -> None:
    asking, model = caller(case, conversation), Watching(runtime.memory)

    def leaving(request: ChatRequest) -> Step:
        asking.leaves.set()
        return model(request)

    with azure.model.using(leaving):
        await asking.ask()
    assert model.seen[0][0] >= len(LONG)
    assert runtime.memory.used_bytes == runtime.memory.waiting == 0


async def _succeeds(azure: SharedAzure, asking: Caller) -> None:
    with azure.model.script(CallTool(code="1 + 1"), Say("Now.")):
        await asking.ask()


async def _fails_at_the_model(azure: SharedAzure, asking: Caller) -> None:
    azure.stack.openai.faults.inject(PromptFiltered())
    await asking.ask()


async def _fails_at_the_pool(azure: SharedAzure, asking: Caller) -> None:
    azure.stack.pool.faults.revoke_role()
    with azure.model.script(CallTool(code="1 + 1")):
        await asking.ask()
    azure.stack.pool.faults.grant_role()


async def _finds_no_room(azure: SharedAzure, asking: Caller) -> None:
    with almost_full((await get_runtime()).memory, wait_s=0.01):
        await asking.ask()


# How a turn ends; each with every case.
each_end = pytest.mark.parametrize(
    "how", [_succeeds, _fails_at_the_model, _fails_at_the_pool, _finds_no_room]
)


@each_end
@pytest.mark.parametrize("case", ASKED)
async def test_what_was_sent_is_gone_with_the_answer_and_not_with_the_next_garbage_collection(
    azure: SharedAzure,
    conversation: str,
    case: str,
    how: Callable[[SharedAzure, Caller], Awaitable[None]],
) -> None:
    gc.collect()
    gc.disable()
    # Of short conversations of other tests, which the store remembers.
    before = held_texts()
    try:
        await how(azure, caller(case, conversation))
        for _ in range(3000):
            if held_texts() == before:
                break
            await asyncio.sleep(0.01)  # something goes on in the background
        assert held_texts() == before
    finally:
        gc.enable()


@each_end
@pytest.mark.parametrize("case", ASKED)
async def test_no_generator_is_left_for_the_event_loop_to_close(
    azure: SharedAzure,
    conversation: str,
    case: str,
    how: Callable[[SharedAzure, Caller], Awaitable[None]],
) -> None:
    left: list[str] = []
    before = sys.get_asyncgen_hooks()
    # The loop would close each in a task of its own, at some time.
    sys.set_asyncgen_hooks(finalizer=lambda generator: left.append(repr(generator)))
    try:
        await how(azure, caller(case, conversation))
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*before)
    assert left == []


def held_texts() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, TurnRequest | Message)]


async def test_a_body_that_does_not_come_holds_no_share_for_long(
    runtime: Runtime, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.http.bodies._BODY_TIMEOUT_S", 0.05)
    asking = caller("OpenAI", conversation)
    asking.stalls_after = FREE_BYTES + 1
    await asking.ask()
    assert asking.status == 504
    assert b"did not come within" in asking.answer
    assert asking.taken >= asking.stalls_after  # a share was taken before
    assert runtime.memory.used_bytes == runtime.memory.waiting == 0
