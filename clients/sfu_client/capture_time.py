"""When media was captured: sender reports tell it, so that sound and picture stay together at the viewers."""

from __future__ import annotations

from aiortc import MediaStreamTrack

BUCKET_S = 2.0
"""Lateness is filtered over one to two of these: longer than a busy process pauses, and short enough to
follow a track whose timestamps left out a gap."""


class CapturedTrack(MediaStreamTrack):
    """A track that knows when it was captured what `recv` gave last."""

    captured_ntp = 0
    """NTP, 32.32 bits; 0 before the first."""


class CaptureClock:
    """The capture time of each frame of a track, from its timestamps and the times it was read at.

    Timestamps are regular, but begin anywhere; times of reading are true, but late by whatever the process
    was busy with. The frame that was least late tells how the two belong together.
    """

    def __init__(self) -> None:
        self._least_s = self._least_before_s = float("inf")
        self._turns_s = -float("inf")

    def at(self, pts_s: float, read_s: float) -> float:
        """When the frame with this timestamp, read at `read_s`, was captured; on the clock of `read_s`."""
        if read_s >= self._turns_s:
            self._turns_s = read_s + BUCKET_S
            self._least_before_s, self._least_s = self._least_s, float("inf")
        self._least_s = min(self._least_s, read_s - pts_s)
        return pts_s + min(self._least_s, self._least_before_s)


def ntp(seconds: float) -> int:
    """Seconds since 1900 as 32.32 bits. Spec: RFC 5905 section 6."""
    return int(seconds * (1 << 32)) & 0xFFFFFFFFFFFFFFFF
