"""Each turn is shown once as a tree, whatever comes before, beside and after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.azure_monitor import Item, Trees
from local.azure_monitor.trees import SPANS_MAX, TRACES_MAX
from tests.support.waiting import until

BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)
TURN = Item(
    kind="RemoteDependencyData",
    name="invoke_agent a",
    operation_id="t",
    id="1",
    parent_id="of the host",
    began=BEGAN,
    duration_ms=5,
    succeeded=True,
    result_code="0",
    properties={"code_interpreter.outcome": "stop"},
    raw={},
)


def call(id_: str, parent_id: str, after_ms: int, **changes: Any) -> Item:
    began = BEGAN + timedelta(milliseconds=after_ms)
    item = replace(TURN, name=f"call {id_}", id=id_, parent_id=parent_id, began=began)
    return replace(item, properties={}, **changes)


async def test_each_span_is_behind_the_one_that_it_hangs_on() -> None:
    shown: list[str] = []
    trees = Trees(shown.append)
    # As they end: what is below, first.
    trees.take([call("3", "2", 2), call("4", "1", 3, result_code="200"), call("2", "1", 1), TURN])
    trees.close()
    assert [" ".join(line.split()) for line in shown[0].splitlines()] == [
        "trace t",
        "invoke_agent a 5.0 ms outcome stop",
        "├─ call 2 5.0 ms",
        "│ └─ call 3 5.0 ms",
        "└─ call 4 5.0 ms HTTP 200",
    ]
    assert len(shown) == 1


async def test_what_comes_after_a_tree_was_shown_is_shown_too() -> None:
    shown: list[str] = []
    trees = Trees(shown.append)
    trees.take([TURN])
    await until(lambda: len(shown) == 1)
    trees.take([call("2", "1", 9_000)])
    await until(lambda: len(shown) == 2)
    assert shown[1].splitlines()[0] == "trace t, later"
    assert shown[1].splitlines()[1].startswith("call 2 ")


async def test_what_waits_is_shown_at_the_end() -> None:
    shown: list[str] = []
    trees = Trees(shown.append)
    trees.take([TURN])
    trees.close()
    assert len(shown) == 1


async def test_spans_of_no_turn_are_not_kept_for_ever() -> None:
    trees = Trees(pytest.fail)
    for number in range(TRACES_MAX + 10):
        trees.take([call("2", "1", 0, operation_id=f"{number}")])
    for _ in range(SPANS_MAX + 10):
        trees.take([call("2", "1", 0, operation_id="one")])
    kept = trees._spans
    assert (len(kept), max(map(len, kept.values()))) == (TRACES_MAX, SPANS_MAX)
