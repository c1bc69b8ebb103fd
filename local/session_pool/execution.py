"""One execution: what was asked and what came of it."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from local.session_pool.sandbox.replies import Blob, Reply

Status = Literal["NotStarted", "Running", "Succeeded", "Failed"]

# Longest execution that the service allows, whatever timeoutInSeconds says.
MAX_TIMEOUT_S = 220
DEFAULT_TIMEOUT_S = 120
DEFAULT_OUTPUT_CHARS = 4096
# The emulator's own bound for outputStreamsMaxLength: output waits in its memory.
MAX_OUTPUT_CHARS = 128 << 10


@dataclass(frozen=True)
class ExecutionRequest:
    """Code to run and how.

    Attributes:
        code: Python source.
        timeout_s: from the arrival of the request to its answer.
        output_max_chars: of stdout and of stderr, each.
        asynchronous: answer at once, to be polled.
        execution_type: the caller's word for it, which the answer repeats.
        jupyter_result: return every output in Jupyter's format.
        empty_kernel: work on variables of its own, not on the session's.
    """

    code: str
    timeout_s: float = DEFAULT_TIMEOUT_S
    output_max_chars: int = DEFAULT_OUTPUT_CHARS
    asynchronous: bool = False
    execution_type: str = "Synchronous"
    jupyter_result: bool = False
    empty_kernel: bool = False

    @property
    def variables(self) -> str:
        """Which set of variables it works on.

        The service's image has a kernel for each of these; they share files, not variables.
        """
        if self.empty_kernel:
            return "empty"
        return "asynchronous" if self.asynchronous else "synchronous"


@dataclass(frozen=True)
class Outcome:
    """What an execution came to.

    Attributes:
        succeeded: False when the code raised, ran out of time or lost its kernel.
        stdout: head of what it printed.
        stderr: head of what it wrote there, then the traceback or the service's words.
        duration_ms: time in the kernel.
        reply: what the kernel answered, None when it did not.
    """

    succeeded: bool
    stdout: str
    stderr: str
    duration_ms: int
    reply: Reply | None = None

    def result_json(self, *, jupyter: bool, text_only: bool = False) -> Iterator[bytes]:
        """Yield `executionResult` as JSON, in pieces: an image may be large.

        Args:
            jupyter: every output in Jupyter's format.
            text_only: lists and dictionaries as Jupyter's text of them.
        """
        if self.reply is None or (not self.succeeded and not jupyter):
            yield b'""'
            return
        frame, blobs = self.reply.frame, self.reply.blobs
        if jupyter:
            yield from _outputs_json(frame.outputs, blobs)
        elif blobs:
            # The last one shown: plt.show() comes after the value of the last expression.
            blob = blobs[-1]
            kind = blob.media_type.removeprefix("image/")
            yield f'{{"type":"image","format":"{kind}","base64_data":"'.encode()
            yield from _base64_of(blob)
            yield b'"}'
        elif frame.kind == "value":
            is_container = isinstance(frame.value, list | dict)
            value = _text_of(frame.outputs) if text_only and is_container else frame.value
            yield json.dumps(value).encode()
        elif frame.kind == "none" and not self.stdout:
            # `x` that is None; print(), which is None too, has left its text instead.
            yield b"null"
        else:
            yield b'""'


def _text_of(outputs: list[dict[str, Any]]) -> str:
    for output in reversed(outputs):
        data = output.get("data")
        if output.get("output_type") == "execute_result" and isinstance(data, dict):
            return str(data.get("text/plain", ""))
    return ""


def _base64_of(blob: Blob) -> Iterator[bytes]:
    return map(base64.b64encode, blob.chunks())


def _outputs_json(outputs: list[dict[str, Any]], blobs: tuple[Blob, ...]) -> Iterator[bytes]:
    yield b"["
    for n, output in enumerate(outputs):
        yield b"," if n else b""
        data = output.get("data")
        texts = (
            {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}
        )
        kind = "execute_result" if output.get("output_type") == "execute_result" else "display_data"
        head: dict[str, Any] = {"output_type": kind, "metadata": {}}
        if kind == "execute_result" and isinstance(output.get("execution_count"), int):
            head["execution_count"] = output["execution_count"]
        yield json.dumps(head).encode()[:-1] + b',"data":{'
        parts = [json.dumps(texts).encode()[1:-1]] if texts else []
        yield from parts
        pending = bool(parts)
        for media_type, value in data.items() if isinstance(data, dict) else ():
            index = value.get("blob") if isinstance(value, dict) else None
            if not isinstance(index, int) or not 0 <= index < len(blobs):
                continue
            yield (b"," if pending else b"") + json.dumps(media_type).encode() + b':"'
            yield from _base64_of(blobs[index])
            yield b'"'
            pending = True
        yield b"}}"
    yield b"]"
