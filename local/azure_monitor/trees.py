"""Shows each turn as a tree of spans with durations, from what the endpoint took."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from local.azure_monitor.items import Item

TURN: Final = "invoke_agent"
# What a turn left to the background arrives with the next batch.
WAIT_S: Final = 1.0
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
    """Collects spans by trace; shows a trace when its turn has ended.

    Args:
        show: gets each tree as text.
        file: gets every item too, one JSON object a line.
    """

    def __init__(self, show: Callable[[str], None], file: Path | None = None) -> None:
        self._show = show
        self._file = file
        self._spans: dict[str, list[Item]] = {}
        self._due: set[str] = set()

    def take(self, items: Sequence[Item]) -> None:
        """Take items that the endpoint took; called in its event loop."""
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(item.raw)}\n" for item in items)
        for item in items:
            if item.id and item.operation_id:
                self._spans.setdefault(item.operation_id, []).append(item)
                if item.name.startswith(TURN) and item.operation_id not in self._due:
                    self._due.add(item.operation_id)
                    asyncio.get_running_loop().call_later(WAIT_S, self._tell, item.operation_id)

    def _tell(self, operation_id: str) -> None:
        self._due.discard(operation_id)
        spans = self._spans.pop(operation_id, [])
        if spans:
            self._show("\n".join([f"trace {operation_id}", *tree_of(spans), ""]))


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
