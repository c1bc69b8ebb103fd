"""Shared by tests: a model that follows a test's script, and a way to collect a turn."""

from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import contextmanager

from agent.events import (
    Event,
    Execution,
    ExecutionFinished,
    TextDelta,
    TurnFailed,
    TurnFinished,
)
from local.azure_openai import ChatRequest, Model, ScriptedModel, StandInModel, Step


class SwitchableModel:
    """The model of a stack that many tests share; each says what it does while it runs."""

    def __init__(self) -> None:
        self._model: Model = StandInModel()

    def __call__(self, request: ChatRequest) -> Step:
        return self._model(request)

    @contextmanager
    def script(self, *steps: Step) -> Iterator[ScriptedModel]:
        """Follow a script in this block; unused steps and unexpected calls fail the test."""
        with self.using(ScriptedModel(steps)) as scripted, scripted:
            yield scripted

    @contextmanager
    def using[M: Model](self, model: M) -> Iterator[M]:
        """Let `model` answer in this block."""
        before, self._model = self._model, model
        try:
            yield model
        finally:
            self._model = before


class CollectedTurn:
    """All events of a turn, and the ones that tests ask about."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events

    @property
    def finished(self) -> TurnFinished:
        """The last event of a turn that has an answer."""
        last = self.events[-1]
        assert isinstance(last, TurnFinished), last
        return last

    @property
    def error_code(self) -> str:
        """The code of the error that ended the turn."""
        last = self.events[-1]
        assert isinstance(last, TurnFailed), last
        return last.error.code

    @property
    def executions(self) -> list[Execution]:
        """The executions of the turn, in order."""
        return [e.execution for e in self.events if isinstance(e, ExecutionFinished)]

    @property
    def texts(self) -> list[str]:
        """What the model said, message by message."""
        texts: dict[str, str] = {}
        for event in self.events:
            if isinstance(event, TextDelta):
                texts[event.message_id] = texts.get(event.message_id, "") + event.text
        return list(texts.values())


async def collect(events: AsyncIterable[Event]) -> CollectedTurn:
    """Run a turn to its end."""
    return CollectedTurn([event async for event in events])


def tool_results(request: ChatRequest) -> list[str]:
    """The tool results that the model read, in order."""
    return [str(m.content) for m in request.messages if m.role == "tool"]
