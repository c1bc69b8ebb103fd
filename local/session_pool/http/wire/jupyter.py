"""`returnJupyterFormatExecutionResult`: all that a cell showed, in Jupyter's format.

The service documents the flag without a shape. The formats are those of a notebook's file:
https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

from local.session_pool.pool.execution import Outcome, base64_of
from local.session_pool.sandbox.replies import OutputFrame, Reply

# How a pool may answer the flag: as documented nowhere, so in each way that a client could meet.
type JupyterFormat = Literal["list", "outputs", "mime bundle", "ignored", "refused"]


def outputs_json(outcome: Outcome, shape: JupyterFormat) -> Iterator[bytes]:
    """Yield `executionResult` as JSON, in pieces: an image may be large.

    Args:
        outcome: of an execution that asked for every output.
        shape: `list`: the outputs. `outputs`: an object with that list under this key, as a
            notebook's cell has it. `mime bundle`: the formats of the last output alone.
    """
    if shape == "mime bundle":
        reply = outcome.reply
        shown = [o for o in reply.frame.outputs if o.output_type != "error"] if reply else []
        if reply is None or not shown:
            yield b"{}"
        else:
            yield from _bundle(reply, shown[-1])
        return
    yield b'{"outputs":[' if shape == "outputs" else b"["
    for n, pieces in enumerate(_outputs(outcome)):
        yield b"," if n else b""
        yield from pieces
    yield b"]}" if shape == "outputs" else b"]"


def _outputs(outcome: Outcome) -> Iterator[Iterator[bytes]]:
    """Yield each output; text printed between two of them is an output of its own."""
    reply = outcome.reply
    shown = reply.frame.outputs if reply is not None else []
    texts = _texts(outcome)
    position = _first_piece(outcome, len(texts))
    for output in shown:
        yield from _streams(texts[position : output.mark])
        position = max(position, output.mark)
        if _is_on_stderr(output):
            yield from _streams([(out, "") for out, _ in texts[position : position + 1]])
            position += 1
        if reply is not None:
            yield (
                _error(reply, output) if output.output_type == "error" else _display(reply, output)
            )
    yield from _streams(texts[position:])
    words = _words_of_the_service(outcome)
    if words:
        named = {"ename": "ExecutionFailed", "evalue": words, "traceback": [words]}
        yield iter([_json({"output_type": "error", **named})])


def _texts(outcome: Outcome) -> list[tuple[str, str]]:
    """The texts of stdout and stderr: before the first mark, between two, after the last."""
    if outcome.streams is None:
        return []
    stdout, stderr = (stream.pieces for stream in outcome.streams)
    pairs = []
    for n in range(max(len(stdout), len(stderr))):
        pairs.append(tuple(pieces[n] if n < len(pieces) else "" for pieces in (stdout, stderr)))
    return [(out, err) for out, err in pairs]


def _first_piece(outcome: Outcome, count: int) -> int:
    """The index of the first piece of the streams that `clear_output` left."""
    if outcome.reply is None:
        return 0
    frame = outcome.reply.frame
    if frame.clear_at_next is not None and any(map(any, _texts(outcome)[frame.clear_at_next :])):
        return min(frame.clear_at_next, count)
    return min(frame.cleared, count)


def _streams(texts: list[tuple[str, str]]) -> Iterator[Iterator[bytes]]:
    for name, position in (("stdout", 0), ("stderr", 1)):
        text = "".join(pair[position] for pair in texts)
        if text:
            yield iter([_json({"output_type": "stream", "name": name, "text": text})])


def _display(reply: Reply, output: OutputFrame) -> Iterator[bytes]:
    head: dict[str, Any] = {"output_type": output.output_type, "metadata": output.metadata}
    if output.output_type == "execute_result":
        head["execution_count"] = output.execution_count
    yield _json(head)[:-1] + b',"data":'
    yield from _bundle(reply, output)
    yield b"}"


def _bundle(reply: Reply, output: OutputFrame) -> Iterator[bytes]:
    yield b"{"
    between = b""
    for media_type, text in output.data.items():
        yield between + _json(media_type) + b":" + _text(media_type, text)
        between = b","
    for media_type, index in output.blobs.items():
        blob = reply.blobs[index]
        yield between + _json(media_type) + b":"
        between = b","
        if blob.is_text:
            yield _text(media_type, blob.text())
        else:
            yield b'"'
            yield from base64_of(blob)
            yield b'"'
    yield b"}"


def _error(reply: Reply, output: OutputFrame) -> Iterator[bytes]:
    traceback = reply.part(output, "traceback") or reply.frame.traceback
    yield _json(
        {
            "output_type": "error",
            "ename": reply.part(output, "ename"),
            "evalue": reply.part(output, "evalue"),
            "traceback": traceback.split("\n"),
        }
    )


def _is_on_stderr(output: OutputFrame) -> bool:
    """Whether it is an error that did not end the cell: the next piece of stderr is its text."""
    return output.output_type == "error" and "traceback" in {**output.data, **output.blobs}


def _words_of_the_service(outcome: Outcome) -> str:
    """The pool's own words on stderr: out of time, or the kernel was lost."""
    if outcome.succeeded:
        return ""
    stderr = outcome.streams[1].text if outcome.streams is not None else ""
    words = outcome.stderr.removeprefix(stderr).strip("\n")
    traceback = outcome.reply.frame.traceback if outcome.reply is not None else ""
    return "" if words == traceback.strip("\n") else words


def _text(media_type: str, text: str) -> bytes:
    """A text as JSON; one that is JSON itself as what it stands for, as notebooks keep it."""
    if media_type.endswith(("+json", "/json")):
        try:
            return _json(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return _json(text)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
