"""The egress pacer of one subscribe transport: bursts are spread so that a shallow queue on the path holds.

A keyframe sent at once to a viewer overruns the router in front of it; sent at 2.5 times the estimate it
arrives as soon as it could, and nothing is lost. In normal flow the pacer is not felt: packets pass
straight through while they come no faster than that.

Sans-IO and generic in what a packet is: the plane decides what it queues, and gives a packet its
transport-wide number and protects it when it really leaves, so that numbers, send times and SRTP indices
keep their order. Probes are paced here too: `cluster_id` names the one under way.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from math import inf
from typing import Generic, TypeVar

from sfu.media.plane import Probe

P = TypeVar("P")

RATE_FACTOR = 2.5
"""Of the estimate. An encoder's frames vary by about this, and so must what passes undelayed."""
RATE_FLOOR_BPS = 500_000
"""A 1200-byte packet then takes 19 ms at most, whatever the estimate."""
BURST_US = 15_000
"""What may leave at once, in time at the pacing rate. At 2.5 times the estimate a frame of a 30 Hz layer that
fills the estimate takes 13 ms, one half as large again 20 ms: its last packet waits under 5 ms."""
LONGEST_WAIT_US = 250_000
"""A backlog is sent within this, at a higher rate if need be: a packet later than that is as good as lost."""
MOST_PACKETS = 1024
"""Above this the newest packet is dropped: memory is bounded even when time stands still."""
SMALLEST_PADDING = 64
LARGEST_PADDING = 255
"""Padding of one RTP packet is counted in one byte. Spec: RFC 3550 section 5.1."""


class Priority(IntEnum):
    """Who goes first. Audio never waits, though what it takes is counted."""

    AUDIO = 0
    RETRANSMISSION = 1
    VIDEO = 2


class Pacer(Generic[P]):
    """See the module's text. Call `due` when `next_us` has come, and `padding_bytes` after it.

    Being up to `BURST_US` late costs no throughput: a timer need not be finer than 10 ms.
    """

    __slots__ = (
        "_drain_us_per_byte",
        "_free_us",
        "_probe",
        "_probe_bytes",
        "_probe_packets",
        "_probe_started_us",
        "_queued_bytes",
        "_queues",
        "_us_per_byte",
        "dropped",
    )

    def __init__(self, estimate_bps: int) -> None:
        self.dropped = 0
        self._queues: tuple[deque[tuple[P, int]], deque[tuple[P, int]]] = (deque(), deque())
        self._queued_bytes = 0
        self._free_us = 0.0
        self._drain_us_per_byte = inf
        self._probe: Probe | None = None
        self._probe_started_us = 0
        self._probe_bytes = 0
        self._probe_packets = 0
        self.set_estimate(estimate_bps)

    def set_estimate(self, estimate_bps: int) -> None:
        """Follow the estimator."""
        self._us_per_byte = 8e6 / max(RATE_FACTOR * estimate_bps, RATE_FLOOR_BPS)

    @property
    def cluster_id(self) -> int:
        """The probe that packets leaving now belong to: it goes into `BurstResult.probe_cluster`.

        0 means that none is under way.
        """
        return self._probe.cluster_id if self._probe is not None else 0

    @property
    def queued_packets(self) -> int:
        return len(self._queues[0]) + len(self._queues[1])

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    def enqueue(self, now_us: int, packet: P, size_bytes: int, priority: Priority) -> bool:
        """Offer a packet. True: send it now, yourself. False: queued for `due`, or dropped (counted)."""
        queues = self._queues
        if self._probe is not None:
            self._end_probe()
        if priority == 0 or (
            self._free_us - now_us <= BURST_US and not queues[0] and (priority == 1 or not queues[1])
        ):
            self._spend(now_us, size_bytes)
            return True
        if self.queued_packets >= MOST_PACKETS:
            self.dropped += 1
            return False
        queues[priority - 1].append((packet, size_bytes))
        self._queued_bytes += size_bytes
        self._drain_us_per_byte = min(self._drain_us_per_byte, LONGEST_WAIT_US / self._queued_bytes)
        return False

    def due(self, now_us: int) -> list[P]:
        """The queued packets whose time has come, retransmissions first."""
        out: list[P] = []
        self._end_probe()
        for queue in self._queues:
            while queue and self._free_us - now_us <= BURST_US:
                packet, size = queue.popleft()
                self._spend(now_us, size)
                self._queued_bytes -= size
                out.append(packet)
        if not self._queued_bytes:
            self._drain_us_per_byte = inf
        return out

    @property
    def next_us(self) -> int | None:
        """When to call `due` and `padding_bytes` again; None while nothing waits. It may lie in the past."""
        times = []
        if self._queued_bytes:
            times.append(int(self._free_us) - BURST_US + 1)
        if self._probe is not None:
            times.append(self._probe_due_us())
        return min(times, default=None)

    def clear(self) -> None:
        """Drop what is queued and end the probe, as when the transport is gone."""
        for queue in self._queues:
            queue.clear()
        self._queued_bytes = 0
        self._drain_us_per_byte = inf
        self._probe = None

    def start_probe(self, now_us: int, probe: Probe) -> None:
        """Begin a cluster; one still under way is cut short."""
        self._probe = probe
        self._probe_started_us = now_us
        self._probe_bytes = 0
        self._probe_packets = 0

    def end_probe(self) -> None:
        """Give up a cluster: there is nothing to send it on."""
        self._probe = None

    def padding_bytes(self, now_us: int) -> int:
        """Size of the padding to send now to keep a probe's rate, 0 for none.

        Send one RTP packet with about this much padding, report its full size with `padded`, and ask
        again. At low rates padding is made small: five large packets would be a burst of their own.
        """
        self._end_probe()
        probe = self._probe
        if probe is None or now_us < self._probe_due_us():
            return 0
        size = -(-probe.min_bytes // probe.min_packets)
        return min(max(size, SMALLEST_PADDING), LARGEST_PADDING)

    def padded(self, size_bytes: int) -> None:
        """Account a padding packet of `size_bytes`, just sent. It delays no media: a probe has its pace."""
        self._probe_bytes += size_bytes
        self._probe_packets += 1

    def _spend(self, now_us: int, size_bytes: int) -> None:
        free_us = self._free_us
        pace = min(self._us_per_byte, self._drain_us_per_byte)
        self._free_us = (free_us if free_us > now_us else now_us) + size_bytes * pace
        self._probe_bytes += size_bytes
        self._probe_packets += 1

    def _end_probe(self) -> None:
        """Done at the next call only: whoever sends what this one released must still see its cluster."""
        probe = self._probe
        if (
            probe is not None
            and self._probe_packets >= probe.min_packets
            and self._probe_bytes >= probe.min_bytes
        ):
            self._probe = None

    def _probe_due_us(self) -> int:
        assert self._probe is not None
        return self._probe_started_us + self._probe_bytes * 8_000_000 // self._probe.target_bps
