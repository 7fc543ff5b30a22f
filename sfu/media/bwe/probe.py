"""Probing: short clusters of packets at a higher rate, which prove (or not) that there is more room.

An application that sends little learns little: without probing, an estimate could only follow what is
sent, and what is sent follows the estimate. Initial probing at 3 and 6 times the start rate, doubling on
success, and the acceptance rules of a cluster follow published descriptions of WebRTC's congestion
control; see docs/bandwidth.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfu.media.plane import Probe

INITIAL_FACTORS = (3, 6)
FURTHER_FACTOR = 2
PROVEN = 0.7
"""A result of this fraction of the target is a success: try higher at once."""
FIRST_DURATION_US = 15_000
"""Short, for the path may carry a tenth of what is asked for."""
DURATION_US = 25_000
"""Several beats of a pacer that sends every 5 ms, and of a radio link's schedule."""
JITTER_FACTOR = 5
LONGEST_US = 60_000
"""A cluster that failed is sent again twice as long, up to this: jitter blurs a short one."""
MIN_PACKETS = 5
RESULT_TIMEOUT_US = 1_000_000
COMPLETE = 0.8
"""Fraction of a cluster that must arrive for its rate to mean anything."""
MAX_COMPRESSION = 2.0
"""Arriving this many times faster than sent, the packets were held up and released: it proves nothing."""
SATURATED = 0.9
SATURATED_KEEP = 0.95
"""A cluster that arrives slower than 0.9 of its rate has filled the link: what arrived is the capacity, of
which a little is left for the queue to drain."""
SPACING_US = 100_000
"""Between the clusters of the initial pair: the first one's queue must be gone before the second."""

RETRY_US = 2_000_000
RETRY_GROWTH = 1.5
RETRY_LONGEST_US = 10_000_000
"""Waiting after a probe that did not get through: 2, 3, 5, 7, 10 s. A lifted cap is noticed within this."""
SOON_US = 1_000_000
"""After a cluster that proved more than was known, though less than hoped."""
AGAIN_US = 300_000
"""After a cluster that left too slowly to prove anything: this machine was busy, the path is not to blame."""
RECOVERY_US = 1_500_000
"""Wait after the delay is normal again before asking whether what was lost is back."""
LEAST_TARGET_BPS = 120_000
"""Five small packets within 15 ms are more than this anyhow."""
HEADROOM = 1.25
"""A probe for all that is wanted aims a little higher, for its result comes in a little below its target."""
CLIMBED = 1.05
"""A success that lifted the estimate by less than this is not worth another at once."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The rate a cluster proved, and when its first packet went out.

    `first` marks the transport's first cluster: before it nothing at all is known.
    """

    bps: int
    started_us: int
    first: bool


@dataclass(slots=True)
class _Cluster:
    probe: Probe
    started_us: int
    estimate_bps: int
    seen_packets: int = 0
    seen_bytes: int = 0
    packets: int = 0
    bytes: int = 0
    first_sent: int = 0
    last_sent: int = 0
    last_sent_bytes: int = 0
    first_arrival: int = 0
    last_arrival: int = 0
    first_arrival_bytes: int = 0

    def add(self, sent_us: int, arrival_us: int | None, size: int) -> None:
        self.seen_packets += 1
        self.seen_bytes += size
        if arrival_us is None:
            return
        if not self.packets or sent_us < self.first_sent:
            self.first_sent = sent_us
        if not self.packets or sent_us >= self.last_sent:
            self.last_sent, self.last_sent_bytes = sent_us, size
        if not self.packets or arrival_us < self.first_arrival:
            self.first_arrival, self.first_arrival_bytes = arrival_us, size
        if not self.packets or arrival_us > self.last_arrival:
            self.last_arrival = arrival_us
        self.packets += 1
        self.bytes += size

    @property
    def complete(self) -> bool:
        return self.seen_packets >= self.probe.min_packets and self.seen_bytes >= self.probe.min_bytes

    def left_slowly(self) -> bool:
        """Whether it was sent at less than the rate that was to be proven."""
        sent_span = self.last_sent - self.first_sent
        sent_bits = 8_000_000 * (self.bytes - self.last_sent_bytes)
        return self.complete and sent_span * PROVEN * self.probe.target_bps > sent_bits

    def rate_bps(self) -> int | None:
        """What the cluster proved, None when it proved nothing."""
        probe = self.probe
        if self.packets < COMPLETE * probe.min_packets or self.bytes < COMPLETE * probe.min_bytes:
            return None
        sent_span = self.last_sent - self.first_sent
        arrival_span = self.last_arrival - self.first_arrival
        if sent_span <= 0 or arrival_span <= 0 or max(sent_span, arrival_span) > RESULT_TIMEOUT_US:
            return None
        send_bps = (self.bytes - self.last_sent_bytes) * 8_000_000 / sent_span
        receive_bps = (self.bytes - self.first_arrival_bytes) * 8_000_000 / arrival_span
        if receive_bps > MAX_COMPRESSION * send_bps:
            return None
        if receive_bps < SATURATED * send_bps:
            return int(SATURATED_KEEP * receive_bps)
        return int(min(send_bps, receive_bps))


class ProbeController:
    """Decides when to probe and at what rate, and reads the results. One cluster is under way at a time."""

    def __init__(self, start_bps: int, max_bps: int) -> None:
        self._max_bps = max_bps
        self._next_id = 1
        self._cluster: _Cluster | None = None
        self._initial = [factor * start_bps for factor in INITIAL_FACTORS]
        self._further_bps: int | None = None
        self._recovery_bps: int | None = None
        self._next_us: int | None = None
        self._retry_us = RETRY_US
        self._duration_us = FIRST_DURATION_US

    def next_probe(
        self, estimate_bps: int, wanted_bps: int, now_us: int, *, calm: bool, jitter_us: int = 0
    ) -> Probe | None:
        """The probe to send now, or None.

        `wanted_bps` is what would satisfy every subscription: nothing is probed beyond it. `calm` is False
        while the path shows over-use or loss, when nothing is probed at all. `jitter_us` is how much the
        delay jumps about: a cluster is made longer than that.
        """
        if self._cluster is not None:
            if now_us - self._cluster.started_us < RESULT_TIMEOUT_US:
                return None
            self._settle(self._cluster)
        ceiling = min(int(wanted_bps * HEADROOM), self._max_bps)
        if not calm or min(wanted_bps, self._max_bps) <= estimate_bps:
            return None
        target = self._target(estimate_bps, now_us)
        if target is None:
            return None
        target = max(min(target, ceiling), LEAST_TARGET_BPS)
        duration_us = min(max(self._duration_us, JITTER_FACTOR * jitter_us), LONGEST_US)
        return self._start(target, estimate_bps, duration_us, now_us)

    def add(self, cluster_id: int, sent_us: int, arrival_us: int | None, size: int) -> None:
        """Account one acknowledged or lost packet of a cluster; of an older cluster it is ignored."""
        cluster = self._cluster
        if cluster is not None and cluster.probe.cluster_id == cluster_id:
            cluster.add(sent_us, arrival_us, size)

    def result(self, now_us: int) -> ProbeResult | None:
        """What the cluster proved that became complete with the last feedback, else None."""
        cluster = self._cluster
        if cluster is None or not cluster.complete:
            return None
        first = cluster.probe.cluster_id == 1
        rate = self._settle(cluster, now_us)
        return None if rate is None else ProbeResult(rate, cluster.first_sent, first)

    def on_decrease(self, from_bps: int, now_us: int, *, application_limited: bool) -> None:
        """The estimate fell. Plans for initial and further probes are void.

        Where little was being sent, the fall to what was sent says little about the capacity: whether
        the old rate is still there is asked soon.
        """
        self._initial.clear()
        self._further_bps = None
        self._recovery_bps = int(0.85 * from_bps) if application_limited else None
        wait_us = RECOVERY_US if application_limited else self._retry_us
        self._next_us = now_us + wait_us

    def on_feedback_resumed(self, from_bps: int, now_us: int) -> None:
        """Feedback is back after an outage: ask soon whether the rate before it is too."""
        self.on_decrease(from_bps, now_us, application_limited=True)

    def _target(self, estimate_bps: int, now_us: int) -> int | None:
        if self._next_us is not None and now_us < self._next_us:
            return None
        if self._initial:
            return max(self._initial.pop(0), estimate_bps)
        if self._further_bps is not None:
            target, self._further_bps = self._further_bps, None
            return max(target, estimate_bps)
        if self._recovery_bps is not None:
            target, self._recovery_bps = self._recovery_bps, None
            return max(target, FURTHER_FACTOR * estimate_bps)
        return FURTHER_FACTOR * estimate_bps

    def _start(self, target_bps: int, estimate_bps: int, duration_us: int, now_us: int) -> Probe:
        size = target_bps * duration_us // 8_000_000
        probe = Probe(self._next_id, target_bps, MIN_PACKETS, size, duration_us)
        self._next_id += 1
        self._cluster = _Cluster(probe, now_us, estimate_bps)
        return probe

    def _settle(self, cluster: _Cluster, now_us: int | None = None) -> int | None:
        """Close the cluster and plan what comes next. A cluster that timed out has no `now_us`."""
        self._cluster = None
        now_us = cluster.started_us + RESULT_TIMEOUT_US if now_us is None else now_us
        rate = cluster.rate_bps()
        climbed = rate is not None and rate > CLIMBED * cluster.estimate_bps
        if rate is not None and rate >= PROVEN * cluster.probe.target_bps:
            self._further_bps = FURTHER_FACTOR * rate
            self._duration_us = DURATION_US
            self._retry_us = RETRY_US
            self._next_us = now_us + (SPACING_US if climbed else RETRY_US)
        elif climbed or cluster.left_slowly():
            self._next_us = now_us + (SOON_US if climbed else AGAIN_US)
        else:
            self._initial.clear()
            self._next_us = now_us + self._retry_us
            self._duration_us = min(2 * self._duration_us, LONGEST_US)
            self._retry_us = min(int(self._retry_us * RETRY_GROWTH), RETRY_LONGEST_US)
        return rate
