"""A limit to the keyframes that one subscriber can make everybody pay for."""

from __future__ import annotations

_INTERVAL_US = 4_000_000
"""Time for one request. A decoder that needs keyframes more often for long will not get well by them."""
_BURST = 4
"""Requests at once: of a bad moment on the network."""
_ANSWER_US = 1_000_000
"""Requests within this are one, as long as no keyframe has come: decoders repeat theirs."""


class PliThrottle:
    """Keyframe requests (PLI, FIR) of one subscription: some at once, then one in a while.

    One that comes too soon waits its turn, unless a keyframe comes first. Requests of several subscribers are
    merged by `KeyframeThrottle`.
    """

    __slots__ = ("_asked_us", "_free_us", "_waits_us")

    def __init__(self) -> None:
        self._free_us = 0
        self._asked_us = -1
        self._waits_us = -1

    def request(self, keyframe_us: int, now_us: int) -> bool:
        """Whether to serve a request now. `keyframe_us` is when the newest keyframe began to arrive."""
        asked_us = self._asked_us
        if asked_us >= 0 and keyframe_us <= asked_us and now_us - asked_us < _ANSWER_US:
            return True
        if self._spend(now_us):
            return True
        if self._waits_us < 0:
            self._waits_us = now_us
        return False

    def due(self, keyframe_us: int, now_us: int) -> bool:
        """Whether a request that had to wait is to be served now."""
        if self._waits_us < 0:
            return False
        if keyframe_us > self._waits_us:
            self._waits_us = -1
            return False
        return self._spend(now_us)

    def _spend(self, now_us: int) -> bool:
        free_us = max(self._free_us, now_us)
        if free_us - now_us > (_BURST - 1) * _INTERVAL_US:
            return False
        self._free_us = free_us + _INTERVAL_US
        self._asked_us = now_us
        self._waits_us = -1
        return True
