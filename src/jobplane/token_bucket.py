"""How often something may happen: so many times a second on average, and so many at once."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Full at first; each `take` uses one token, and `per_second` come back.

    Args:
        per_second: tokens that come back each second.
        burst: the most tokens that are kept.
        clock: the time in seconds; for tests.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._filled_at = clock()

    def take(self) -> bool:
        """Use a token; False if there is none."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * self._per_second, self._burst)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def seconds_until_next(self) -> float:
        """Seconds until `take` succeeds again, as of the last call of it; 0 if it would now."""
        return max((1 - self._tokens) / self._per_second, 0.0)
