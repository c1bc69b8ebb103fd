"""A turn's events as AG-UI events, and what a front end may ask for."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ag_ui.core import Event as AguiEvent
from pydantic import TypeAdapter

from agent.errors import AgentError, PoolFullError
from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    ExecutionStarted,
    File,
    FileCreated,
    TextDelta,
    TurnFailed,
    TurnFinished,
    TurnWarning,
    Usage,
)
from agent.http.agui import AguiEncoder, read_run
from agent.messages import Message

PROJECT = Path(__file__).parents[3]
EXECUTION = Execution("1 + 1", "Succeeded", "", "", "2", 3)
FILE = File("plot.png", "image/png", 3, "data:image/png;base64,AAAA")
FINISHED = TurnFinished("Two.", "stop", Usage(10, 5), (TurnWarning("Careful", "Mind that."),))
_any_event: TypeAdapter[AguiEvent] = TypeAdapter(AguiEvent)


def encoded(*events: Event) -> list[dict[str, Any]]:
    """All AG-UI events of a run, each checked against the protocol's own models."""
    encoder = AguiEncoder("thread", "run", operation_id="op")
    stream = b"".join([encoder.begin(), *map(encoder.encode, events)]).decode()
    blocks = stream.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    payloads = [block.removeprefix("data: ") for block in blocks]
    for payload in payloads:
        _any_event.validate_json(payload)
    return [json.loads(payload) for payload in payloads]


def types(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_whole_run() -> None:
    events = encoded(
        TextDelta("m1", "Let me "),
        TextDelta("m1", "see."),
        ExecutionStarted("execution-1", "1 + 1"),
        FileCreated("execution-1", FILE),
        ExecutionFinished("execution-1", EXECUTION),
        TextDelta("m2", "Two."),
        FINISHED,
    )
    assert types(events) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "CUSTOM",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "CUSTOM",
        "RUN_FINISHED",
    ]
    by_type = {event["type"]: event for event in events}
    assert by_type["RUN_STARTED"]["protocolVersion"] == "1.0"
    assert json.loads(by_type["TOOL_CALL_ARGS"]["delta"]) == {"code": "1 + 1"}
    assert json.loads(by_type["TOOL_CALL_RESULT"]["content"])["result"] == "2"
    assert events[8] == {
        "type": "CUSTOM",
        "name": "file",
        "value": {
            "name": "plot.png",
            "media_type": "image/png",
            "size_bytes": 3,
            "url": "data:image/png;base64,AAAA",
        },
    }
    warning = {"code": "Careful", "message": "Mind that."}
    assert events[13] == {"type": "CUSTOM", "name": "warning", "value": warning}
    assert events[-1] == {
        "type": "RUN_FINISHED",
        "threadId": "thread",
        "runId": "run",
        "result": {
            "output": "Two.",
            "conversation_id": None,
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            "finish_reason": "stop",
            "warnings": [warning],
        },
        "usage": [{"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}],
    }


def test_a_tool_call_belongs_to_the_text_before_it() -> None:
    events = encoded(
        TextDelta("m1", "See:"),
        ExecutionStarted("execution-1", "1"),
        ExecutionFinished("execution-1", EXECUTION),
        ExecutionStarted("execution-2", "2"),
        ExecutionFinished("execution-2", EXECUTION),
    )
    starts = [event for event in events if event["type"] == "TOOL_CALL_START"]
    assert [start.get("parentMessageId") for start in starts] == ["m1", None]
    assert len({start["toolCallId"] for start in starts}) == 2


def test_ids_differ_between_the_runs_of_a_thread() -> None:
    started = ExecutionStarted("execution-1", "1")
    first, second = (encoded(started)[1]["toolCallId"] for _ in range(2))
    assert first != second


def test_an_error_has_the_code_of_the_problem() -> None:
    error = PoolFullError("No session is free.", retry_after_s=7)
    events = encoded(TextDelta("m", "Let me"), TurnFailed(error))
    assert types(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]
    assert events[-1] == {
        "type": "RUN_ERROR",
        "code": "PoolFull",
        "message": "No session is free.",
        "metadata": {
            "status": 503,
            "title": "The session pool has no free session.",
            "operation_id": "op",
            "retry_after_s": 7,
        },
    }


def run_input(*messages: Mapping[str, object], **fields: object) -> bytes:
    numbered = [{"id": str(i), **message} for i, message in enumerate(messages)]
    return json.dumps({"threadId": "t", "runId": "r", "messages": numbered, **fields}).encode()


USER = {"role": "user", "content": "And now?"}


def test_the_last_message_is_the_question_and_the_others_the_history() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = run_input(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1 + 1?"},
        {"role": "assistant", "toolCalls": [call]},
        {"role": "tool", "toolCallId": "c", "content": "2"},
        {"role": "assistant", "content": "Two."},
        {"role": "activity", "activityType": "x", "content": {}},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
        context=[{"description": "The page", "value": "Home"}],
        state={"a": 1},
        tools=[],
        forwardedProps={"b": 2},
    )
    run = read_run(body, 100)
    assert (run.thread_id, run.run_id, run.request.question) == ("t", "r", "And now?")
    assert run.request.history == (Message("user", "What is 1 + 1?"), Message("assistant", "Two."))
    assert run.request.instructions == "Be brief.\n\nThe page: Home"


IMAGE = {"type": "image", "source": {"type": "url", "value": "http://a.example/b.png"}}
FILE_PART = {"type": "image", "source": {"type": "file", "value": "file-1"}}
SOUND = IMAGE | {"type": "audio"}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "InvalidRequest", None),
        (b"[]", "InvalidRequest", None),
        (b"{}", "InvalidRequest", "threadId"),
        (run_input(), "InvalidRequest", "messages"),
        (run_input({"role": "assistant", "content": "Hi"}), "InvalidRequest", "messages"),
        (run_input({"role": "user", "content": " "}), "InvalidRequest", "messages"),
        (
            run_input({"role": "user", "content": [IMAGE]}),
            "InvalidRequest",
            "messages.0.content.0.source.value",
        ),
        (
            run_input({"role": "user", "content": [FILE_PART]}),
            "InvalidRequest",
            "messages.0.content.0.source",
        ),
        (run_input({"role": "user", "content": [SOUND]}), "InvalidRequest", "messages.0.content.0"),
        (run_input({"role": "user", "content": "x" * 101}), "PayloadTooLarge", "messages"),
        (
            run_input(USER, tools=[{"name": "n", "description": "d", "parameters": {}}]),
            "InvalidRequest",
            "tools",
        ),
        (
            run_input(USER, resume=[{"interruptId": "i", "status": "resolved"}]),
            "InvalidRequest",
            "resume",
        ),
    ],
)
def test_what_the_agent_cannot_do_is_refused_by_name(
    body: bytes, code: str, field: str | None
) -> None:
    with pytest.raises(AgentError) as refused:
        read_run(body, 100)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_worker_that_streams_nothing_does_not_load_the_protocol() -> None:
    code = (
        "import sys, agent.http.chat, agent.http.dispatch\n"
        "lazy = ('ag_ui', 'agent.http.openai.routes', 'agent.http.openapi')\n"
        "print([module for module in lazy if module in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
