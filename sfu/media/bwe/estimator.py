"""The estimator of one subscribe transport: how many bits per second its path carries now.

The lower of a delay-based and a loss-based estimate (draft-ietf-rmcat-gcc-02), lifted by probes, capped by
REMB where the peer sends it too. A peer without transport-wide feedback is estimated by `bwe/reported.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sfu.media.bwe.acked import AckedBitrate
from sfu.media.bwe.aimd import APPLICATION_LIMITED, AimdRate
from sfu.media.bwe.delay import DelayDetector, QueueDelay, Usage
from sfu.media.bwe.loss import HIGH_LOSS, LossController
from sfu.media.bwe.probe import ProbeController
from sfu.media.plane import BurstResult, Probe

START_BPS = 400_000
MIN_BPS = 30_000
"""Audio alone needs about this much, and audio is always sent."""
MAX_BPS = 20_000_000

SILENCE_US = 500_000
"""Packets are out and no feedback came for this long: the path is assumed to be getting worse."""
SILENCE_FACTOR = 0.8
REMB_VALID_US = 10_000_000
"""REMB is repeated about once a second by those who send it; an old one binds nobody."""
START_RTT_US = 100_000
RTT_SMOOTHING = 0.125

Reason = Literal["start", "delay", "loss", "remb", "silence", "probe", "unlimited"]


class EstimatorStatus(NamedTuple):
    """Why the estimate is what it is. Rates in bits per second, None where there is nothing to say.

    `reason` names what moved the estimate last or what holds it down now; `rtt_us` is from sending to
    feedback, with the receiver's reporting interval in it; `loss` is a fraction 0..1 of the last window,
    `queue_us` the standing queue on the path.
    """

    estimate_bps: int
    delay_bps: int
    loss_bps: int | None
    remb_bps: int | None
    acked_bps: int | None
    loss: float
    rtt_us: int
    queue_us: int
    usage: str
    reason: Reason


class Estimator:
    """See the module's text. Call `tick` every 20 ms or so, and the `on_` methods as things arrive.

    Nothing a peer reports makes it raise, and nothing lifts the estimate over `max_bps`.
    """

    def __init__(self, *, start_bps: int = START_BPS, min_bps: int = MIN_BPS, max_bps: int = MAX_BPS) -> None:
        """Raises `ValueError` unless 0 < min_bps <= start_bps <= max_bps."""
        if not 0 < min_bps <= start_bps <= max_bps:
            raise ValueError("0 < min_bps <= start_bps <= max_bps")
        self._min_bps = min_bps
        self._max_bps = max_bps
        self._acked = AckedBitrate()
        self._detector = DelayDetector()
        self._queue = QueueDelay()
        self._rate = AimdRate(start_bps, min_bps, max_bps)
        self._loss = LossController(min_bps)
        self._probes = ProbeController(start_bps, max_bps)
        self._wanted_bps = 0
        self._rtt_us = START_RTT_US
        self._newest_sent_us: int | None = None
        self._remb: tuple[int, int] | None = None
        self._reason: Reason = "start"
        self._per_packet = False
        self._sent_bytes = 0
        self._waiting_us: int | None = None
        self._before_silence_bps: int | None = None

    @property
    def estimate_bps(self) -> int:
        """What may be sent now, everything included, in bits per second: between `min_bps` and `max_bps`."""
        estimate = self._rate.bps
        if self._loss.limit_bps is not None:
            estimate = min(estimate, self._loss.limit_bps)
        if self._remb is not None:
            estimate = min(estimate, self._remb[0])
        return min(max(estimate, self._min_bps), self._max_bps)

    @property
    def status(self) -> EstimatorStatus:
        """The estimate with its parts, for statistics."""
        return EstimatorStatus(
            estimate_bps=self.estimate_bps,
            delay_bps=self._rate.bps,
            loss_bps=self._loss.limit_bps,
            remb_bps=None if self._remb is None else self._remb[0],
            acked_bps=self._acked.bitrate_bps(),
            loss=self._loss.fraction,
            rtt_us=self._rtt_us,
            queue_us=self._queue.us,
            usage=self._usage().value,
            reason=self._binding(),
        )

    def set_wanted(self, bps: int) -> None:
        """What would satisfy every subscription (`Allocation.wanted_bps`); nothing above it is probed."""
        self._wanted_bps = max(bps, 0)

    def on_feedback(self, results: Sequence[BurstResult], now_us: int) -> None:
        """Transport-wide feedback reports in the order in which they came. Empty ones change nothing."""
        if not results:
            return
        self._per_packet = True
        if self._before_silence_bps is not None:
            self._detector.restart()
            self._queue = QueueDelay()
            self._probes.on_feedback_resumed(self._before_silence_bps, now_us)
            self._before_silence_bps = None
        self._waiting_us = None
        self._account(results, now_us)
        before_bps = self.estimate_bps
        lowered = self._loss.update(self._rate.bps, self._acked, now_us, self._rtt_us)
        if lowered:
            self._reason = "loss"
        if self._rate.update(
            self._usage(),
            self._acked,
            now_us,
            rtt_us=self._rtt_us,
            queue_us=self._queue.us,
            may_increase=self._loss.may_increase,
        ):
            self._reason = "delay"
            lowered = True
        if lowered and self.estimate_bps < before_bps:
            acked_bps = self._acked.bitrate_bps()
            limited = acked_bps is not None and acked_bps < APPLICATION_LIMITED * before_bps
            self._probes.on_decrease(before_bps, now_us, application_limited=limited)
        self._apply_probe(now_us)

    def on_remb(self, bitrate_bps: int, now_us: int) -> None:
        """Receiver-estimated bitrate: a cap. Spec: draft-alvestrand-rmcat-remb-03."""
        self._remb = (max(bitrate_bps, self._min_bps), now_us)

    def tick(self, now_us: int, sent_bytes: int) -> None:
        """Timers. `sent_bytes` is the cumulative count of bytes sent with transport-wide numbers."""
        if self._remb is not None and now_us - self._remb[1] > REMB_VALID_US:
            self._remb = None
        if sent_bytes != self._sent_bytes:
            self._sent_bytes = sent_bytes
            if self._waiting_us is None:
                self._waiting_us = now_us
        if not self._per_packet or self._waiting_us is None:
            return
        if now_us - self._waiting_us > SILENCE_US:
            self._waiting_us = now_us
            if self._before_silence_bps is None:
                self._before_silence_bps = self.estimate_bps
            self._rate.set(int(self.estimate_bps * SILENCE_FACTOR), now_us)
            self._reason = "silence"

    def probe(self, now_us: int) -> Probe | None:
        """The cluster of packets to send now, or None. Ask at every tick.

        A returned cluster counts as sent: what never reaches the wire is a failed probe.
        """
        if not self._per_packet or self._before_silence_bps is not None:
            return None
        calm = self._usage() is Usage.NORMAL and self._loss.fraction < HIGH_LOSS
        return self._probes.next_probe(
            self.estimate_bps, self._wanted_bps, now_us, calm=calm, jitter_us=int(self._queue.jitter_us)
        )

    def _account(self, results: Sequence[BurstResult], now_us: int) -> None:
        lost = 0
        total = 0
        seen_us = self._newest_sent_us
        newest_us: int | None = None
        least_delay_us: int | None = None
        acked, detector = self._acked, self._detector
        for sent_us, arrival_us, size_bytes, probe_cluster, packets, sent_span_us, arrival_span_us in results:
            late = seen_us is not None and sent_us < seen_us
            last_sent_us = sent_us + sent_span_us
            if not late:
                seen_us = last_sent_us
            if probe_cluster and not (late and arrival_us is None):
                self._probes.add(probe_cluster, sent_us, arrival_us, size_bytes)
            if arrival_us is None:
                lost += 1
                total += 1
                continue
            # Older than an earlier report: it was called lost there, and was only late.
            if late:
                lost -= packets
            else:
                total += packets
            if newest_us is None or last_sent_us > newest_us:
                newest_us = last_sent_us
            delay_us = arrival_us - sent_us + min(arrival_span_us - sent_span_us, 0)
            if least_delay_us is None or delay_us < least_delay_us:
                least_delay_us = delay_us
            acked.add(sent_us, arrival_us + arrival_span_us, size_bytes, packets)
            # A probe fills the queue on purpose: the delay it makes is not the media's.
            if not probe_cluster:
                detector.add(sent_us, arrival_us, sent_span_us, arrival_span_us)
        self._newest_sent_us = seen_us
        self._loss.add(lost, total, now_us)
        if least_delay_us is not None:
            self._queue.add(least_delay_us, now_us)
        if newest_us is not None and now_us > newest_us:
            self._rtt_us += int(RTT_SMOOTHING * (now_us - newest_us - self._rtt_us))

    def _usage(self) -> Usage:
        """The detector's signal, overruled where the standing queue says more than its trend."""
        queue = self._queue
        if queue.growing or (queue.deep and self._loss.fraction > HIGH_LOSS):
            return Usage.OVERUSE
        usage = self._detector.usage
        if queue.deep and usage is Usage.NORMAL:
            return Usage.UNDERUSE
        if usage is Usage.OVERUSE and queue.noise:
            return Usage.NORMAL
        return usage

    def _apply_probe(self, now_us: int) -> None:
        result = self._probes.result(now_us)
        if result is None:
            return
        if result.bps > self.estimate_bps and self._usage() is not Usage.OVERUSE:
            self._rate.set(max(result.bps, self._rate.bps), now_us, proven=True)
            self._loss.raise_to(result.bps)
            self._acked.restart(result.started_us)
            self._reason = "probe"
        elif result.first and result.bps < self._rate.bps:
            # The start rate is a guess; this is a measurement.
            self._rate.set(result.bps, now_us)
            self._reason = "probe"

    def _binding(self) -> Reason:
        estimate = self.estimate_bps
        if self._remb is not None and self._remb[0] <= estimate < self._rate.bps:
            return "remb"
        if self._loss.limit_bps is not None and self._loss.limit_bps <= estimate < self._rate.bps:
            return "loss"
        return self._reason
