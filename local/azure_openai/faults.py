"""Failures on demand: what the service can be told to do to the next requests."""

from collections import deque
from dataclasses import dataclass


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


@dataclass
class _Injection:
    faults: tuple[Fault, ...]
    left: int | None


class Faults:
    """The failures that wait for requests, first in first out."""

    def __init__(self) -> None:
        self._waiting: deque[_Injection] = deque()

    def inject(self, *faults: Fault, times: int | None = 1) -> None:
        """Let these befall the next requests together.

        Args:
            faults: such as `Slow(...)` with `Cut(...)`.
            times: how many requests; None until `clear`.
        """
        self._waiting.append(_Injection(faults, times))

    def clear(self) -> None:
        """Let everything be fine from now on."""
        self._waiting.clear()

    def take(self) -> tuple[Fault, ...]:
        """What befalls the request that asks; the service calls this once for each."""
        if not self._waiting:
            return ()
        injection = self._waiting[0]
        if injection.left is not None:
            injection.left -= 1
            if injection.left <= 0:
                self._waiting.popleft()
        return injection.faults
