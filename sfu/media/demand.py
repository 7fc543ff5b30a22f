"""Which encodings of a publication somebody needs, so that its publisher may leave out the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHRINK_US = 2_000_000
"""Need that is gone for this long is gone: a look away and back, or a new layout, costs no keyframe."""
START_US = 5_000_000
"""A new publication is left alone for this long: its sizes become known, and its viewers are still coming."""


@dataclass(frozen=True, slots=True)
class KnownEncoding:
    """An encoding that a publication has or may have, with its picture size in pixels (0: never seen)."""

    rid: str
    width: int
    height: int


def needed(encodings: Sequence[KnownEncoding], sizes: Iterable[tuple[int, int]]) -> frozenset[str]:
    """The rids of what viewers with pictures of these `sizes` (width, height; 0, 0: any) need.

    A viewer needs every encoding of the smallest size that covers its picture, and every smaller one, to fall
    back on when its network narrows. What was never seen may be what it needs. Empty without viewers.
    """
    rids: set[str] = set()
    by_area = sorted((each for each in encodings if each.width), key=lambda each: each.width * each.height)
    unseen = [each.rid for each in encodings if not each.width]
    for width, height in set(sizes):
        rids.update(unseen)
        covered = 0
        for each in by_area:
            if covered and each.width * each.height > covered:
                break
            rids.add(each.rid)
            if (width or height) and each.width >= width and each.height >= height:
                covered = each.width * each.height
    return frozenset(rids)


class Demand:
    """The encodings that a publisher is asked to send: more at once, fewer after a while without need."""

    def __init__(self, rids: Iterable[str]) -> None:
        """`rids` are those the publisher begins with, every one of them sent."""
        self.rids = tuple(rids)
        self.wanted = frozenset(self.rids)
        self._needed_us: dict[str, int] = {}

    def update(self, need: frozenset[str], now_us: int) -> bool:
        """Take in what is needed now; whether `wanted` has changed. Call at least once a second."""
        for rid in self.rids:
            if rid in need:
                self._needed_us[rid] = now_us
            else:
                # As if a new publication had been needed until it no longer is left alone.
                self._needed_us.setdefault(rid, now_us + START_US - SHRINK_US)
        wanted = frozenset(rid for rid in self.rids if now_us - self._needed_us[rid] < SHRINK_US)
        if wanted == self.wanted:
            return False
        self.wanted = wanted
        return True
