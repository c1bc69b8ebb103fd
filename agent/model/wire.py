"""What a model server sends, in any of the shapes that are in use, put together as one message.

Azure OpenAI, OpenAI, Ollama, vLLM, llama.cpp and the proxies before them differ in what they leave
out, repeat and cut. Everything is read here as plain JSON, by content, once: streamed or whole.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pydantic_core import from_json

from agent.errors import ModelAnswerCutError, ModelAnswerInvalidError
from agent.events import Usage
from agent.model.refusals import Refusal

DONE: Final = b"[DONE]"
# A server that counts further miscounts, and no collector of telemetry takes more than 64 bits.
TOKENS_MAX: Final = 2**31 - 1
# Names and words of a server are kept with each call's span, of which thousands may wait.
WORD_MAX_CHARS: Final = 256
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


class EventLines:
    """The `data` of server-sent events, out of bytes that are cut anywhere.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of each event that `piece` completes."""
        if self._rest:
            piece = self._rest + piece
        # A CR at the very end may be half of a CRLF.
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, -1)) + 1
        self._rest = piece[end:]
        for line in piece[:end].splitlines():
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and self._data:
                yield self._take()

    def end(self) -> Iterator[bytes]:
        """The data of a last event that nothing ends."""
        yield from self.feed(b"\n\n")

    def _take(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        return data


@dataclass(slots=True)
class CallPieces:
    """A tool call as the model wrote it.

    Attributes:
        index: its place in the message, where the server says it.
        id: by the server; empty, repeated or of any length.
        name: of the tool; empty where there is none.
        pieces: of the arguments, in order.
    """

    index: int | None
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments, whole."""
        return whole_characters("".join(self.pieces))

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are a JSON object, so that nothing can follow."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(from_json("".join(self.pieces)), dict)
        except ValueError:
            return False


class Answer:
    """One message of the model; filled while it comes.

    Attributes:
        calls: the tools it wants called, in order.
        finish_reason: the service's word; empty while there is none.
        usage: tokens of this call.
        cached_tokens: those of the prompt that the service had read before.
        reasoning_tokens: those of the answer that were thought.
        reasoning: what the model thought, where the server keeps that apart.
        has_only_reasoning: whether that is all there is, so that it is the text too.
        is_done: whether the server said that this is all.
        id: by which the service knows it; empty where it has none.
        model: which answered; empty where the service does not say.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what came: the model is asked again."""
        self.calls: list[CallPieces] = []
        self.finish_reason = ""
        self.usage = Usage()
        self.cached_tokens = self.reasoning_tokens = 0
        self.reasoning: list[str] = []
        self.has_only_reasoning = False
        self._texts: list[str] = []
        self._taken = 0
        self._half = ""  # of a surrogate pair, whose other half comes with the next piece
        self._choice: object = None
        self.is_done = False
        self.id = ""
        self.model = ""

    @property
    def text(self) -> str:
        """What it says, so far."""
        return "".join(self._texts)

    def take(self) -> str:
        """The text that came since this was last called."""
        text = "".join(self._texts[self._taken :])
        self._taken = len(self._texts)
        return text

    def add_data(self, data: bytes) -> None:
        """Take one event of a stream, or a whole answer.

        Raises:
            ModelAnswerInvalidError: it is not JSON.
            AgentError: it is an error of the service.
        """
        if data.startswith(DONE):
            self.is_done = True
        if not self.is_done:
            self._add(_parsed(data))

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            ModelAnswerCutError: the answer is not whole.
        """
        if not self.is_done and not self.finish_reason:
            raise answer_cut()
        if self._half:
            self._texts.append(_REPLACEMENT)
            self._half = ""
        if not self._texts and not self.calls and self.reasoning:
            # Some servers take all of an answer for reasoning.
            self._texts.append("".join(self.reasoning))
            self.has_only_reasoning = True

    def _add(self, event: object) -> None:
        if not isinstance(event, dict):
            raise not_a_completion()
        if event.get("error"):
            raise Refusal.in_answer(event).as_error()
        if isinstance(usage := event.get("usage"), dict):
            self._count(usage)
        self.id = self.id or _word(event.get("id"))
        self.model = self.model or _word(event.get("model"))
        choices = event.get("choices")
        if not isinstance(choices, list):
            if isinstance(event.get("message") or event.get("detail"), str):
                raise Refusal.in_answer(event).as_error()
            return
        for choice in choices:
            if isinstance(choice, dict):
                self._add_choice(choice)

    def _add_choice(self, choice: dict[str, object]) -> None:
        number = choice.get("index") or 0
        if self._choice is None:
            self._choice = number
        elif number != self._choice:
            return  # one answer was asked for
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self.finish_reason = _word(reason)
        if isinstance(delta := choice.get("delta"), dict):
            self._add_message(delta, streamed=True)
        elif isinstance(message := choice.get("message"), dict):
            self._add_message(message, streamed=False)
            self.is_done = True

    def _add_message(self, message: dict[str, object], *, streamed: bool) -> None:
        text, reasoning = _texts_of(message.get("content"))
        if refusal := message.get("refusal"):
            text += _texts_of(refusal)[0]
        if text:
            self._say(text)
        for name in ("reasoning_content", "reasoning"):
            if thought := message.get(name):
                reasoning += _texts_of(thought)[0]
                break
        if reasoning:
            self.reasoning.append(whole_characters(reasoning))
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else [calls]:
            if isinstance(call, dict):
                self._add_call(call, streamed=streamed)
        if isinstance(call := message.get("function_call"), dict):
            self._add_call(call, streamed=streamed)

    def _say(self, text: str) -> None:
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        if text:
            self._texts.append(whole_characters(text))

    def _add_call(self, piece: dict[str, object], *, streamed: bool) -> None:
        function = next(
            (f for f in (piece.get("function"), piece.get("custom")) if isinstance(f, dict)), piece
        )
        id_, name, index = piece.get("id"), function.get("name"), piece.get("index")
        arguments = function.get("arguments", function.get("input"))
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = json.dumps(arguments)
        call = self._call_of(
            index if isinstance(index, int) else None,
            str(id_) if isinstance(id_, str | int) else "",
            name if isinstance(name, str) else "",
            streamed=streamed,
        )
        call.pieces.append(arguments)

    def _call_of(self, index: int | None, id_: str, name: str, *, streamed: bool) -> CallPieces:
        """The call that a piece is of: by its index first, then by its id, else the last one."""
        known = self._known_call(index, id_, name) if streamed else None
        if known is None:
            known = CallPieces(index)
            self.calls.append(known)
        known.id = known.id or id_
        known.name = known.name or name
        return known

    def _known_call(self, index: int | None, id_: str, name: str) -> CallPieces | None:
        if index is not None:
            same = [call for call in self.calls if call.index == index]
            # Some servers count no further than 0.
            reused = same and id_ and name and id_ != same[-1].id and same[-1].is_complete
            return same[-1] if same and not reused else None
        same = [call for call in self.calls if id_ and call.id == id_]
        last = same[-1] if same else self.calls[-1] if self.calls else None
        begins = name and last and (last.is_complete or (not same and (id_ or name != last.name)))
        return None if begins else last

    def _count(self, usage: dict[str, object]) -> None:
        """Take the tokens so far: some servers send them with each piece, some a part of them."""
        prompt, completion, total = (
            _number(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        )
        if prompt is None and total is not None:
            prompt = total - (completion or 0)
        self.usage = Usage(
            max(self.usage.prompt_tokens, prompt or 0),
            max(self.usage.completion_tokens, completion or 0),
        )
        cached = _number(usage.get("prompt_tokens_details"), "cached_tokens")
        reasoning = _number(usage.get("completion_tokens_details"), "reasoning_tokens")
        self.cached_tokens = max(self.cached_tokens, cached or 0)
        self.reasoning_tokens = max(self.reasoning_tokens, reasoning or 0)


def _number(fields: object, name: str) -> int | None:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if type(value) is int and value <= TOKENS_MAX else None


def whole_characters(text: str) -> str:
    """The text with surrogate pairs joined and halves of one replaced, so that UTF-8 can carry it.

    JSON can name half a character; files, sockets and databases take whole ones.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _texts_of(content: object) -> tuple[str, str]:
    """What a message's content says, and what it thinks; text, or parts of many kinds."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return "", ""
    said, thought = "", ""
    for part in content:
        match part:
            case str():
                said += part
            case {"type": "thinking" | "reasoning", **rest}:
                thought += "".join(_texts_of(value)[0] for value in rest.values())
            case {"text": str(text)} | {"refusal": str(text)} | {"text": {"value": str(text)}}:
                said += text
    return said, thought


def _parsed(data: bytes) -> object:
    try:
        return from_json(data)
    except ValueError:
        pass
    try:
        # Halves of characters, raw control characters and broken UTF-8: the slow parser takes them.
        return json.loads(data.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError) as error:
        raise not_a_completion() from error


def not_a_completion() -> ModelAnswerInvalidError:
    """The error for a page, a text, broken JSON."""
    return ModelAnswerInvalidError(
        "What the model answered is not a chat completion. AZURE_OPENAI_ENDPOINT must be an Azure "
        "OpenAI account, or what speaks its protocol."
    )


def answer_cut() -> ModelAnswerCutError:
    """The error for an answer that ends before it is whole."""
    return ModelAnswerCutError(
        "There is no connection to the model any more: its answer ended in the middle. Ask again."
    )


def _word(value: object) -> str:
    """A name or a word of the server, as far as anybody reads it; empty if it is none."""
    return whole_characters(value[:WORD_MAX_CHARS]) if isinstance(value, str) else ""
