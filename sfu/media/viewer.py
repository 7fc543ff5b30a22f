"""What one subscribe transport can take, and how that is shared out among its subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfu.ids import SubscriptionKey, TransportKey
from sfu.media.allocator import Allocation, Wish, allocate, with_margin
from sfu.media.bwe import UNLIMITED_BPS, Estimator, EstimatorStatus, ReportedRate
from sfu.media.plane import BurstResult, MediaPlane, SubscriptionStats

ALLOCATE_US = 100_000
"""How often the estimate is shared out anew; a fall is acted on at once."""

BLIND_US = 1_000_000
"""After the first feedback a probe should have told within this what the path carries."""
DEEP_US = 400_000
"""A queue that nothing but too much being sent makes, after a keyframe too: give way at once."""
SWAMPED_US = 150_000
COLLAPSED = 0.6
"""Less than this of what is being sent, behind a queue: not a dip."""
SHALLOW_US = 60_000
HEAVY_LOSS = 0.1
PATIENCE_US = 2_000_000
"""A keyframe's queue is gone within this, and most of the fall of the estimate that it made."""
LONG_PATIENCE_US = 4_000_000
"""Where all that is sent gets through without a queue, the estimate has this long to grow back over it."""
OVERCOMMIT = 1.6
HOPELESS_US = 1_000_000
"""A bad picture beats none: the smallest ones are sent while they cost no more than `OVERCOMMIT` times the
estimate, which knows little of a path that carries little, and the queue is not longer than this."""
TIMERS_US = 100_000
"""How often the timers of an estimator run of which no report came: the shortest is half a second."""
OBSERVE_US = 500_000
"""How often a path without feedback per packet is looked at: receiver reports come once a second."""
UNHEARD_US = 3_000_000
"""A peer that tells each packet's fate does so within 250 ms. One that has not by now, and yet sends reports,
takes the numbers without knowing what for."""


class Viewer:
    """The estimator of one transport, and its last allocation.

    It is estimated from what the receiver reports until its peer is known to tell each packet's fate, and
    again where its peer said that it would, and never does.
    """

    def __init__(self, plane: MediaPlane, transport: TransportKey) -> None:
        self.transport = transport
        self.estimator: Estimator | ReportedRate = ReportedRate()
        self.subscriptions: set[SubscriptionKey] = set()
        self.allocation: Allocation[SubscriptionKey] | None = None
        self._plane = plane
        self._observed_us: int | None = None
        self._allocated_us: int | None = None
        self._allocated_bps = 0
        self._paced_bps = 0
        self._short_us: int | None = None
        self._heard_us: int | None = None
        self._rembs = False
        self._unheard_us: int | None = None
        self._silent = False
        """It has agreed to transport-wide feedback and sends none."""
        self._timers_us = 0

    @property
    def per_packet(self) -> bool:
        """Whether its peer reports the fate of each packet."""
        return isinstance(self.estimator, Estimator)

    @property
    def estimate_bps(self) -> int | None:
        """What the path carries, None where nothing limits what is sent."""
        estimate_bps = self.estimator.estimate_bps
        return None if estimate_bps >= UNLIMITED_BPS else estimate_bps

    def expect_feedback(self) -> None:
        """Its peer sends transport-wide feedback."""
        if not self.per_packet and not self._silent:
            self._begin_estimating()

    def on_remb(self, bitrate_bps: int, subscriptions: Sequence[SubscriptionKey], now_us: int) -> None:
        """What the viewer says it can receive of these subscriptions, of all where none is named."""
        self._rembs = True
        if isinstance(self.estimator, ReportedRate):
            self.estimator.on_remb(bitrate_bps, frozenset(subscriptions), now_us)
        else:
            self.estimator.on_remb(bitrate_bps, now_us)

    def on_feedback(self, results: Sequence[BurstResult], now_us: int) -> None:
        """Packets' fates as the viewer reports them, of all reports since the last tick."""
        if self._heard_us is None:
            self._heard_us = now_us
        if self._silent:
            self._silent = False
            self._begin_estimating()
        self._timers_us = now_us
        if isinstance(self.estimator, Estimator):
            self.estimator.on_feedback(results, now_us)

    @property
    def overrun(self) -> bool:
        """Whether more is sent than the path takes: what is given up is given up at once."""
        status = self.estimator.status
        return status.queue_us > SWAMPED_US or status.loss > HEAVY_LOSS

    def due(self, now_us: int) -> bool:
        """Whether to share out anew: time has passed, or there is less than was given."""
        last_us = self._allocated_us
        fallen = self.estimator.estimate_bps < self._allocated_bps
        return last_us is None or fallen or now_us - last_us >= ALLOCATE_US

    def changed(self) -> None:
        """Its subscriptions or their wishes have changed."""
        self._allocated_us = None

    def share(self, wishes: Mapping[SubscriptionKey, Wish[SubscriptionKey]], now_us: int) -> None:
        """Share the estimate out."""
        estimator = self.estimator
        self._allocated_us = self._timers_us = now_us
        self._allocated_bps = estimator.estimate_bps
        shared = tuple(wishes.values())
        self.allocation = allocate(self._budget_bps(shared, now_us), shared)
        estimator.set_wanted(self.allocation.wanted_bps)

    def _budget_bps(self, wishes: Sequence[Wish[SubscriptionKey]], now_us: int) -> int:
        """The estimate, but not with every dip of it.

        Until something is measured everybody gets the lowest layer, neither more nor less: the first picture
        must not wait for the first feedback, and nobody knows what more the path takes.
        """
        lowest_bps = with_margin(sum(_lowest_bps(wish) for wish in wishes))
        status = self.estimator.status
        budget_bps = status.estimate_bps
        if status.reason == "start":
            if self._heard_us is None or now_us - self._heard_us < BLIND_US:
                return lowest_bps
            # No probe can be sent, or none is answered: step by step, from what got through.
            budget_bps = max(lowest_bps, min(budget_bps, 2 * (status.acked_bps or 0)))
        spent_bps = sum(_current_bps(wish) for wish in wishes)
        if budget_bps >= spent_bps:
            self._short_us = None
        else:
            self._short_us = now_us if self._short_us is None else self._short_us
            if now_us - self._short_us < _patience_us(status, spent_bps):
                budget_bps = spent_bps
        if lowest_bps <= OVERCOMMIT * budget_bps and status.queue_us < HOPELESS_US:
            budget_bps = max(budget_bps, lowest_bps)
        return budget_bps

    def tick(self, now_us: int) -> None:
        """Timers of the estimator, the pace, and probes. Call after `share`."""
        estimator, plane = self.estimator, self._plane
        if isinstance(estimator, ReportedRate):
            if self._observed_us is None or now_us - self._observed_us >= OBSERVE_US:
                self._observed_us = now_us
                estimator.observe(self._sent(), now_us)
            return
        if now_us < self._timers_us:
            return
        self._timers_us = now_us + TIMERS_US
        if self._heard_us is None and self._is_silent(now_us):
            self._silent = True
            self.estimator = ReportedRate()
            # A pace belongs to an estimate.
            plane.set_estimate(self.transport, UNLIMITED_BPS)
            self._paced_bps = UNLIMITED_BPS
            self.changed()
            return
        estimator.tick(now_us, plane.sent_bytes(self.transport))
        if estimator.estimate_bps != self._paced_bps:
            self._paced_bps = estimator.estimate_bps
            plane.set_estimate(self.transport, self._paced_bps)
        probe = estimator.probe(now_us)
        if probe is not None:
            plane.send_probe(self.transport, probe, now_us)

    def _begin_estimating(self) -> None:
        self.estimator = Estimator()
        self.changed()

    def _is_silent(self, now_us: int) -> bool:
        """Whether its peer has reported on what it got for a while, and not once on each packet.

        Where nothing at all comes back, nobody knows that the path carries more than it is given.
        """
        reports = any(each is not None and each.rtt_ms is not None for each in self._stats())
        if not reports and not self._rembs:
            return False
        self._unheard_us = now_us if self._unheard_us is None else self._unheard_us
        return now_us - self._unheard_us >= UNHEARD_US

    def _stats(self) -> list[SubscriptionStats | None]:
        return [self._plane.subscription_stats(key) for key in self.subscriptions]

    def _sent(self) -> dict[SubscriptionKey, tuple[int, float]]:
        """Bits per second and the fraction lost of each subscription."""
        sent = {}
        for key in self.subscriptions:
            stats = self._plane.subscription_stats(key)
            if stats is not None:
                sent[key] = stats.bitrate_bps, stats.fraction_lost
        return sent


def _lowest_bps(wish: Wish[SubscriptionKey]) -> int:
    if not wish.layers:
        return 0
    return wish.layers[-1 if wish.kind == "audio" else 0][1]


def _current_bps(wish: Wish[SubscriptionKey]) -> int:
    """What the layers that the subscription has cost now."""
    if wish.kind == "audio":
        return _lowest_bps(wish)
    current = wish.current
    return max((bps for layer, bps in wish.layers if current is not None and layer <= current), default=0)


def _patience_us(status: EstimatorStatus, spent_bps: int) -> int:
    """How long more may be sent than the estimate says."""
    if status.queue_us > DEEP_US or status.loss > HEAVY_LOSS:
        return 0
    if status.queue_us > SWAMPED_US and status.estimate_bps < COLLAPSED * spent_bps:
        return 0
    return LONG_PATIENCE_US if status.queue_us < SHALLOW_US else PATIENCE_US
