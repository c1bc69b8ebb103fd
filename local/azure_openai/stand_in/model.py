"""Chooses the topic of a question, and words the outcome."""

import re
from collections.abc import Sequence
from typing import ClassVar, Final

from local.azure_openai.images import Image, images_of
from local.azure_openai.requests import (
    AssistantMessage,
    ChatRequest,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
    text_of,
)
from local.azure_openai.stand_in import algebra, dates, fences, plots, tables
from local.azure_openai.stand_in.outcomes import Outcome, read_outcome
from local.azure_openai.stand_in.plans import Plan, Question, Topic
from local.azure_openai.steps import CallTool, Say, Step, code_tool

# In this order: what the user wrote as code first, what is easiest to mistake last.
TOPICS: Final[Sequence[Topic]] = (
    fences.plan,
    plots.plan,
    tables.plan,
    algebra.plan,
    dates.plan,
)
_WHO: Final = "the local stand-in model, a small program and not a language model"
_ABILITIES: Final = (
    "I can tell the date and time, calculate, solve, differentiate, integrate, factor and simplify"
    " formulas, plot a function, look into an uploaded CSV file, and run Python code that you put"
    " between ``` fences."
)
_QUOTED_MAX_CHARS: Final = 4_000
_FIGURES: Final = re.compile(r"\bfigures?\b.*\bcode\b", re.IGNORECASE)
_HOW_TO_OPEN: Final = "Put Python between ``` fences to open it in /mnt/data."
_NO_TOOL: Final = (
    "Answering this takes running Python, and this request offers me no tool with a string"
    " parameter 'code' to run it with."
)
_NOTHING_TO_RUN: Final = 'print("There is nothing in the question that I can compute.")\n'


class StandInModel:
    """A deterministic program in a language model's place.

    It plans code by patterns, has the caller's tool run it, and reports what came back. It makes no
    second attempt when the code fails: it says that it failed.
    """

    name: ClassVar[str] = "local-stand-in"

    def __call__(self, request: ChatRequest) -> Step:
        """The next step in this conversation."""
        messages, figures = _apart(request.messages)
        request = request.model_copy(update={"messages": messages})
        asked_at = _last_question(request)
        plan = None if asked_at is None else _plan(request, asked_at)
        results = _last_results(request)
        images = images_of(messages)
        if results:
            answer = _report(plan, [read_outcome(text) for text in results])
            answer += f"\n\n{_what_can_be_told_of(images_of(figures))}" if figures else ""
        elif plan is None and images:
            answer = f"{_what_can_be_told_of(images)} {_HOW_TO_OPEN}"
        elif plan is None:
            answer = f"I am {_WHO}. {_ABILITIES}"
        elif code_tool(request) is not None:
            return CallTool(code=plan.code)
        else:
            answer = _NO_TOOL
        if request.must_call and code_tool(request) is not None:
            return CallTool(code=plan.code if plan and not results else _NOTHING_TO_RUN)
        return Say(_introduced(request, answer))


def _apart(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The conversation, and the figures of its code that the model is shown at its end."""
    last = messages[-1]
    if (
        isinstance(last, UserMessage)
        and images_of([last])
        and _FIGURES.search(text_of(last.content))
    ):
        for end in range(len(messages) - 1, 0, -1):
            if isinstance(messages[end - 1], ToolMessage):
                return messages[:end], messages[end:]
    return messages, ()


def _what_can_be_told_of(images: Sequence[Image]) -> str:
    listed = ", ".join(f"a {image.kind.upper()} of {image.size_bytes:,} bytes" for image in images)
    return f"I was shown {listed}, and cannot tell what a picture shows: I am {_WHO}."


def _last_question(request: ChatRequest) -> int | None:
    indexes = [i for i, message in enumerate(request.messages) if isinstance(message, UserMessage)]
    return indexes[-1] if indexes else None


def _plan(request: ChatRequest, asked_at: int) -> Plan | None:
    context = [
        text_of(message.content)
        for message in request.messages[:asked_at]
        if isinstance(message, SystemMessage | UserMessage)
    ]
    question = Question(text_of(request.messages[asked_at].content), "\n".join(context))
    for topic in TOPICS:
        plan = topic(question)
        if plan is not None:
            return plan
    return None


def _last_results(request: ChatRequest) -> list[str]:
    """The tool results that end the conversation; instructions may follow them."""
    results: list[str] = []
    for message in reversed(request.messages):
        if isinstance(message, ToolMessage):
            results.insert(0, text_of(message.content))
        elif not isinstance(message, SystemMessage):
            break
    return results


def _report(plan: Plan | None, outcomes: Sequence[Outcome]) -> str:
    failures = [outcome.error or "no reason was given" for outcome in outcomes if outcome.failed]
    if failures:
        return "The code failed:\n\n" + "\n".join(_block(failure) for failure in failures)
    output = "\n".join(outcome.output for outcome in outcomes if outcome.output)
    lead = plan.lead if plan else "The tool ran."
    if not output:
        return "The code ran and printed nothing."
    if plan and plan.is_sentence and not _is_long(output):
        return f"{lead} {output}."
    if not _is_long(output):
        return f"{lead} {output}"
    return f"{lead}\n\n{_block(output)}"


def _is_long(text: str) -> bool:
    return "\n" in text or len(text) > _QUOTED_MAX_CHARS


def _block(text: str) -> str:
    if len(text) > _QUOTED_MAX_CHARS:
        text = f"{text[:_QUOTED_MAX_CHARS]}\n[... {len(text) - _QUOTED_MAX_CHARS:,} more]"
    fence = "````" if "```" in text else "```"
    return f"{fence}\n{text}\n{fence}"


def _introduced(request: ChatRequest, answer: str) -> str:
    """The answer; the first one of a conversation says who gives it."""
    said_before = any(
        isinstance(message, AssistantMessage) and text_of(message.content).strip()
        for message in request.messages
    )
    return answer if said_before or _WHO in answer else f"{answer}\n\n(I am {_WHO}.)"
