"""Which answers of a pool mean which outputs."""

import json

import pytest
from pydantic import JsonValue

from agent.session_pool.outputs import CellOutputs, Shown, read_outputs

DISPLAYED = Shown({"text/plain": "1"})
RESULT = Shown({"text/plain": "2"}, is_result=True)
OUTPUTS: list[JsonValue] = [
    {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
    {"output_type": "stream", "name": "stderr", "text": "careful\n"},
    {"output_type": "display_data", "data": {"text/plain": ["1"]}, "metadata": {}},
    {"output_type": "execute_result", "data": {"text/plain": "2"}, "execution_count": 1},
]
READ = CellOutputs((DISPLAYED, RESULT), "a\nb\n", "careful\n", in_jupyter_format=True)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (OUTPUTS, READ),
        ({"outputs": OUTPUTS}, READ),
        (json.dumps(OUTPUTS), READ),
        (json.dumps({"outputs": OUTPUTS}), READ),
        ({"text/plain": "2"}, CellOutputs((RESULT,), in_jupyter_format=True)),
        ({"data": {"text/plain": "2"}}, CellOutputs((RESULT,), in_jupyter_format=True)),
        ({"outputs": []}, CellOutputs(in_jupyter_format=True)),
        ([], CellOutputs(in_jupyter_format=None)),
        ({}, CellOutputs(in_jupyter_format=None)),
        (2, CellOutputs((RESULT,))),
        ("2", CellOutputs((RESULT,))),
        (None, CellOutputs()),
        ("", CellOutputs()),
        ([1, 2], CellOutputs((Shown({"text/plain": "[1, 2]"}, is_result=True),))),
        ('[1, "a"]', CellOutputs((Shown({"text/plain": '[1, "a"]'}, is_result=True),))),
        (
            {"type": "image", "format": "png", "base64_data": "AAAA"},
            CellOutputs((Shown({"image/png": "AAAA"}),)),
        ),
        (
            [{"output_type": "error", "traceback": ["\x1b[31mZero\x1b[0m", "Division"]}],
            CellOutputs(stderr="Zero\nDivision", in_jupyter_format=True),
        ),
    ],
)
def test_each_likely_answer_is_read(value: JsonValue, read: CellOutputs) -> None:
    assert read_outputs(value, jupyter=True) == read


def test_without_the_flag_a_value_is_a_value() -> None:
    read = read_outputs([{"output_type": "stream", "text": "a"}], jupyter=False)
    text = '[{"output_type": "stream", "text": "a"}]'
    assert read.shown == (Shown({"text/plain": text}, is_result=True),)
