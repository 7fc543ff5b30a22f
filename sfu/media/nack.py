"""Which packets of a received stream to ask for again, and when. Spec: RFC 4585 section 6.2.1."""

from __future__ import annotations

RETRY_US = 80_000
"""Between requests of one packet. Round trips beyond this get a few needless answers."""
MOST_TRIES = 10
_REORDER_US = 5_000
"""A gap this young may be a reordering on the path."""
_MOST_MISSING = 512
"""More is an outage: only a keyframe helps, and asking for everything would prolong it."""
_MOST_PER_REQUEST = 128


class NackTracker:
    """Missing packets of one stream, by unwrapped sequence number."""

    __slots__ = ("_missing", "given_up")

    def __init__(self) -> None:
        self._missing: dict[int, tuple[int, int]] = {}  # number: when next, tries so far
        self.given_up = 0
        """Packets no longer asked for, cumulative."""

    def __len__(self) -> int:
        return len(self._missing)

    def gap(self, first: int, end: int, now_us: int) -> None:
        """The packets from `first` up to but not including `end` were overtaken."""
        if end - first > _MOST_MISSING:
            self.given_up += end - first + len(self._missing)
            self._missing.clear()
            return
        due = (now_us + _REORDER_US, 0)
        for number in range(first, end):
            self._missing[number] = due
        while len(self._missing) > _MOST_MISSING:
            del self._missing[next(iter(self._missing))]
            self.given_up += 1

    def arrived(self, number: int) -> None:
        """A packet came late or was retransmitted."""
        self._missing.pop(number, None)

    def due(self, now_us: int) -> list[int]:
        """The numbers to ask for now, ascending; each counts as asked for."""
        if not self._missing:
            return []
        due: list[int] = []
        hopeless: list[int] = []
        for number, (next_us, tries) in self._missing.items():
            if next_us > now_us:
                continue
            if tries >= MOST_TRIES:
                hopeless.append(number)
            elif len(due) < _MOST_PER_REQUEST:
                due.append(number)
        for number in hopeless:
            del self._missing[number]
        self.given_up += len(hopeless)
        for number in due:
            self._missing[number] = (now_us + RETRY_US, self._missing[number][1] + 1)
        return sorted(due)

    def clear(self) -> None:
        """Nothing is wanted any more."""
        self._missing.clear()
