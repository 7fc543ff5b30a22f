"""The acknowledged bitrate: how fast packets really got through."""

from __future__ import annotations

from collections import deque

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


class AckedBitrate:
    """Rate over a sliding window of acknowledged packets: the lower of how they were sent and arrived.

    Taking the lower one discounts packets that a link held back and then released all at once, and it
    means that a receiver which lies about arrival times cannot claim more than it was sent.
    """

    def __init__(self) -> None:
        self._packets: deque[tuple[int, int, int]] = deque()
        self._total_bytes = 0
        self._known = False
        self._bitrate_bps: int | None = None

    def add(self, sent_us: int, arrival_us: int, size_bytes: int) -> None:
        """Account one acknowledged packet; late (reordered) arrivals are put in their place."""
        packets = self._packets
        self._known = False
        if packets and arrival_us < packets[-1][0] - RESET_BACK_US:
            packets.clear()
            self._total_bytes = 0
        self._total_bytes += size_bytes
        entry = (arrival_us, sent_us, size_bytes)
        if not packets or arrival_us >= packets[-1][0]:
            packets.append(entry)
        else:
            index = len(packets)
            while index and packets[index - 1][0] > arrival_us:
                index -= 1
            packets.insert(index, entry)
        newest = packets[-1][0]
        while newest - packets[0][0] > WINDOW_US or (
            len(packets) > ENOUGH_PACKETS and newest - packets[1][0] >= SHORT_WINDOW_US
        ):
            self._total_bytes -= packets.popleft()[2]

    def restart(self, since_us: int) -> None:
        """Forget what was sent before `since_us`: a probe has just shown that the past was too slow."""
        self._packets = deque(packet for packet in self._packets if packet[1] >= since_us)
        self._total_bytes = sum(packet[2] for packet in self._packets)
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
        packets = self._packets
        first = min(packets, key=_sent)
        last = max(packets, key=_sent)
        span = last[1] - first[1]
        if span <= 0:
            return received
        return min(received, (self._total_bytes - last[2]) * 8_000_000 // span)

    def received_bps(self) -> int | None:
        """The same by arrival alone."""
        packets = self._packets
        if len(packets) < LEAST_PACKETS:
            return None
        span = packets[-1][0] - packets[0][0]
        if span < LEAST_SPAN_US:
            return None
        return (self._total_bytes - packets[0][2]) * 8_000_000 // span

    def capacity_bps(self) -> int | None:
        """What the path carries, asked while a queue is standing: the latest arrivals came at its pace.

        A keyframe after a time of sending little makes a queue too; the average over the whole window
        would then say what was sent before it.
        """
        received_bps = self.received_bps()
        if received_bps is None:
            return None
        packets = self._packets
        newest_us = packets[-1][0]
        size = 0
        for count, (arrival_us, _, packet_size) in enumerate(reversed(packets)):
            span = newest_us - arrival_us
            if count >= PEAK_PACKETS and span >= PEAK_SPAN_US:
                return max(received_bps, size * 8_000_000 // span)
            size += packet_size
        return received_bps

    def mean_packet_bytes(self) -> float:
        """Mean size of the packets in the window; 1200 while there are none."""
        packets = self._packets
        return self._total_bytes / len(packets) if packets else 1200.0


def _sent(packet: tuple[int, int, int]) -> int:
    return packet[1]
