"""The time that cooldowns are measured by; tests move it."""

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time plus what `advance` added."""

    def __init__(self) -> None:
        self._started_at = datetime.now(UTC)
        self._started_s = time.monotonic()
        self._added_s = 0.0

    def now(self) -> datetime:
        """Return the time of day; it never goes back."""
        elapsed_s = time.monotonic() - self._started_s + self._added_s
        return self._started_at + timedelta(seconds=elapsed_s)

    def advance(self, seconds: float) -> None:
        """Move on at once."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._added_s += seconds
