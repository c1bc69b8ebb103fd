"""Shows each turn as a tree of spans with durations, from what the endpoint took."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from local.azure_monitor.items import Item

TURN: Final = "invoke_agent"
# What a turn left to the background arrives with the next batch.
WAIT_S: Final = 1.0
# Of which spans are kept, so many of each, and is known that they were shown; the oldest are
# forgotten.
TRACES_MAX: Final = 1_000
SPANS_MAX: Final = 1_000
_WIDTH: Final = 64
# What is worth a look beside the duration, by its name here.
_FACTS: Final = {
    "outcome": "code_interpreter.outcome",
    "error": "error.type",
    "tokens in": "gen_ai.usage.input_tokens",
    "out": "gen_ai.usage.output_tokens",
    "store ms": "code_interpreter.store_ms",
    "status": "code_interpreter.execution.status",
    "retry": "http.request.resend_count",
    "for": "code_interpreter.purpose",
}


class Trees:
    """Collects spans by trace; shows a trace when its turn has ended, and what comes later.

    Args:
        show: gets each tree as text.
        file: gets every item too, one JSON object a line; it begins anew.
    """

    def __init__(self, show: Callable[[str], None], file: Path | None = None) -> None:
        self._show = show
        self._file = file
        if file is not None:
            file.unlink(missing_ok=True)
        self._spans: dict[str, deque[Item]] = {}
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._shown: dict[str, None] = {}

    def take(self, items: Sequence[Item]) -> None:
        """Take items that the endpoint took; called in its event loop."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(item.raw)}\n" for item in items)
        for item in items:
            trace = item.operation_id
            if not item.id or not trace:
                continue
            self._spans.setdefault(trace, deque(maxlen=SPANS_MAX)).append(item)
            _forget_oldest(self._spans)
            if trace not in self._due and (item.name.startswith(TURN) or trace in self._shown):
                loop = asyncio.get_running_loop()
                self._due[trace] = loop.call_later(WAIT_S, self._tell, trace)

    def close(self) -> None:
        """Show what waits: nothing more comes."""
        for trace, timer in list(self._due.items()):
            timer.cancel()
            self._tell(trace)

    def _tell(self, trace: str) -> None:
        del self._due[trace]
        if spans := self._spans.pop(trace, None):
            again = ", later" if trace in self._shown else ""
            self._shown[trace] = None
            _forget_oldest(self._shown)
            self._show("\n".join([f"trace {trace}{again}", *tree_of(spans), ""]))


def _forget_oldest(traces: dict[str, Any]) -> None:
    if len(traces) > TRACES_MAX:
        del traces[next(iter(traces))]


def tree_of(spans: Sequence[Item]) -> Iterator[str]:
    """The lines of a tree: each span below and behind the one that it hangs on."""
    known = {span.id for span in spans}
    below: dict[str, list[Item]] = {}
    for span in sorted(spans, key=lambda span: span.began):
        below.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)

    def lines(parent: str, indent: str) -> Iterator[str]:
        children = below.get(parent, [])
        for child in children:
            last = child is children[-1]
            branch = "" if not parent else f"{indent}{'└─ ' if last else '├─ '}"
            name = f"{branch}{child.name}"
            facts = [f"{k} {v}" for k, n in _FACTS.items() if (v := child.properties.get(n))]
            if child.result_code not in ("", "0"):
                facts.append(f"HTTP {child.result_code}")
            yield f"{name:<{_WIDTH}} {child.duration_ms:>9.1f} ms  {', '.join(facts)}".rstrip()
            deeper = indent if not parent else f"{indent}{'   ' if last else '│  '}"
            yield from lines(child.id, deeper)

    yield from lines("", "")
