"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential back-off with full jitter above half of the delay.

    The n-th delay lies between half and all of `first_s * factor ** n`, at most `longest_s`. The jitter
    keeps a thousand cameras from returning to a restarted server in the same instant; the lower half
    keeps one camera from hammering it.
    """

    first_s: float = 0.25
    longest_s: float = 15.0
    factor: float = 2.0
    rng: random.Random = field(default_factory=random.Random)
    _next_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._next_s = self.first_s

    def delay_s(self) -> float:
        """The next delay in seconds; each call lengthens the following one."""
        full = self._next_s
        self._next_s = min(full * self.factor, self.longest_s)
        return full * (0.5 + self.rng.random() / 2)

    def reset(self) -> None:
        """Start over, after something has worked."""
        self._next_s = self.first_s
