"""Work that repeats, and leaves others as much time as it takes."""

from __future__ import annotations


class HalfTime:
    """Tells when work may be done again: after a rest as long as it took. Times are of one clock."""

    def __init__(self) -> None:
        self._rests_until_s = 0.0

    def may_work(self, now_s: float) -> bool:
        return now_s >= self._rests_until_s

    def worked(self, began_s: float, ended_s: float) -> None:
        self._rests_until_s = ended_s + (ended_s - began_s)
