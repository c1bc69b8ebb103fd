"""Long bodies are read as short ones are, and refused in the same words."""

import json
from typing import Any

import pytest
from ag_ui.core import RunAgentInput
from pydantic import ValidationError

from agent.http.bodies import validated
from agent.http.openai.schemas import CompletionRequest

LONG = "Größe über alles \N{SLIGHTLY SMILING FACE} " * 50_000
COMPLETION = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
RUN = {
    "threadId": "t",
    "runId": "r",
    "state": {},
    "tools": [],
    "context": [],
    "forwardedProps": {},
    "messages": [{"id": "1", "role": "user", "content": "?"}],
}


def longer(body: dict[str, Any], text: str = LONG) -> dict[str, Any]:
    said = {"id": "0", "role": "assistant", "content": text}
    if "model" in body:
        del said["id"]
    return {**body, "messages": [said, *body["messages"]]}


@pytest.mark.parametrize(
    ("model", "body"),
    [(CompletionRequest, longer(COMPLETION)), (RunAgentInput, longer(RUN))],
    ids=["completion", "run"],
)
@pytest.mark.parametrize("ensure_ascii", [False, True], ids=["characters", "escapes"])
def test_a_long_body_is_what_pydantic_reads(
    model: type[CompletionRequest | RunAgentInput], body: dict[str, Any], ensure_ascii: bool
) -> None:
    data = json.dumps(body, ensure_ascii=ensure_ascii).encode()
    assert validated(model, data) == model.model_validate_json(data)


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode()[:-1],
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode() + b"]",
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode().replace(b"?", b"\xff"),
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode().replace(b"?", b"\xed\xa0\xbd"),
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode().replace(b"?", b"\\ud83d"),
        json.dumps(longer(COMPLETION), ensure_ascii=False).encode().replace(b"?", b"\n"),
        json.dumps(longer(COMPLETION) | {"messages": {LONG: 1}}, ensure_ascii=False).encode(),
        json.dumps(longer(COMPLETION) | {"user": 1, LONG: 1}, ensure_ascii=False).encode(),
        b"[" * 1_000_000 + json.dumps(LONG, ensure_ascii=False).encode(),
    ],
    ids=[
        "cut",
        "more behind it",
        "not UTF-8",
        "half a character",
        "half a character, escaped",
        "a control character",
        "no list",
        "unknown fields",
        "too deep",
    ],
)
def test_a_long_body_that_is_wrong_is_refused_in_the_words_for_a_short_one(data: bytes) -> None:
    with pytest.raises(ValidationError) as expected:
        CompletionRequest.model_validate_json(data)
    with pytest.raises(ValidationError) as refused:
        validated(CompletionRequest, data)
    told = refused.value.errors(include_input=False, include_url=False)
    assert told == expected.value.errors(include_input=False, include_url=False)
