"""Arrivals from a publisher without transport-wide numbers: what its uplink is estimated by."""

from __future__ import annotations

from sfu.media.plane import BurstResult
from sfu.media.twcc import FEEDBACK_INTERVAL_US, grown

_SEND_TIME_BITS = 24
_SECOND_TICKS = 1 << 18
"""Spec: draft-alvestrand-rmcat-remb-03 appendix (`abs-send-time`)."""
_FORGOTTEN_US = 16_000_000
"""After this long nobody knows any more how often the send time has wrapped: it does in 64 s."""
_MOST_BURSTS = 256
"""In one report: those of 50 ms at 60 Mbit/s, each packet alone."""
_MOST_AHEAD = 3000
"""A larger jump of the sequence numbers is a source that begins anew."""


class ArrivalRecorder:
    """When packets of one transport were sent and came, bursts as one, and how many did not come.

    Times of sending are the publisher's, moved so that the first packet was sent when it came. Packets
    without one count as sent when they came: they tell how much arrives, not how late.
    """

    __slots__ = ("_base_us", "_bursts", "_last_us", "_lost", "_reported_us", "_ticks")

    def __init__(self) -> None:
        self._bursts: list[BurstResult] = []
        self._lost = 0
        self._ticks = 0
        self._base_us = 0
        self._last_us = -1
        self._reported_us = 0

    def record(self, send_time: bytes, size_bytes: int, ahead: int, arrival_us: int) -> None:
        """One packet, `ahead` of the highest sequence number of its source so far, 0 for its first one."""
        if 1 < ahead <= _MOST_AHEAD:
            self._lost += ahead - 1
        elif ahead < 0:
            self._lost -= 1
        packet = BurstResult(self._sent_us(send_time, arrival_us), arrival_us, size_bytes)
        bursts = self._bursts
        burst = grown(bursts[-1], packet) if bursts else None
        if burst is not None:
            bursts[-1] = burst
        elif len(bursts) < _MOST_BURSTS:
            bursts.append(packet)

    def take(self, now_us: int) -> tuple[tuple[BurstResult, ...], int] | None:
        """What came since the last time, and how many were lost; None where nothing is due."""
        if not self._bursts or now_us - self._reported_us < FEEDBACK_INTERVAL_US:
            return None
        taken = tuple(self._bursts), max(self._lost, 0)
        self._bursts.clear()
        # What comes late makes good what it was called lost for, in this report or the next.
        self._lost = min(self._lost, 0)
        self._reported_us = now_us
        return taken

    def _sent_us(self, send_time: bytes, arrival_us: int) -> int:
        if len(send_time) != _SEND_TIME_BITS // 8:
            return arrival_us
        ticks = int.from_bytes(send_time, "big")
        if self._last_us < 0 or arrival_us - self._last_us > _FORGOTTEN_US:
            self._ticks, self._base_us = ticks, arrival_us - ticks * 1_000_000 // _SECOND_TICKS
        else:
            half = 1 << _SEND_TIME_BITS - 1
            self._ticks += ((ticks - self._ticks + half) & (2 * half - 1)) - half
        self._last_us = arrival_us
        return self._base_us + self._ticks * 1_000_000 // _SECOND_TICKS
