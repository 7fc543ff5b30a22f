"""The acknowledged bitrate: how fast packets really got through."""

from __future__ import annotations

from collections import deque
from operator import itemgetter

WINDOW_US = 1_000_000
"""Longest stretch of arrivals looked at: a rate older than this says nothing about now."""
SHORT_WINDOW_US = 300_000
"""Shortest stretch, used when it holds enough packets. It spans several frames of any usual frame rate,
and is short enough for a capacity drop to be measured well inside the second a viewer forgives."""
ENOUGH_PACKETS = 20
LEAST_PACKETS = 5
LEAST_SPAN_US = 100_000
PEAK_SPAN_US = 100_000
PEAK_PACKETS = 8
"""Of the latest arrivals whose rate is the capacity while a queue stands: three frames at 30 Hz."""
RESET_BACK_US = 1_000_000
"""The receiver's clock going back further than this is a new clock."""

_SENT = itemgetter(1)
"""Of a burst of the window."""


class AckedBitrate:
    """Rate over a sliding window of acknowledged packets: the lower of how they were sent and arrived.

    Taking the lower one discounts packets that a link held back and then released all at once, and it
    means that a receiver which lies about arrival times cannot claim more than it was sent.
    """

    def __init__(self) -> None:
        # Of each burst when it had arrived, when it began to be sent, its bytes, its packets.
        self._bursts: deque[tuple[int, int, int, int]] = deque()
        self._total_bytes = 0
        self._packets = 0
        self._known = False
        self._bitrate_bps: int | None = None

    def add(self, sent_us: int, arrival_us: int, size_bytes: int, packets: int = 1) -> None:
        """Account a burst by when it began to be sent and when the last of its packets arrived.

        Late (reordered) arrivals are put in their place.
        """
        bursts = self._bursts
        self._known = False
        if bursts and arrival_us < bursts[-1][0] - RESET_BACK_US:
            bursts.clear()
            self._total_bytes = self._packets = 0
        self._total_bytes += size_bytes
        self._packets += packets
        entry = (arrival_us, sent_us, size_bytes, packets)
        if not bursts or arrival_us >= bursts[-1][0]:
            bursts.append(entry)
        else:
            index = len(bursts)
            while index and bursts[index - 1][0] > arrival_us:
                index -= 1
            bursts.insert(index, entry)
        newest = bursts[-1][0]
        while newest - bursts[0][0] > WINDOW_US or (
            self._packets - bursts[0][3] >= ENOUGH_PACKETS and newest - bursts[1][0] >= SHORT_WINDOW_US
        ):
            _, _, gone_bytes, gone_packets = bursts.popleft()
            self._total_bytes -= gone_bytes
            self._packets -= gone_packets

    def restart(self, since_us: int) -> None:
        """Forget what was sent before `since_us`: a probe has just shown that the past was too slow."""
        self._bursts = deque(burst for burst in self._bursts if burst[1] >= since_us)
        self._total_bytes = sum(burst[2] for burst in self._bursts)
        self._packets = sum(burst[3] for burst in self._bursts)
        self._known = False

    def bitrate_bps(self) -> int | None:
        """Bits per second, or None while too little has been acknowledged to say."""
        # It is asked several times between two reports.
        if not self._known:
            self._known = True
            self._bitrate_bps = self._lower_bps()
        return self._bitrate_bps

    def _lower_bps(self) -> int | None:
        received = self.received_bps()
        if received is None:
            return None
        first = min(self._bursts, key=_SENT)
        last = max(self._bursts, key=_SENT)
        span = last[1] - first[1]
        if span <= 0:
            return received
        return min(received, (self._total_bytes - last[2]) * 8_000_000 // span)

    def received_bps(self) -> int | None:
        """The same by arrival alone."""
        bursts = self._bursts
        if self._packets < LEAST_PACKETS:
            return None
        span = bursts[-1][0] - bursts[0][0]
        if span < LEAST_SPAN_US:
            return None
        return (self._total_bytes - bursts[0][2]) * 8_000_000 // span

    def capacity_bps(self) -> int | None:
        """What the path carries, asked while a queue is standing: the latest arrivals came at its pace.

        A keyframe after a time of sending little makes a queue too; the average over the whole window
        would then say what was sent before it.
        """
        received_bps = self.received_bps()
        if received_bps is None:
            return None
        newest_us = self._bursts[-1][0]
        size = count = 0
        for arrival_us, _, burst_bytes, packets in reversed(self._bursts):
            span = newest_us - arrival_us
            if count >= PEAK_PACKETS and span >= PEAK_SPAN_US:
                return max(received_bps, size * 8_000_000 // span)
            size += burst_bytes
            count += packets
        return received_bps

    def mean_packet_bytes(self) -> float:
        """Mean size of the packets in the window; 1200 while there are none."""
        return self._total_bytes / self._packets if self._packets else 1200.0
