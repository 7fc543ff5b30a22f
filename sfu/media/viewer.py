"""What one subscribe transport can take, and how that is shared out among its subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sfu.ids import SubscriptionKey, TransportKey
from sfu.media.allocator import Allocation, Wish, allocate
from sfu.media.bwe import Estimator
from sfu.media.plane import MediaPlane, PacketResult

ALLOCATE_US = 100_000
"""How often the estimate is shared out anew; a fall is acted on at once."""


class Viewer:
    """The estimator of one transport with transport-wide feedback, and its last allocation."""

    def __init__(self, plane: MediaPlane, transport: TransportKey) -> None:
        self.transport = transport
        self.estimator = Estimator()
        self.subscriptions: set[SubscriptionKey] = set()
        self.allocation: Allocation[SubscriptionKey] | None = None
        self._plane = plane
        self._allocated_us: int | None = None
        self._allocated_bps = 0

    def on_feedback(self, results: Sequence[PacketResult], now_us: int) -> None:
        """Packets' fates as the viewer reports them."""
        self.estimator.on_feedback(results, now_us)

    def due(self, now_us: int) -> bool:
        """Whether to share out anew: time has passed, or there is less than was given."""
        last_us = self._allocated_us
        fallen = self.estimator.estimate_bps < self._allocated_bps
        return last_us is None or fallen or now_us - last_us >= ALLOCATE_US

    def changed(self) -> None:
        """Its subscriptions or their wishes have changed."""
        self._allocated_us = None

    def share(self, wishes: Mapping[SubscriptionKey, Wish[SubscriptionKey]], now_us: int) -> None:
        """Share the estimate out.

        Until something is measured everybody gets at least the lowest layer: the first picture must not wait
        for the first feedback.
        """
        estimator = self.estimator
        budget_bps = estimator.estimate_bps
        if estimator.status.reason == "start":
            budget_bps = max(budget_bps, sum(wish.layers[0][1] for wish in wishes.values() if wish.layers))
        self._allocated_us = now_us
        self._allocated_bps = estimator.estimate_bps
        self.allocation = allocate(budget_bps, tuple(wishes.values()))
        estimator.set_wanted(self.allocation.wanted_bps)

    def tick(self, now_us: int) -> None:
        """Timers of the estimator, the pace, and probes. Call after `share`."""
        estimator, plane = self.estimator, self._plane
        estimator.tick(now_us, plane.sent_bytes(self.transport))
        plane.set_estimate(self.transport, estimator.estimate_bps)
        probe = estimator.probe(now_us)
        if probe is not None:
            plane.send_probe(self.transport, probe, now_us)
