"""Parameters of a model call besides its messages and tools."""

from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any, Final, Self

from agent.frozen import frozen


@frozen
class ModelParameters:
    """Parameters of chat completions; None is not sent, so that the model's own default holds.

    https://learn.microsoft.com/azure/ai-foundry/openai/reference#chat-completions

    Attributes:
        reasoning_effort: how long a reasoning model thinks; `none` for models that take function
            tools without reasoning only.
        temperature: 0 to 2; reasoning models take their default alone.
        top_p: 0 to 1.
        max_completion_tokens: of one call, reasoning included.
        seed: for answers that are as alike as the model can make them.
        stop: texts at which the answer ends.
    """

    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    def as_fields(self) -> dict[str, Any]:
        """Those that are set, by the name that they have on the wire."""
        return {name: value for name in NAMES if (value := getattr(self, name)) is not None}

    def without(self, names: Collection[str]) -> Self:
        """These, with none of those names set."""
        return replace(self, **{name: None for name in names if name in self.as_fields()})

    def __or__(self, other: Self) -> Self:
        """These, with what `other` sets in place of ours."""
        changes = other.as_fields()
        return type(self)(**(self.as_fields() | changes)) if changes else self


NAMES: Final = tuple(field.name for field in fields(ModelParameters))
UNSET: Final = ModelParameters()
