"""Learning from climbs that failed: whoever fell back from a larger picture at once waits with the next."""

from __future__ import annotations

from sfu.media.plane import Layer

FAILED_WITHIN_US = 15_000_000
"""A fall this soon after a climb says that the climb was a mistake; later, that the path has changed."""
FIRST_WAIT_US = 4_000_000
LONGEST_WAIT_US = 60_000_000


class Restraint:
    """How wary one subscription is of climbing, and to which size."""

    __slots__ = ("_climbed_us", "_failed", "_until_us", "_wait_us")

    def __init__(self) -> None:
        self._climbed_us: int | None = None
        self._failed = 0
        self._until_us = 0
        self._wait_us = FIRST_WAIT_US

    def moved(self, before: Layer | None, after: Layer | None, now_us: int) -> None:
        """Note what the network made of the layer. Only sizes and pauses count: frame rates go unseen."""
        old, new = -1 if before is None else before.spatial, -1 if after is None else after.spatial
        if new > old:
            self._climbed_us = now_us
        elif new < old and self._climbed_us is not None:
            if now_us - self._climbed_us < FAILED_WITHIN_US:
                self._failed = old
                self._until_us = now_us + self._wait_us
                self._wait_us = min(2 * self._wait_us, LONGEST_WAIT_US)
            else:
                self._wait_us = FIRST_WAIT_US
            self._climbed_us = None

    def wary_of(self, now_us: int) -> int | None:
        """The spatial layer that is not to be tried again without plenty of room; None if all may be."""
        return self._failed if now_us < self._until_us else None
