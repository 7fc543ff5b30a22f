"""Sequence arithmetic: unwrapping counters, and carrying numbers over from one space to another."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

_RANGES = 256
"""Gaps made on purpose that are remembered, for late packets and for NACKs: about ten seconds of frames
dropped from a 30 Hz stream."""
_LONGEST_GAP = 3000
"""A longer one is a source that started its numbers anew, not loss. Spec: RFC 3550 appendix A.1."""


def difference(later: int, earlier: int, bits: int = 16) -> int:
    """Signed distance between two counters of that width: the shorter way round."""
    half = 1 << bits - 1
    return (later - earlier + half & (1 << bits) - 1) - half


def unwrap(value: int, reference: int, bits: int = 16) -> int:
    """The number nearest to `reference` whose low bits are `value`. It may be negative."""
    return reference + difference(value, reference, bits)


class PictureNumbers:
    """Unwraps the picture ids of one stream into numbers that grow with its sequence numbers.

    Senders' ids are not monotonic: they widen from 7 to 15 bits (Pion), and start anew where an encoder is
    replaced. A picture that does not follow the newest one gets the number after it.
    """

    __slots__ = ("_bits", "_first_seq", "_former", "_id", "_newest", "_start_ts", "_timestamp")

    def __init__(self) -> None:
        self._id = self._bits = 0
        self._newest = -1
        self._timestamp = -1
        self._first_seq = -1
        self._start_ts = -1
        """Sequence number and timestamp of the packet since which ids have been continuous."""
        self._former: tuple[int, int, int] | None = None
        """Number, id and bits of the newest picture before that."""

    def number(self, picture_id: int, bits: int, ext_seq: int, timestamp: int, *, newest: bool) -> int:
        """The number of a packet's picture. `newest` says that no higher `ext_seq` has come."""
        if self._newest < 0:
            # Low bits stay as they are, and what is older stays positive.
            self._newest = picture_id + 0x8000
            self._first_seq, self._start_ts = ext_seq, timestamp
        elif not newest:
            last = (self._newest, self._id, self._bits)
            if self._former is not None and ext_seq < self._first_seq and timestamp != self._start_ts:
                last = self._former
            return last[0] + _behind(picture_id, last[1], min(bits, last[2]))
        else:
            step = difference(picture_id, self._id, min(bits, self._bits))
            if not 0 <= step <= _LONGEST_GAP or (step == 0 and timestamp != self._timestamp):
                self._former = (self._newest, self._id, self._bits)
                self._first_seq, self._start_ts = ext_seq, timestamp
                step = 1
            self._newest += step
        self._id, self._bits, self._timestamp = picture_id, bits, timestamp
        return self._newest


def _behind(picture_id: int, newest_id: int, bits: int) -> int:
    """The distance of a late picture, at most 0."""
    return -((newest_id - picture_id) & ((1 << bits) - 1))


def _first_out(span: tuple[int, int, int]) -> int:
    return span[0] + span[2]


class SequenceMap:
    """Carries unwrapped numbers of a source over to a continuous outgoing space.

    Numbers lost on the way in stay gaps, so that they can be filled later; numbers dropped on purpose close
    up. No outgoing number is given to two source numbers, and the same source number always gets the same.
    """

    __slots__ = ("_first", "_history", "_offset", "_start", "highest")

    def __init__(self, first: int, first_out: int) -> None:
        """The source number `first` becomes `first_out`; earlier ones are of no interest."""
        self._first = first
        self._start = first
        self._offset = first_out - first
        self._history: deque[tuple[int, int, int]] = deque(maxlen=_RANGES)
        self.highest = first - 1
        """The highest source number mapped or dropped so far."""

    @property
    def highest_out(self) -> int:
        """The highest outgoing number given so far; one below the first while none was."""
        return self.highest + self._offset

    @property
    def first_out(self) -> int:
        """The lowest outgoing number still known."""
        start, _, offset = self._history[0] if self._history else (self._start, 0, self._offset)
        return start + offset

    def map(self, number: int) -> int | None:
        """The outgoing number; None for what was dropped, lies before the first, or is too old to tell."""
        if number > self.highest:
            if number - self.highest > _LONGEST_GAP and self.highest >= self._first:
                out = self.highest + self._offset + 1
                self._begin(number, self.highest, out - number)
            self.highest = number
            return number + self._offset
        if number >= self._start:
            return number + self._offset
        for start, end, offset in reversed(self._history):
            if number > end:
                return None
            if number >= start:
                return number + offset
        return None

    def drop(self, number: int) -> bool:
        """Leave a source number out. False where it is too late, because higher ones have been given."""
        if number <= self.highest:
            return False
        if number - self.highest > _LONGEST_GAP and self.highest >= self._first:
            self._begin(number + 1, self.highest, self.highest + self._offset - number)
        else:
            self._begin(number + 1, number - 1, self._offset - 1)
        self.highest = number
        return True

    def source_of(self, out: int) -> int | None:
        """The source number that was carried over to `out`, None where there was none or it is too old."""
        number = out - self._offset
        if number >= self._start:
            return number if number <= self.highest else None
        # A list of NACKs asks for many, and old ones: none may cost a look at every range.
        place = bisect_right(self._history, out, key=_first_out)
        if not place:
            return None
        _, end, offset = self._history[place - 1]
        return out - offset if out - offset <= end else None

    def _begin(self, start: int, end: int, offset: int) -> None:
        if end >= self._start:
            self._history.append((self._start, end, self._offset))
        self._start = start
        self._offset = offset
