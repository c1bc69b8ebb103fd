"""What an OpenAI client may ask for, and a turn's events as its answer."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from agent.errors import (
    AgentError,
    ContentFilteredError,
    InvalidRequestError,
    ModelThrottledError,
    PayloadTooLargeError,
    PoolFullError,
)
from agent.events import Event, File, FileCreated, TextDelta, TurnFailed, TurnFinished, Usage
from agent.http.bodies import HISTORY_MAX_CHARS, MESSAGES_MAX
from agent.http.openai.answers import (
    ChunkEncoder,
    complete,
    envelope,
    read_completion,
    turn_request,
)
from agent.http.openai.schemas import UNSUPPORTED, CompletionRequest
from agent.messages import Message
from agent.model.parameters import ModelParameters
from agent.turns.turn import TurnRequest

FIGURE = File("plot [1].png", "image/png", 3, "data:image/png;base64,AAAA")
TABLE = File("a.csv", "text/csv", 3, "data:text/csv;base64,AAAA")
FINISHED = TurnFinished("Done.", "tool_rounds", Usage(10, 5))
TURN: list[Event] = [
    TextDelta("m1", "Let me "),
    TextDelta("m1", "draw."),
    FileCreated("execution-1", FIGURE),
    FileCreated("execution-1", TABLE),
    TextDelta("m2", "Done."),
    FINISHED,
]
CONTENT = (
    "Let me draw.\n\n"
    r"![plot \[1\].png](data:image/png;base64,AAAA)"
    "\n\n[a.csv](data:text/csv;base64,AAAA)\n\nDone."
)


def asked(*messages: Mapping[str, object], **parameters: object) -> bytes:
    return json.dumps({"model": "ours", "messages": messages, **parameters}).encode()


def read_question(body: bytes, model: str, max_chars: int) -> TurnRequest:
    return turn_request(read_completion(body), model, max_chars)


HI = {"role": "user", "content": "Hi"}


def test_the_last_message_is_the_question_and_the_others_the_history() -> None:
    body = asked(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Draw."},
        {"role": "assistant", "content": CONTENT, "tool_calls": None, "annotations": []},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("Another", "one.")]},
    )
    question = read_question(body, "ours", 100)
    assert question.question == "Another\none."
    assert question.instructions == "Be brief.\n\nBe kind."
    assert question.history == (
        Message("user", "Draw."),
        Message(
            "assistant",
            "Let me draw.\n\n[plot \\[1\\].png, shown to the user]\n\n"
            "[a.csv, shown to the user]\n\nDone.",
        ),
    )
    assert not question.stream


def test_what_only_tunes_the_answer_is_taken() -> None:
    tuning: dict[str, object] = {
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "user": "ada",
        "metadata": {"a": "b"},
        "reasoning_effort": "low",
        "parallel_tool_calls": False,
    }
    neutral: dict[str, object] = {
        "n": 1,
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "logprobs": False,
        "stop": None,
        "logit_bias": {},
        "modalities": ["text"],
    }
    assert read_question(asked(HI, **tuning, **neutral), "ours", 100).question == "Hi"


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({}, ModelParameters()),
        (
            {"temperature": 0, "top_p": 0.5, "seed": -7, "stop": None},
            ModelParameters(temperature=0, top_p=0.5, seed=-7),
        ),
        ({"max_tokens": 10}, ModelParameters(max_completion_tokens=10)),
        ({"max_completion_tokens": 10}, ModelParameters(max_completion_tokens=10)),
        ({"max_tokens": 10, "max_completion_tokens": 9}, ModelParameters(max_completion_tokens=9)),
        ({"stop": "END"}, ModelParameters(stop=("END",))),
        ({"stop": ["A", "B"]}, ModelParameters(stop=("A", "B"))),
        ({"stop": []}, ModelParameters()),
    ],
)
def test_what_tunes_the_model_goes_to_the_model(
    given: dict[str, object], passed: ModelParameters
) -> None:
    assert read_question(asked(HI, **given), "ours", 100).parameters == passed


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 2.1},
        {"temperature": "hot"},
        {"top_p": -1},
        {"max_tokens": 0},
        {"max_completion_tokens": 2**40},
        {"seed": 2**64},
        {"seed": 0.5},
        {"stop": ["a"] * 5},
        {"stop": [1]},
        {"stop": ""},
    ],
)
def test_what_no_model_takes_is_refused_by_its_name(given: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_completion(asked(HI, **given))
    assert str(refused.value.field).partition(".")[0] in given


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "no sound"),
        ({"type": "file", "file": {"file_id": "1"}}, "no files in messages"),
    ],
)
def test_what_is_not_text_is_refused_by_where_it_goes(part: dict[str, object], words: str) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "Look."}, part]}
    with pytest.raises(InvalidRequestError, match=words) as refused:
        read_completion(asked(HI, message))
    assert "/api/conversations/{id}/files" in str(refused.value)
    assert refused.value.field == "messages.1.content"


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_images_are_the_users(role: str) -> None:
    message = {"role": role, "content": [IMAGE]}
    with pytest.raises(InvalidRequestError, match="Only messages of the user") as refused:
        read_completion(asked(message, HI))
    assert refused.value.field == "messages.0.content"


@pytest.mark.parametrize("content", [1, None, [1], [{}], [{"type": "text"}], [{"type": ["text"]}]])
def test_content_of_another_shape_is_refused_by_its_place(content: object) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        read_completion(asked({"role": "user", "content": content}))
    assert str(refused.value.field).startswith("messages.0.user.content")


OTHER_VALUES: dict[str, object] = {
    "n": 2,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_object"},
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "mp3"},
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"50256": -100},
    "web_search_options": {},
}


def test_every_parameter_that_is_refused_has_a_reason_and_a_test() -> None:
    assert OTHER_VALUES.keys() == UNSUPPORTED.keys() <= CompletionRequest.model_fields.keys()


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_would_make_it_another_answer_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(AgentError, match=UNSUPPORTED[name]) as refused:
        read_question(asked(HI, **{name: OTHER_VALUES[name]}), "ours", 100)
    assert (refused.value.code, refused.value.field) == ("InvalidRequest", name)


IMAGE = {"type": "image_url", "image_url": {"url": "http://a.example/b.png"}}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "InvalidRequest", None),
        (b"{}", "InvalidRequest", "model"),
        (asked(), "InvalidRequest", "messages"),
        (asked({"role": "system", "content": "x"}), "InvalidRequest", "messages"),
        (asked(HI, {"role": "assistant", "content": "x"}), "InvalidRequest", "messages"),
        (asked({"role": "user", "content": " "}), "InvalidRequest", "messages"),
        (asked({"role": "user", "content": "x" * 101}), "PayloadTooLarge", "messages"),
        (asked({"role": "tool", "content": "x"}), "InvalidRequest", "messages.0"),
        (asked(HI, topp=1), "InvalidRequest", "topp"),
        (asked(HI, model="gpt-0"), "ModelNotServed", "model"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_by_name(
    body: bytes, code: str, field: str | None
) -> None:
    with pytest.raises(AgentError) as refused:
        read_question(body, "ours", 100)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
    ],
)
def test_a_message_with_more_than_text_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(AgentError, match=r"messages\.0"):
        read_question(asked(message, HI), "ours", 100)


async def turn(events: list[Event]) -> AsyncGenerator[Event]:
    for event in events:
        yield event


async def test_a_whole_answer_has_the_text_of_all_messages_and_the_files() -> None:
    completion = await complete(turn(TURN), "ours")
    (choice,) = completion.choices
    assert choice.message.content == CONTENT
    assert choice.finish_reason == "stop"
    assert completion.usage.total_tokens == 15


async def test_a_turn_without_an_answer_is_an_error() -> None:
    with pytest.raises(PoolFullError):
        await complete(turn([TextDelta("m", "Let"), TurnFailed(PoolFullError("Full."))]), "ours")


def streamed(events: list[Event], *, include_usage: bool) -> list[Any]:
    encoder = ChunkEncoder("ours", include_usage=include_usage)
    stream = b"".join([encoder.begin(), *map(encoder.encode, events)]).decode()
    blocks = stream.removesuffix("\n\n").split("\n\n")
    payloads = [block.removeprefix("data: ") for block in blocks]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def test_the_chunks_add_up_to_the_same_answer() -> None:
    *chunks, done = streamed(TURN, include_usage=False)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == CONTENT
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {"usage" in chunk for chunk in chunks} == {False}


def test_the_usage_comes_last_for_those_who_want_it() -> None:
    *chunks, usage, done = streamed(TURN, include_usage=True)
    assert done == "[DONE]"
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def test_a_stream_that_fails_ends_with_the_error() -> None:
    failed = TurnFailed(PoolFullError("No session is free."))
    last = streamed([TextDelta("m", "Let"), failed], include_usage=True)[-1]
    assert last == {
        "error": {
            "message": "No session is free.",
            "type": "server_error",
            "param": None,
            "code": "PoolFull",
        }
    }


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ModelThrottledError("x"), "rate_limit_error", "rate_limit_exceeded"),
        (ContentFilteredError("x"), "invalid_request_error", "content_filter"),
    ],
)
def test_errors_that_openai_has_too_carry_its_code(error: AgentError, kind: str, code: str) -> None:
    body = envelope(error).error
    assert (body.type, body.code) == (kind, code)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("[a](data:,) and ![b](data:,)", "[a, shown to the user] and [b, shown to the user]"),
        (r"[a\]](data:,)", r"[a\], shown to the user]"),
        (r"\[a](data:,)", r"\[a](data:,)"),
        ("[a [b](data:,)", "[a [b, shown to the user]"),
        ("a](data:,)[b](data:,)", "a](data:,)[b, shown to the user]"),
        ("[a](data:,", "[a](data:,"),
        ("[a](https://example.com)", "[a](https://example.com)"),
        ("[](data:,)", "[, shown to the user]"),
        (f"[{'a' * 510}](data:,)", f"[{'a' * 510}, shown to the user]"),
    ],
)
def test_a_link_to_content_in_an_earlier_answer_is_read_as_its_name(text: str, read: str) -> None:
    body = asked(HI, {"role": "assistant", "content": text}, HI)
    assert read_question(body, "ours", 100).history[1] == Message("assistant", read)


def test_a_conversation_longer_than_any_model_reads_is_refused() -> None:
    most = [HI] * MESSAGES_MAX
    assert len(read_question(asked(*most), "ours", 100).history) == MESSAGES_MAX - 1
    with pytest.raises(PayloadTooLargeError, match="2,048 entries"):
        read_question(asked(HI, *most), "ours", 100)
    half = {"role": "system", "content": "x" * (HISTORY_MAX_CHARS // 2)}
    read_question(asked(half, HI), "ours", 100)
    with pytest.raises(PayloadTooLargeError, match="4,000,000 that a model could read"):
        read_question(asked(half, half, HI), "ours", 100)
