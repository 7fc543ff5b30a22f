"""Transport-wide congestion control: recording what arrived, and matching what was sent.

Spec: draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from __future__ import annotations

from array import array

from sfu.media.plane import BURST_US, BurstResult
from sfu.rtp.rtcp import TransportWideFeedback, serialize
from sfu.rtp.transport_cc import (
    DELTA_US,
    MAX_DELTA_TICKS,
    MIN_DELTA_TICKS,
    REFERENCE_SPAN_US,
    REFERENCE_US,
)

FEEDBACK_INTERVAL_US = 50_000
"""Senders' estimators expect 50 to 250 ms; the lower end lets a publisher's top layer start sooner."""
EARLY_PACKETS = 100
"""This many packets are reported without waiting: on a fast link a report must not outgrow a datagram."""

_REORDER_WINDOW = 1024
_KEEP_US = 500_000
_KEEP_PACKETS = 2048
_MAX_REPORTS = 8
"""At one time. An honest sender needs one or two; numbers that jump about would take one for each packet."""
# 1024 statuses (at worst 294 bytes of chunks) with 440 arrivals (at worst 880 bytes) stay under 1200 bytes.
_MAX_STATUSES = 1024
_MAX_ARRIVALS = 440


class TwccRecorder:
    """Arrival times of one transport's packets, reported back to their sender.

    Memory is bounded whatever numbers a sender uses. A packet later than the report that called it lost is
    reported again, with everything after it, as long as that is remembered (500 ms).
    """

    __slots__ = (
        "_arrivals",
        "_feedback_count",
        "_floor",
        "_highest",
        "_last_build_us",
        "_pending",
        "_reports",
        "_start",
    )

    def __init__(self) -> None:
        self._arrivals: dict[int, int] = {}  # by unwrapped number, in order of arrival
        self._highest = -1
        self._start = 0  # first number not yet reported
        self._floor = 0  # below it arrivals have been forgotten
        self._pending = 0
        self._reports = 0  # built since nothing was pending
        self._feedback_count = 0
        self._last_build_us = 0

    def record(self, seq: int, now_us: int) -> None:
        """One packet with this transport-wide sequence number (16 bit) arrived. Duplicates change nothing."""
        highest = self._highest
        ahead = (seq - highest) & 0xFFFF
        if highest < 0:
            ext_seq = self._highest = self._start = self._floor = seq
            self._last_build_us = now_us
        elif ahead <= 0xFFFF - _REORDER_WINDOW:
            # Anything further back than a reordering is taken for a jump ahead: a sender that starts its
            # numbers anew is followed, not ignored.
            if ahead == 0:
                return
            ext_seq = self._highest = highest + ahead
        else:
            ext_seq = highest + ahead - 0x10000
            if ext_seq < self._floor or ext_seq in self._arrivals:
                return
            self._start = min(self._start, ext_seq)
        self._arrivals[ext_seq] = now_us
        self._pending += 1
        if len(self._arrivals) > _KEEP_PACKETS:
            self._forget(next(iter(self._arrivals)))

    def build(self, sender_ssrc: int, media_ssrc: int, now_us: int) -> bytes | None:
        """The next report as a serialized RTCP packet under 1200 bytes, or None when none is due.

        Due is what waited for `FEEDBACK_INTERVAL_US` or has reached `EARLY_PACKETS`. Call again until None:
        what does not fit one report follows in the next.
        """
        waited_us = now_us - self._last_build_us
        if not self._pending or (self._pending < EARLY_PACKETS and waited_us < FEEDBACK_INTERVAL_US):
            return None
        arrived = sorted(ext_seq for ext_seq in self._arrivals if ext_seq >= self._start)
        if not arrived or self._reports == _MAX_REPORTS:
            self._start = self._highest + 1
            self._rest(now_us)
            return None
        if arrived[0] - self._start >= _MAX_STATUSES:
            self._start = arrived[0]
        base = self._start
        packets, taken = self._collect(arrived)
        reference_us = self._arrivals[arrived[0]] // REFERENCE_US * REFERENCE_US
        feedback = TransportWideFeedback(
            sender_ssrc, media_ssrc, base & 0xFFFF, self._feedback_count, reference_us, packets
        )
        self._feedback_count = (self._feedback_count + 1) & 0xFF
        self._start = base + len(packets)
        self._pending = len(arrived) - taken
        self._reports += 1
        if not self._pending:
            self._rest(now_us)
        self._forget_before(now_us - _KEEP_US)
        return serialize([feedback])

    def _rest(self, now_us: int) -> None:
        self._pending = self._reports = 0
        self._last_build_us = now_us

    def _collect(self, arrived: list[int]) -> tuple[tuple[tuple[int, int | None], ...], int]:
        """Statuses from the first unreported number on, and how many of `arrived` they hold."""
        packets: list[tuple[int, int | None]] = []
        base = self._start
        last_ticks = self._arrivals[arrived[0]] // REFERENCE_US * (REFERENCE_US // DELTA_US)
        taken = 0
        for ext_seq in arrived[:_MAX_ARRIVALS]:
            arrival_us = self._arrivals[ext_seq]
            ticks = arrival_us // DELTA_US
            if (
                ext_seq - base >= _MAX_STATUSES
                or not MIN_DELTA_TICKS <= ticks - last_ticks <= MAX_DELTA_TICKS
            ):
                break
            packets.extend((lost & 0xFFFF, None) for lost in range(base + len(packets), ext_seq))
            packets.append((ext_seq & 0xFFFF, arrival_us))
            last_ticks = ticks
            taken += 1
        return tuple(packets), taken

    def _forget_before(self, oldest_us: int) -> None:
        while self._arrivals:
            ext_seq = next(iter(self._arrivals))
            if ext_seq >= self._start or self._arrivals[ext_seq] >= oldest_us:
                return
            self._forget(ext_seq)

    def _forget(self, ext_seq: int) -> None:
        # Nothing at or below a forgotten number may be reported any more: it would be called lost.
        del self._arrivals[ext_seq]
        self._floor = max(self._floor, ext_seq + 1)
        self._start = max(self._start, self._floor)


class SentHistory:
    """Transport-wide numbers given to the packets of one transport, and what became of them."""

    __slots__ = ("_cluster", "_mask", "_next", "_reference_us", "_sent_us", "_size")

    def __init__(self, packets: int = 4096) -> None:
        """Remember the last `packets` (a power of two up to 32768); 4096 last 4 s at 10 Mbit/s."""
        if packets & (packets - 1) or not 0 < packets <= 0x8000:
            raise ValueError("packets is a power of two, at most 32768")
        self._mask = packets - 1
        self._next = 0
        self._reference_us: int | None = None
        self._sent_us = array("q", bytes(8 * packets))
        # 0: nothing to tell any more; negative: already told to be lost.
        self._size = array("i", bytes(4 * packets))
        self._cluster = array("i", bytes(4 * packets))

    def sent(self, now_us: int, size: int, cluster: int = 0) -> int:
        """The number (16 bit) of the packet of `size` bytes that goes out now; `cluster` is its probe's."""
        seq = self._next
        self._next = (seq + 1) & 0xFFFF
        slot = seq & self._mask
        self._sent_us[slot] = now_us
        self._size[slot] = size
        self._cluster[slot] = cluster
        return seq

    def match(self, feedback: TransportWideFeedback) -> tuple[BurstResult, ...]:
        """What the report says that was not known before, in order of sending, bursts as one.

        Each packet is told at most twice: lost, and later received after all. Numbers never sent or too old
        are left out. Arrival times do not wrap.
        """
        offset_us = self._unwrap(feedback.reference_time_us) - feedback.reference_time_us
        results: list[BurstResult] = []
        may_grow = False
        newest = (self._next - 1) & 0xFFFF
        for seq, arrival_us in feedback.packets:
            slot = seq & self._mask
            size, cluster = self._size[slot], self._cluster[slot]
            told_lost = size < 0
            if (newest - seq) & 0xFFFF > self._mask or size == 0 or (told_lost and arrival_us is None):
                continue
            self._size[slot] = -size if arrival_us is None else 0
            arrived_us = None if arrival_us is None else arrival_us + offset_us
            result = BurstResult(self._sent_us[slot], arrived_us, abs(size), cluster)
            alone = arrival_us is None or told_lost or cluster != 0
            burst = None if alone or not may_grow else grown(results[-1], result)
            if burst is not None:
                results[-1] = burst
            else:
                results.append(result)
            may_grow = not alone
        return tuple(results)

    def _unwrap(self, reference_us: int) -> int:
        last_us = self._reference_us
        if last_us is not None:
            half = REFERENCE_SPAN_US // 2
            reference_us = last_us + (reference_us - last_us + half) % REFERENCE_SPAN_US - half
        self._reference_us = reference_us
        return reference_us


def grown(burst: BurstResult, packet: BurstResult) -> BurstResult | None:
    """The burst with the packet that follows it, None where it is not of it."""
    assert burst.arrival_us is not None
    assert packet.arrival_us is not None
    sent_span_us = packet.sent_us - burst.sent_us
    arrival_span_us = packet.arrival_us - burst.arrival_us
    sent = burst.sent_span_us <= sent_span_us <= BURST_US
    if not sent or not burst.arrival_span_us <= arrival_span_us <= BURST_US:
        return None
    size_bytes = burst.size_bytes + packet.size_bytes
    return BurstResult(
        burst.sent_us, burst.arrival_us, size_bytes, 0, burst.packets + 1, sent_span_us, arrival_span_us
    )
