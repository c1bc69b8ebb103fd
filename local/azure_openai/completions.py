"""The two wire shapes of an answer: one JSON object, or server-sent events with its pieces."""

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from local.azure_openai.content_filter import ANSWER_FILTERED, ANSWER_SAFE, PROMPT_RESULTS
from local.azure_openai.steps import Reply
from local.azure_openai.usage import Usage

DONE: Final = b"data: [DONE]\n\n"
# Pieces of about the length of a token: callers must put words and JSON together again.
_PIECE = re.compile(r"\s*\S{1,8}|\s+")


@dataclass(frozen=True)
class Completion:
    """An answer with everything that its wire shapes need.

    Attributes:
        model: name of the model that answers, not of its deployment.
        reply: text, tool calls and why it ended.
        usage: token counts.
        includes_usage: whether the stream ends with them.
    """

    model: str
    reply: Reply
    usage: Usage
    includes_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(datetime.now(UTC).timestamp()))

    def as_json(self) -> bytes:
        """The body of a response that is not streamed."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.reply.text or (None if self.reply.tool_calls else ""),
            "refusal": None,
            "annotations": [],
        }
        if self.reply.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.reply.tool_calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": self.reply.finish_reason,
            "logprobs": None,
            "content_filter_results": self._filter_results(),
        }
        body = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
            "prompt_filter_results": PROMPT_RESULTS,
            "choices": [choice],
            "usage": self.usage.as_wire(),
        }
        return _json(body)

    def as_events(self) -> Iterator[bytes]:
        """The chunks in Azure's order, and `[DONE]`.

        Azure's first chunk has no id, no model and no choice: only the filter's word on the prompt.
        """
        first = {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": PROMPT_RESULTS,
        }
        yield _event(first)
        # Only the delta changes from chunk to chunk: the rest is made into JSON once.
        head, tail = self._frame()
        yield head + b'{"role":"assistant","content":"","refusal":null}' + tail
        if self.reply.text:
            for piece in _PIECE.findall(self.reply.text):
                yield head + _json({"content": piece}) + tail
        for index, call in enumerate(self.reply.tool_calls):
            function = {"name": call.name, "arguments": ""}
            opening = {"index": index, "id": call.id, "type": "function", "function": function}
            yield head + _json({"tool_calls": [opening]}) + tail
            for piece in _PIECE.findall(call.arguments):
                fragment = {"index": index, "function": {"arguments": piece}}
                yield head + _json({"tool_calls": [fragment]}) + tail
        yield _event(self._chunk(self._choice({}, self.reply.finish_reason)))
        if self.includes_usage:
            yield _event({**self._chunk(None), "usage": self.usage.as_wire()})
        yield DONE

    def _filter_results(self) -> dict[str, Any]:
        if self.reply.finish_reason == "content_filter":
            return ANSWER_FILTERED
        return ANSWER_SAFE if self.reply.text else {}

    def _choice(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        results = self._filter_results() if finish_reason == "content_filter" else {}
        if finish_reason is None and self.reply.text:
            results = ANSWER_SAFE
        return {
            "index": 0,
            "delta": delta,
            "finish_reason": finish_reason,
            "logprobs": None,
            "content_filter_results": results,
        }

    def _chunk(self, choice: dict[str, Any] | None) -> dict[str, Any]:
        chunk: dict[str, Any] = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
            "choices": [] if choice is None else [choice],
        }
        if self.includes_usage:
            chunk["usage"] = None
        return chunk

    def _frame(self) -> tuple[bytes, bytes]:
        head, _, tail = _event(self._chunk(self._choice({}, None))).partition(b'"delta":{}')
        return head + b'"delta":', tail


def _json(value: dict[str, Any]) -> bytes:
    return to_json(value)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + _json(value) + b"\n\n"
