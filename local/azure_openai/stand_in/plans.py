"""The stand-in's plan for a question: code to run, and the words for its outcome."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """The question that a topic reads.

    Attributes:
        text: the last user message.
        context: system messages and earlier user messages; they may name uploaded files.
    """

    text: str
    context: str


@dataclass(frozen=True)
class Plan:
    """Python for the tool, and the words around what it returns.

    Attributes:
        code: complete; user text is in it only as string literals, except code the user wrote.
        lead: precedes the output, for example "The answer is".
        is_sentence: whether lead and a one-line output make one sentence.
    """

    code: str
    lead: str
    is_sentence: bool = False


# A topic plans what it understands, and leaves the rest to others.
Topic = Callable[[Question], Plan | None]
