"""The results of an execution: its value, all that it displayed, its errors."""

import contextlib
import json
import os
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from .frames import (
    MAX_BLOBS_BYTES,
    MAX_DESCRIBED_BYTES,
    MAX_INLINE_BYTES,
    MAX_ITEM_BYTES,
    MAX_OUTPUTS,
)
from .values import IMAGE_TYPES, as_json, parts_of, say, small_metadata


class StreamMarks:
    """Marks in stdout and stderr where an output was shown, so that the host can order them.

    Attributes:
        count: how many have been set.
    """

    def __init__(self, token: str, descriptors: tuple[int, int]) -> None:
        """Args: what to write, "" for nothing; the session's own stdout and stderr."""
        self.count = 0
        self._token = token.encode()
        self._descriptors = descriptors
        self._process = os.getpid()

    def set(self) -> int:
        """Mark both streams; the value says how many marks there are."""
        # A child that the code forked displays nothing, and must not count.
        if self._token and os.getpid() == self._process:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):  # the code may have replaced or closed them
                    stream.flush()
            for descriptor in self._descriptors:
                with contextlib.suppress(OSError):
                    os.write(descriptor, self._token)
            self.count += 1
        return self.count


@dataclass
class _Output:
    output_type: str
    data: dict[str, str | bytes]
    metadata: dict[str, Any]
    mark: int
    execution_count: int | None = None
    display_id: str | None = None

    @property
    def size_bytes(self) -> int:
        # Up to four bytes for a character, and an envelope.
        return 200 + sum(
            len(part) if isinstance(part, bytes) else len(part.encode())
            for part in self.data.values()
        )


@dataclass
class ResultCollector:
    """Gathers what one cell displays, in order.

    Attributes:
        kind: what the last expression came to; "nothing" when the cell has none.
        value: the last expression as JSON, when kind is "value".
        marks: where in the streams the outputs belong.
    """

    kind: str = "nothing"
    value: Any = None
    marks: StreamMarks = field(default_factory=lambda: StreamMarks("", (1, 2)))
    _outputs: list[_Output] = field(default_factory=list)
    _size_bytes: int = 0
    _cleared: int = 0
    _clear_at_next: int | None = None
    _is_full: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def displayed(
        self,
        bundle: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        display_id: str | None = None,
        update: bool = False,
    ) -> None:
        """`display(...)` was called, a figure was shown, or one shown before is replaced."""
        if update:
            self._replace(parts_of(bundle), small_metadata(metadata), display_id)
        else:
            self._add("display_data", bundle, metadata, display_id=display_id)

    def result(
        self,
        value: object,
        bundle: dict[str, Any],
        metadata: dict[str, Any],
        execution_count: int,
    ) -> None:
        """The last expression of the cell has a value."""
        if any(media_type in bundle for media_type in IMAGE_TYPES):
            self.kind = "image"
        elif value is None:
            self.kind = "none"
        else:
            self.kind = "value"
            self.value = as_json(value, str(bundle.get("text/plain", "")))
        if value is not None:
            self._add("execute_result", bundle, metadata, execution_count=execution_count)

    def error(self, name: str, message: str, traceback: str | None) -> None:
        """An error was shown; None for the traceback of the one that ended the cell."""
        bundle = {"ename": name, "evalue": message}
        if traceback is not None:
            bundle["traceback"] = traceback
        self._add("error", bundle)

    def clear(self, *, wait: bool) -> None:
        """`clear_output()` was called; `wait` leaves it to what is shown next."""
        with self._lock:
            self._clear_at_next = self.marks.set()
            if not wait:
                self._clear_now()

    def frame(self, *, every_output: bool) -> tuple[dict[str, Any], list[bytes]]:
        """Return the parts of a reply, and the blobs that follow it.

        Args:
            every_output: otherwise only what the service's plain answer is made of: the last image,
                and the text of the last expression.
        """
        with self._lock:
            outputs = self._outputs if every_output else self._plain_outputs()
            blobs: list[bytes] = []
            announced: list[dict[str, Any]] = []
            room_bytes = MAX_INLINE_BYTES

            def put(media_type: str, part: str | bytes) -> int | None:
                nonlocal room_bytes
                if isinstance(part, str):
                    size = len(json.dumps(part, ensure_ascii=False).encode())
                    if size <= min(MAX_ITEM_BYTES, room_bytes):
                        room_bytes -= size
                        return None
                blobs.append(part.encode() if isinstance(part, str) else part)
                announced.append(
                    {
                        "media_type": media_type,
                        "bytes": len(blobs[-1]),
                        "text": isinstance(part, str),
                    }
                )
                return len(blobs) - 1

            described: list[dict[str, Any]] = []
            described_bytes = 0
            for output in outputs:
                inline, indices = {}, {}
                for media_type, part in output.data.items():
                    index = put(media_type, part)
                    if index is None:
                        inline[media_type] = part
                    else:
                        indices[media_type] = index
                one = {
                    "output_type": output.output_type,
                    "data": inline,
                    "blobs": indices,
                    "metadata": output.metadata,
                    "mark": output.mark,
                    "execution_count": output.execution_count,
                }
                described_bytes += len(json.dumps([one, [*indices]], ensure_ascii=False).encode())
                if described_bytes > MAX_DESCRIBED_BYTES:
                    say(f"[{len(outputs) - len(described)} outputs are left out]")
                    break
                described.append(one)
            reply: dict[str, Any] = {
                "kind": self.kind,
                "outputs": described,
                "blobs": announced,
                "cleared": self._cleared,
                "clear_at_next": self._clear_at_next,
            }
            encoded = json.dumps(self.value, ensure_ascii=False)
            if put("application/json", encoded) is None:
                reply["value"] = self.value
            else:
                reply["value_blob"] = len(blobs) - 1
            return reply, blobs

    def _plain_outputs(self) -> list[_Output]:
        found = []
        for output in reversed(self._outputs):
            image = next((kind for kind in IMAGE_TYPES if kind in output.data), None)
            if image is not None:
                found.append(_Output("display_data", {image: output.data[image]}, {}, 0))
                break
        for output in reversed(self._outputs):
            if output.output_type == "execute_result" and "text/plain" in output.data:
                text = {"text/plain": output.data["text/plain"]}
                found.append(_Output("execute_result", text, {}, 0))
                break
        return found

    def _add(
        self,
        output_type: str,
        bundle: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        execution_count: int | None = None,
        display_id: str | None = None,
    ) -> None:
        data = parts_of(bundle)
        if not data:
            return
        output = _Output(
            output_type, data, small_metadata(metadata), 0, execution_count, display_id
        )
        with self._lock:
            if self._clear_at_next is not None:
                self._clear_now()
            if len(self._outputs) >= MAX_OUTPUTS:
                if not self._is_full:
                    say(f"[{MAX_OUTPUTS} outputs are shown; those after them are left out]")
                self._is_full = True
                return
            self._fit(output, self._size_bytes)
            if output.data:
                output.mark = self.marks.set()
                self._size_bytes += output.size_bytes
                self._outputs.append(output)

    def _replace(
        self,
        data: dict[str, str | bytes],
        metadata: dict[str, Any],
        display_id: str | None,
    ) -> None:
        with self._lock:
            for output in self._outputs:
                if output.display_id is not None and output.display_id == display_id:
                    self._size_bytes -= output.size_bytes
                    output.data, output.metadata = dict(data), metadata
                    self._fit(output, self._size_bytes)
                    self._size_bytes += output.size_bytes

    @staticmethod
    def _fit(output: _Output, taken_bytes: int) -> None:
        """Leave out parts that are too large for the answer, and say so."""
        for media_type, part in [*output.data.items()]:
            size = len(part) if isinstance(part, bytes) else len(part.encode())
            if taken_bytes + size + 200 > MAX_BLOBS_BYTES:
                del output.data[media_type]
                say(
                    f"[{media_type} of {size:,} bytes left out:"
                    f" all outputs of an execution hold at most {MAX_BLOBS_BYTES:,} bytes]"
                )
            else:
                taken_bytes += size

    def _clear_now(self) -> None:
        self._cleared, self._clear_at_next = self._clear_at_next or 0, None
        self._outputs.clear()
        self._size_bytes, self._is_full = 0, False
