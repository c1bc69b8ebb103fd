"""One execution: its request and its outcome."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from local.session_pool.sandbox.output import StreamText
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
        """The set of variables that it works on.

        The service's image has a kernel for each of these; they share files, not variables.
        """
        if self.empty_kernel:
            return "empty"
        return "asynchronous" if self.asynchronous else "synchronous"


@dataclass(frozen=True)
class Outcome:
    """The outcome of an execution.

    Attributes:
        succeeded: False when the code raised, ran out of time or lost its kernel.
        stdout: head of what it printed.
        stderr: head of what it wrote there, then the traceback or the service's words.
        duration_ms: time in the kernel.
        reply: what the kernel answered, None when it did not.
        streams: stdout and stderr by themselves; None if the code never began.
    """

    succeeded: bool
    stdout: str
    stderr: str
    duration_ms: int
    reply: Reply | None = None
    streams: tuple[StreamText, StreamText] | None = None

    def result_json(self, *, text_only: bool = False) -> Iterator[bytes]:
        """Yield `executionResult` as JSON, in pieces: an image may be large.

        Args:
            text_only: lists and dictionaries as Jupyter's text of them.
        """
        if self.reply is None or not self.succeeded:
            yield b'""'
            return
        frame = self.reply.frame
        # The last one shown: plt.show() comes after the value of the last expression.
        image = self._last_image()
        if image is not None:
            kind = image.media_type.removeprefix("image/")
            yield f'{{"type":"image","format":"{kind}","base64_data":"'.encode()
            yield from base64_of(image)
            yield b'"}'
        elif frame.kind == "value":
            value = self.reply.value
            if text_only and isinstance(value, list | dict):
                value = self._text()
            yield json.dumps(value).encode()
        elif frame.kind == "none" and not self.stdout:
            # `x` that is None; print(), which is None too, has left its text instead.
            yield b"null"
        else:
            yield b'""'

    def _last_image(self) -> Blob | None:
        if self.reply is None:
            return None
        for output in reversed(self.reply.frame.outputs):
            for kind in ("image/png", "image/jpeg"):
                if kind in output.blobs:
                    blob = self.reply.blobs[output.blobs[kind]]
                    return blob if blob.media_type == kind else None
        return None

    def _text(self) -> str:
        if self.reply is None:
            return ""
        for output in reversed(self.reply.frame.outputs):
            if output.output_type == "execute_result":
                return self.reply.part(output, "text/plain")
        return ""


def base64_of(blob: Blob) -> Iterator[bytes]:
    """Yield a blob as base64, in pieces."""
    return map(base64.b64encode, blob.chunks())
