"""How the stand-in leads a conversation."""

import json
from typing import Any

import pytest

from local.azure_openai import ChatRequest, StandInModel
from local.azure_openai.steps import CallTool, Say, Step
from tests.local.azure_openai.conftest import TOOL
from tests.support.pictures import PICTURES, data_url

WHO = "the local stand-in model, a small program and not a language model"


def step(messages: list[dict[str, Any]], **more: Any) -> Step:
    request = ChatRequest.model_validate({"messages": messages, "tools": [TOOL], **more})
    return StandInModel()(request)


def say(messages: list[dict[str, Any]], **more: Any) -> str:
    taken = step(messages, **more)
    assert isinstance(taken, Say)
    return taken.text


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def after(question: str, *results: str) -> list[dict[str, Any]]:
    """A conversation in which the tool has just returned these."""
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for i in range(len(results))
    ]
    return [
        user(question),
        {"role": "assistant", "content": None, "tool_calls": calls},
        *(
            {"role": "tool", "tool_call_id": f"c{i}", "content": result}
            for i, result in enumerate(results)
        ),
    ]


def execution(**fields: Any) -> str:
    return json.dumps({"status": "Succeeded", **fields})


def test_tutorials_question_calls_the_tool_that_takes_code() -> None:
    taken = step([user("What is the current date and time?")])
    assert isinstance(taken, CallTool)
    assert taken.code is not None
    assert "datetime.now" in taken.code
    assert taken.name is None  # found by its parameter, not by its name


def test_tutorials_question_is_answered_in_a_sentence() -> None:
    question = "What is the current date and time?"
    text = say(after(question, execution(stdout="Monday, 23 November 2026, 15:00:00 UTC\n")))
    first, _, second = text.partition("\n\n")
    assert first == "The current date and time is Monday, 23 November 2026, 15:00:00 UTC."
    assert second == f"(I am {WHO}.)"


def test_only_the_first_answer_of_a_conversation_says_who_speaks() -> None:
    earlier = [*after("what is 1+1", execution(stdout="2")), {"role": "assistant", "content": "2"}]
    text = say([*earlier, *after("what is 2+2", execution(stdout="4"))])
    assert text == "The answer is 4."


def test_other_questions_get_one_plain_answer_about_what_it_can_do() -> None:
    text = say([user("Write me a poem.")])
    assert text.startswith(f"I am {WHO}.")
    assert "I can tell the date and time" in text
    assert text.count(WHO) == 1


@pytest.mark.parametrize(
    "tools",
    [
        {"tools": None},
        {"tool_choice": "none"},
        {
            "tools": [
                {"type": "function", "function": {"name": "search", "parameters": {}}},
                {
                    "type": "function",
                    "function": {
                        "name": "lint",
                        "parameters": {
                            "type": "object",
                            "properties": {
                                "code": {"type": "string"},
                                "rules": {"type": "string"},
                            },
                            "required": ["code", "rules"],
                        },
                    },
                },
            ]
        },
    ],
)
def test_without_a_tool_for_code_it_says_that_it_has_none(tools: dict[str, Any]) -> None:
    assert "no tool" in say([user("what is 2+2")], **tools)


def test_question_in_parts_is_read() -> None:
    taken = step([user([{"type": "text", "text": "what is"}, {"type": "text", "text": "6*7"}])])
    assert isinstance(taken, CallTool)
    assert taken.code is not None
    assert "'6*7'" in taken.code


def test_failure_is_reported_as_one() -> None:
    result = json.dumps({"status": "Failed", "stderr": "ZeroDivisionError: division by zero"})
    text = say(after("what is 1+1", result))
    assert text.startswith("The code failed:")
    assert "ZeroDivisionError: division by zero" in text
    assert "The answer is" not in text


def test_failure_without_any_text_is_reported_too() -> None:
    assert "no reason was given" in say(after("what is 1+1", '{"status": "Failed"}'))


def test_warnings_are_no_failure() -> None:
    result = execution(stdout="4", stderr="DeprecationWarning: old")
    assert say(after("what is 2+2", result)).startswith("The answer is 4.")


@pytest.mark.parametrize(
    "result",
    [
        "4",
        "Result:\n4\nStdout:\n\nStderr:\n",
        "stdout: 4",
        '{"result": 4}',
        '{"result": "4", "stdout": ""}',
        '{"Status": "Success", "Stdout": "4\\n"}',
    ],
)
def test_results_in_other_shapes_are_understood(result: str) -> None:
    assert say(after("what is 2+2", result)).startswith("The answer is 4.")


def test_traceback_in_plain_text_is_a_failure() -> None:
    result = "Traceback (most recent call last):\n  File ...\nNameError: x"
    assert say(after("what is 2+2", result)).startswith("The code failed:")


def test_silent_success_is_told() -> None:
    assert say(after("what is 2+2", execution())).startswith("The code ran and printed nothing.")


def test_several_lines_are_quoted_in_a_block() -> None:
    text = say(after("```python\nprint(1)\n```", execution(stdout="1\n2\n")))
    assert text.startswith("The code ran and gave:\n\n```\n1\n2\n```")


def test_output_with_a_fence_of_its_own_is_quoted_whole() -> None:
    text = say(after("```python\nprint(1)\n```", execution(stdout="a\n```\nb")))
    assert "````\na\n```\nb\n````" in text


def test_very_long_output_is_cut_and_says_so() -> None:
    text = say(after("```python\nprint(1)\n```", execution(result="x" * 100_000)))
    assert len(text) < 5_000
    assert "[... 96,000 more]" in text


def test_plot_is_announced_with_the_note_about_its_image() -> None:
    result = execution(note="[image: image-1.png, 640x480, shown to the user]")
    text = say(after("plot sin(x) from 0 to 10", result))
    assert text.startswith("This is sin(x) from 0 to 10. [image: image-1.png")


def test_instruction_after_the_result_does_not_hide_it() -> None:
    messages = after("what is 2+2", execution(stdout="4"))
    no_more = {"role": "system", "content": "You cannot run more code. Answer now."}
    assert say([*messages, no_more], tools=None).startswith("The answer is 4.")


def test_results_of_several_calls_are_reported_together() -> None:
    text = say(
        after("what is 2+2", execution(stdout="4"), '{"status": "Failed", "error": "kaput"}')
    )
    assert "The code failed" in text
    assert "kaput" in text


def test_required_tool_call_is_made_even_when_there_is_nothing_to_compute() -> None:
    taken = step([user("Hello")], tool_choice="required")
    assert isinstance(taken, CallTool)
    assert taken.code is not None
    assert taken.code.startswith("print(")


def test_same_request_gets_the_same_step() -> None:
    messages = [user("solve x^2 = 4")]
    assert step(messages) == step(messages)


def picture() -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(PICTURES["image/png"])}}


def test_of_a_picture_it_tells_what_a_small_program_can() -> None:
    text = {"type": "text", "text": "What do you see?\n[image: picture-1.png, 20x10; in /mnt/data]"}
    answer = say([user([text, picture()])])
    assert answer.startswith("I was shown a PNG of 127 bytes, and cannot tell what a picture shows")
    assert WHO in answer


def test_of_a_picture_it_runs_the_code_that_the_user_wrote() -> None:
    text = {"type": "text", "text": "Open it:\n```python\nprint(1)\n```"}
    assert step([user([text, picture()])]) == CallTool(code="print(1)\n")


def test_figures_of_its_code_do_not_take_the_place_of_the_results() -> None:
    shown = [
        {"role": "assistant", "content": "(Let me look.)"},
        user([{"type": "text", "text": "The figures that your code made: image-1.png"}, picture()]),
    ]
    answer = say([*after("Plot sin(x)", '{"status": "Succeeded", "stdout": "drawn"}'), *shown])
    assert "drawn" in answer
    assert "I was shown a PNG of 127 bytes" in answer
