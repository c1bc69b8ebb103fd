"""The deployment's rate limits, counted by the minute as Azure does."""

import time
from dataclasses import dataclass

from local.azure_openai.errors import ThrottledError

_WINDOW_S = 60


@dataclass(frozen=True)
class RateLimits:
    """The rate limits of a deployment; the defaults are out of a laptop's reach."""

    requests_per_minute: int = 1_000_000
    tokens_per_minute: int = 1_000_000_000


class RateCounter:
    """Requests and tokens of the current minute."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._window_ends = 0.0
        self._requests = 0
        self._tokens = 0

    def admit(self, prompt_tokens: int) -> None:
        """Count a request in.

        Raises:
            ThrottledError: the minute is used up; nothing is counted.
        """
        now = time.monotonic()
        if now >= self._window_ends:
            self._window_ends = now + _WINDOW_S
            self._requests = self._tokens = 0
        if (
            self._requests + 1 > self._limits.requests_per_minute
            or self._tokens + prompt_tokens > self._limits.tokens_per_minute
        ):
            raise ThrottledError(max(1, round(self._window_ends - now)))
        self._requests += 1
        self._tokens += prompt_tokens

    def headers(self) -> dict[str, str]:
        """The rest of the minute's limits."""
        limits = self._limits
        return {
            "x-ratelimit-limit-requests": str(limits.requests_per_minute),
            "x-ratelimit-limit-tokens": str(limits.tokens_per_minute),
            "x-ratelimit-remaining-requests": str(limits.requests_per_minute - self._requests),
            "x-ratelimit-remaining-tokens": str(limits.tokens_per_minute - self._tokens),
        }
