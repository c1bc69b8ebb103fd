"""Token counts: an estimate, four characters to a token, as no tokenizer is at hand.

A message costs three tokens more than its text, a tool as many as its JSON; Azure's own counts for
English text lie within about a third of this.
"""

from dataclasses import dataclass
from typing import Any, Final

from local.azure_openai.images import image_tokens
from local.azure_openai.requests import AssistantMessage, ChatRequest, text_of
from local.azure_openai.steps import Reply

CHARS_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 3


@dataclass(frozen=True)
class Usage:
    """Tokens of the request and of the answer."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens

    def as_wire(self) -> dict[str, Any]:
        """The `usage` object of a completion."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0,
                "audio_tokens": 0,
                "reasoning_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def prompt_tokens(request: ChatRequest) -> int:
    """The tokens of the request, tools included."""
    tokens = _TOKENS_PER_MESSAGE  # the answer is primed with a role
    tokens += image_tokens(request)
    for message in request.messages:
        tokens += _TOKENS_PER_MESSAGE + estimate(text_of(message.content))
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls or []:
                tokens += estimate(call.function.name) + estimate(call.function.arguments)
    for tool in request.tools or []:
        tokens += estimate(tool.model_dump_json(exclude_none=True))
    return tokens


def completion_tokens(reply: Reply) -> int:
    """The tokens of the answer."""
    tokens = estimate(reply.text)
    for call in reply.tool_calls:
        tokens += _TOKENS_PER_MESSAGE + estimate(call.name) + estimate(call.arguments)
    return tokens


def estimate(text: str) -> int:
    """Tokens of a text, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)
