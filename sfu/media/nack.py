"""Which packets of a received stream to ask for again, and when. Spec: RFC 4585 section 6.2.1."""

from __future__ import annotations

from typing import NamedTuple

RETRY_US = 80_000
"""Between requests of one packet, until answers have shown how long the round trip is."""
MOST_TRIES = 10
_LEAST_RETRY_US, _MOST_RETRY_US = 40_000, 400_000
_MOST_AGE_US = 1_500_000
"""Later than this a picture has long been given up by whoever watches."""
_REORDER_US = 5_000
"""A gap this young may be a reordering on the path."""
_MOST_MISSING = 512
"""More is an outage: only a keyframe helps, and asking for everything would prolong it."""
_MOST_PER_REQUEST = 128


class _Missing(NamedTuple):
    due_us: int
    tries: int
    asked_us: int  # for the first time


class NackTracker:
    """Missing packets of one stream, by unwrapped sequence number."""

    __slots__ = ("_given_up", "_missing", "_round_trip_us")

    def __init__(self) -> None:
        self._missing: dict[int, _Missing] = {}
        self._round_trip_us = 0  # smoothed, 0 until known
        self._given_up = -1

    def __len__(self) -> int:
        return len(self._missing)

    @property
    def retry_us(self) -> int:
        """Between two requests of one packet: a quarter more than a round trip."""
        if not self._round_trip_us:
            return RETRY_US
        return min(_MOST_RETRY_US, max(_LEAST_RETRY_US, self._round_trip_us * 5 // 4))

    def gap(self, first: int, end: int, now_us: int) -> None:
        """The packets from `first` up to but not including `end` were overtaken."""
        if end - first > _MOST_MISSING:
            self.clear()
            self._given_up = end - 1
            return
        missing = _Missing(now_us + _REORDER_US, 0, now_us)
        for number in range(first, end):
            self._missing[number] = missing
        while len(self._missing) > _MOST_MISSING:
            self._give_up(next(iter(self._missing)))

    def arrived(self, number: int, now_us: int) -> None:
        """A packet came late or was retransmitted."""
        missing = self._missing.pop(number, None)
        if missing is None or not missing.tries:
            return
        # From the first request on: of several it is not known which was answered, and too long is safe.
        sample_us = now_us - missing.asked_us
        before_us = self._round_trip_us or sample_us
        self._round_trip_us = (before_us * 7 + sample_us) // 8

    def due(self, now_us: int) -> list[int]:
        """The numbers to ask for now, ascending; each counts as asked for."""
        if not self._missing:
            return []
        due: list[int] = []
        hopeless: list[int] = []
        for number, missing in self._missing.items():
            if missing.due_us > now_us:
                continue
            if missing.tries >= MOST_TRIES or (missing.tries and now_us - missing.asked_us > _MOST_AGE_US):
                hopeless.append(number)
            elif len(due) < _MOST_PER_REQUEST:
                due.append(number)
        for number in hopeless:
            self._give_up(number)
        again_us = now_us + self.retry_us
        for number in due:
            _, tries, asked_us = self._missing[number]
            self._missing[number] = _Missing(again_us, tries + 1, asked_us if tries else now_us)
        return sorted(due)

    def take_given_up(self) -> int:
        """The highest number given up since this was asked last, -1 where none was."""
        number, self._given_up = self._given_up, -1
        return number

    def clear(self) -> None:
        """Nothing is wanted any more."""
        self._missing.clear()
        self._given_up = -1

    def _give_up(self, number: int) -> None:
        del self._missing[number]
        self._given_up = max(self._given_up, number)
