"""Reception statistics, and RTP timestamps on the publisher's clock. Spec: RFC 3550 section 6."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.rtp.rtcp import ReportBlock

DUPLICATE = -1
"""Of `Reception.accept`: the packet came before, or so late that nobody can tell."""
RESTARTED = -2
"""Of `Reception.accept`: far off; dropped until a second packet shows that the source began anew."""

_MOST_DROPOUT = 3000
_WINDOW = 2048
_WINDOW_MASK = (1 << _WINDOW) - 1
_DLSR_UNITS = 65_536


class Reception:
    """What arrived of one stream. Spec: RFC 3550 section 6.4.1 and appendix A."""

    __slots__ = (
        "_bad_seq",
        "_base",
        "_clock_rate",
        "_expected_prior",
        "_last_arrival",
        "_received_prior",
        "_window",
        "duplicates",
        "highest",
        "jitter",
        "received",
        "recovered",
        "sender_report",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._base = -1
        self._bad_seq = -1
        self._window = 0  # bit n: the packet n below the highest has arrived
        self._expected_prior = 0
        self._received_prior = 0
        self._last_arrival: tuple[int, int] | None = None
        self.highest = -1
        """Highest unwrapped sequence number, -1 before the first packet."""
        self.received = 0
        self.recovered = 0
        self.duplicates = 0
        self.jitter = 0.0
        """Interarrival jitter in timestamp units."""
        self.sender_report: SenderClock | None = None

    def accept(self, seq: int) -> int:
        """The unwrapped number of a packet that is new, else `DUPLICATE` or `RESTARTED`. Never twice."""
        highest = self.highest
        if highest < 0:
            # One cycle up, so that what was reordered before the first packet does not become negative.
            self.highest = self._base = seq + 0x10000
            self._window = 1
            self.received = 1
            return self.highest
        ahead = (seq - highest) & 0xFFFF
        if 0 < ahead < _MOST_DROPOUT:
            self._window = (self._window << ahead | 1) & _WINDOW_MASK
            self.received += 1
            self.highest = highest + ahead
            self._bad_seq = -1
            return self.highest
        behind = -ahead & 0xFFFF
        if behind < _WINDOW:
            bit = 1 << behind
            if self._window & bit:
                self.duplicates += 1
                return DUPLICATE
            self._window |= bit
            self.received += 1
            return highest - behind
        return self._restart(seq)

    def _restart(self, seq: int) -> int:
        if seq != self._bad_seq:
            self._bad_seq = (seq + 1) & 0xFFFF
            return RESTARTED
        # A cycle up and on: numbers of before and after never meet.
        self.highest = (self.highest | 0xFFFF) + 1 + 0x10000 + seq
        self._base = self.highest
        self._bad_seq = -1
        self._window = 1
        self.received = 1
        self._expected_prior = self._received_prior = 0
        return self.highest

    def is_missing(self, seq: int) -> bool:
        """Whether a retransmission of this number would be new, and is not of the future."""
        behind = (self.highest - seq) & 0xFFFF
        return self.highest >= 0 and behind < _WINDOW and not self._window >> behind & 1

    def arrived(self, timestamp: int, now_us: int) -> None:
        """Follow the jitter with a packet that came by itself. Spec: RFC 3550 appendix A.8."""
        arrival = now_us * self._clock_rate // 1_000_000
        last = self._last_arrival
        if last is None or last[1] != timestamp:
            if last is not None:
                moved = (timestamp - last[1] + 0x80000000 & 0xFFFFFFFF) - 0x80000000
                self.jitter += (abs(arrival - last[0] - moved) - self.jitter) / 16
            self._last_arrival = (arrival, timestamp)

    @property
    def lost(self) -> int:
        """Packets that never came, cumulative; retransmitted ones did come."""
        return 0 if self.highest < 0 else max(0, self.highest - self._base + 1 - self.received)

    def report(self, ssrc: int, now_us: int) -> ReportBlock:
        """A report on everything since the last one."""
        expected = self.highest - self._base + 1
        expected_interval = expected - self._expected_prior
        lost_interval = expected_interval - (self.received - self._received_prior)
        self._expected_prior, self._received_prior = expected, self.received
        fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            fraction = min(255, lost_interval * 256 // expected_interval)
        lsr = dlsr = 0
        if self.sender_report is not None:
            lsr = self.sender_report.ntp >> 16 & 0xFFFFFFFF
            dlsr = (now_us - self.sender_report.arrival_us) * _DLSR_UNITS // 1_000_000 & 0xFFFFFFFF
        # The first cycle is of our own making.
        highest = self.highest - 0x10000 & 0xFFFFFFFF
        return ReportBlock(ssrc, fraction, self.lost, highest, int(self.jitter), lsr, dlsr)


@dataclass(frozen=True, slots=True)
class SenderClock:
    """One sender report: that instant on the publisher's clock, in RTP time, and here."""

    ntp: int
    rtp_ts: int
    arrival_us: int

    def at(self, now_us: int, clock_rate: int) -> tuple[int, int]:
        """NTP and RTP time carried forward to now, on the same line: lip sync sees no jitter of arrival."""
        elapsed_us = now_us - self.arrival_us
        ntp = self.ntp + (elapsed_us << 32) // 1_000_000
        return ntp & 0xFFFFFFFFFFFFFFFF, self.rtp_ts + elapsed_us * clock_rate // 1_000_000 & 0xFFFFFFFF

    def translate(self, timestamp: int, other: SenderClock, clock_rate: int) -> int:
        """A timestamp of this stream as `other`, a stream of the same publisher, would count it."""
        since = (timestamp - self.rtp_ts + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        between = (self.ntp - other.ntp) * clock_rate >> 32
        return other.rtp_ts + since + between & 0xFFFFFFFF


def round_trip_us(block: ReportBlock, sent_us: int, now_us: int) -> int:
    """Of a report block that echoes the sender report sent at `sent_us`. Spec: RFC 3550 section 6.4.1."""
    return max(0, now_us - sent_us - block.dlsr * 1_000_000 // _DLSR_UNITS)
