"""What the model reads again, for many random conversations and every budget."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.conversations.history import SHORT_OUTPUT_CHARS, trim_history
from agent.conversations.records import Turn
from agent.messages import Message, ToolCall
from agent.text import shortened
from tests.agent.conversations.samples import turn

SEEDS = range(60)


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - of a seed, so that a failure comes again: no generator of secrets takes one


def random_turn(chance: random.Random, number: int) -> Turn:
    """A turn of some rounds of tool calls, marked with its number."""
    messages = [Message("user", f"{number}:" + "q" * chance.choice([1, 50, 2000]))]
    for round_ in range(chance.randrange(4)):
        ids = [f"{number}-{round_}-{call}" for call in range(chance.randrange(1, 4))]
        arguments = "c" * chance.choice([2, 300])
        calls = tuple(ToolCall(id_, "python-execute_python", arguments) for id_ in ids)
        messages.append(Message("assistant", "Let me see.", calls))
        chance.shuffle(ids)
        outputs = ["o" * chance.choice([0, 100, 700, 20_000]) for _ in ids]
        messages += [
            Message("tool", text, tool_call_id=id_) for id_, text in zip(ids, outputs, strict=True)
        ]
    messages.append(Message("assistant", f"{number}:" + "a" * chance.choice([1, 500])))
    return replace(turn(), messages=tuple(messages))


def random_turns(chance: random.Random) -> list[Turn]:
    return [random_turn(chance, number) for number in range(chance.randrange(1, 12))]


def size(messages: Sequence[Message]) -> int:
    return sum(
        len(message.text) + sum(len(call.name + call.arguments) for call in message.tool_calls)
        for message in messages
    )


def bare(message: Message) -> Message:
    """A message without what may be shortened."""
    return replace(message, text="") if message.role == "tool" else message


def kept_turns(turns: Sequence[Turn], messages: Sequence[Message]) -> list[Turn]:
    """The turns that messages are of: a tail of the conversation, each whole and in order."""
    for first in range(len(turns)):
        tail = [message for turn in turns[first:] for message in turn.messages]
        if [bare(message) for message in tail] == [bare(message) for message in messages]:
            return list(turns[first:])
    raise AssertionError("not whole turns of the conversation's end")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_newest_turns_are_kept_whole_and_fit(seed: int) -> None:
    chance = chance_of(seed)
    turns = random_turns(chance)
    everything = [message for turn in turns for message in turn.messages]
    for max_chars in (0, 500, size(everything) // 2, size(everything) - 1):
        messages = trim_history(turns, max_chars)
        kept = kept_turns(turns, messages)
        assert kept[-1] == turns[-1]
        assert size(messages) <= max_chars or len(kept) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_what_fits_is_not_touched(seed: int) -> None:
    turns = random_turns(chance_of(seed))
    everything = [message for turn in turns for message in turn.messages]
    assert trim_history(turns, size(everything)) == everything


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_of_all_old_turns_are_short_before_one_turn_is_left_out(seed: int) -> None:
    chance = chance_of(seed)
    turns = random_turns(chance)
    messages = trim_history(turns, chance.randrange(1, 40_000))
    kept = kept_turns(turns, messages)
    if len(kept) < len(turns):
        old = messages[: -len(turns[-1].messages)]
        assert all(len(m.text) <= SHORT_OUTPUT_CHARS for m in old if m.role == "tool")


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_are_shortened_from_the_oldest_turn_on(seed: int) -> None:
    chance = chance_of(seed)
    turns = random_turns(chance)
    messages = trim_history(turns, chance.randrange(1, 100_000))
    kept = kept_turns(turns, messages)
    rest = iter(messages)
    touched = []
    for turn_ in kept:
        read = tuple(next(rest) for _ in turn_.messages)
        if any(m.role == "tool" and len(m.text) > SHORT_OUTPUT_CHARS for m in turn_.messages):
            touched.append(read != turn_.messages)
    assert touched == sorted(touched, reverse=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_larger_budget_never_keeps_fewer_turns(seed: int) -> None:
    turns = random_turns(chance_of(seed))
    kept = [
        len(kept_turns(turns, trim_history(turns, max_chars)))
        for max_chars in range(0, 60_000, 3000)
    ]
    assert kept == sorted(kept)


def test_a_newest_turn_that_is_too_long_has_its_outputs_shortened_and_nothing_else() -> None:
    asked = turn("q" * 1000)
    output = replace(asked.messages[2], text="o" * 50_000)
    asked = replace(asked, messages=(*asked.messages[:2], output, asked.messages[3]))
    messages = trim_history([turn(), asked], 100)
    assert [bare(m) for m in messages] == [bare(m) for m in asked.messages]
    assert len(messages[2].text) <= SHORT_OUTPUT_CHARS
    assert messages[0].text == "q" * 1000


def test_no_turns_are_no_messages() -> None:
    assert trim_history([], 100) == []


def test_a_shortened_text_shows_both_ends_and_counts_the_rest() -> None:
    text = "".join(f"line {number}\n" for number in range(10_000))
    short = shortened(text, 600)
    assert len(short) <= 600
    assert short.startswith("line 0\n")
    assert short.endswith("line 9999\n")
    head, _, rest = short.partition("\n[... ")
    missing, _, tail = rest.partition(" characters left out ...]\n")
    assert len(head) + len(tail) + int(missing.replace(",", "")) == len(text)


@pytest.mark.parametrize("max_chars", [100, 101, 5000])
def test_a_text_within_the_limit_is_not_shortened(max_chars: int) -> None:
    assert shortened("x" * max_chars, max_chars) == "x" * max_chars
    assert len(shortened("x" * (max_chars + 1), max_chars)) <= max_chars
