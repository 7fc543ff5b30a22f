"""A token bucket: what one stranger may use, sustained and at once."""

from __future__ import annotations


class TokenBucket:
    """Holds at most `burst` tokens and gains `per_s` each second; it starts full."""

    def __init__(self, per_s: float, burst: float, now_us: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_us = now_us

    def take(self, amount: float, now_us: int) -> bool:
        """Whether `amount` tokens were there; they are gone then, else nothing is."""
        self._tokens = min(self._burst, self._tokens + (now_us - self._at_us) * self._per_s / 1_000_000)
        self._at_us = now_us
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def spend(self, amount: float, now_us: int) -> None:
        """Take tokens whether they are there or not. What is owed, at most the burst, comes back first."""
        self.take(0, now_us)
        self._tokens = max(self._tokens - amount, -self._burst)

    def wait_us(self, amount: float, now_us: int) -> float:
        """How long until `amount`, at most the burst, are there."""
        self.take(0, now_us)
        return max(0.0, amount - self._tokens) * 1_000_000 / self._per_s
