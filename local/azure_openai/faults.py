"""Failures on demand: faults that a test injects into the next requests."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from local.azure_openai.content_filter import PROMPT_FILTERED
from local.azure_openai.errors import (
    AzureOpenAIError,
    PromptFilteredError,
    ServiceError,
    ThrottledError,
    UnauthorizedError,
)

_CHAT_ACTION: Final = (
    "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action"
)


@dataclass(frozen=True)
class Throttled:
    """429 with Retry-After."""

    retry_after_s: float = 1


@dataclass(frozen=True)
class Failed:
    """500, or another status such as 503."""

    status: int = 500


@dataclass(frozen=True)
class RoleMissing:
    """401 PermissionDenied: the identity has no role on the account."""


@dataclass(frozen=True)
class PromptFiltered:
    """400 content_filter: the filter refuses the prompt."""


@dataclass(frozen=True)
class AnswerFiltered:
    """The answer ends in the middle, with finish_reason content_filter."""


@dataclass(frozen=True)
class Slow:
    """The answer begins late, or comes slowly."""

    before_answer_s: float = 0
    between_chunks_s: float = 0


@dataclass(frozen=True)
class Cut:
    """The connection closes in the middle of the answer, after so many chunks."""

    after_chunks: int = 3


Fault = Throttled | Failed | RoleMissing | PromptFiltered | AnswerFiltered | Slow | Cut


def refusal(fault: Fault, object_id: str) -> AzureOpenAIError | None:
    """The fault's error for the caller; None if it lets the request through."""
    match fault:
        case Throttled(retry_after_s=retry_after_s):
            return ThrottledError(retry_after_s)
        case Failed(status=status):
            message = "The server had an error processing your request."
            return ServiceError(status, str(status), message)
        case PromptFiltered():
            return PromptFilteredError(PROMPT_FILTERED)
        case RoleMissing():
            return UnauthorizedError(
                "PermissionDenied",
                f"The principal `{object_id}` lacks the required data action `{_CHAT_ACTION}` to"
                " perform `POST /openai/deployments/{deployment-id}/chat/completions` operation.",
                "a role assignment is missing",
            )
        case AnswerFiltered() | Slow() | Cut():
            return None


@dataclass
class _Injection:
    faults: tuple[Fault, ...]
    remaining: int | None


class Faults:
    """The failures that wait for requests, first in first out."""

    def __init__(self) -> None:
        self._injections: deque[_Injection] = deque()

    def inject(self, *faults: Fault, times: int | None = 1) -> None:
        """Let these befall the next requests together.

        Args:
            faults: such as `Slow(...)` with `Cut(...)`. A relayed answer comes as its server sends
                it: of these faults it knows only those that refuse the request.
            times: how many requests; None until `clear`.
        """
        self._injections.append(_Injection(faults, times))

    def clear(self) -> None:
        """Let everything be fine from now on."""
        self._injections.clear()

    def take(self) -> tuple[Fault, ...]:
        """The faults of the next request; the service calls this once for each."""
        if not self._injections:
            return ()
        injection = self._injections[0]
        if injection.remaining is not None:
            injection.remaining -= 1
            if injection.remaining <= 0:
                self._injections.popleft()
        return injection.faults
