"""The estimate of a path whose viewer reports no packet's fate: from REMB and receiver reports.

Old clients and aiortc estimate at the receiver, by arrival times of packets that carry their sending time,
and report a bitrate for each stream or for all of them (draft-alvestrand-rmcat-remb-03). Such a bitrate tells
little of what the path could carry: it grows by some 8 % a second to 1.5 times what is received, however
wide the path is. So it is no limit by itself. It becomes one when it stays below what is sent and does not
grow: then the receiver says that its queue does. Heavy loss in receiver reports says the same.

A limit lifts with time, and blindly: nobody is known to have more room until more is sent. A climb that
failed is not tried again for a while, each time for longer.
"""

from __future__ import annotations

from collections.abc import Mapping

from sfu.ids import SubscriptionKey
from sfu.media.bwe.aimd import GROWTH_PER_S
from sfu.media.bwe.estimator import MIN_BPS, EstimatorStatus, Reason

UNLIMITED_BPS = 1_000_000_000
"""Said while nothing limits: more than any transport is sent."""
VALID_US = 5_000_000
"""REMB is repeated at least once a second while anything arrives; an old one binds nobody."""
SHORT_SHARE = 0.8
"""Of what is sent: an over-use makes a receiver say 0.85 times what it gets, and most are false alarms."""
SHORT_US = 1_000_000
"""So long must it stay short: a keyframe's queue, or a busy receiver's, is gone by then."""
GROWING = 1.03
"""Within `SHORT_US`: half of how a receiver without complaints grows, and more than noise."""
HEAVY_LOSS = 0.1
REPORTED_US = 2_000_000
"""By then a receiver report has told what became of a fall."""
FIRST_HOLD_US = 8_000_000
LONGEST_HOLD_US = 60_000_000
"""After a fall nothing is tried for this long: the first time, and at most."""
CLIMB_FAILED_US = 10_000_000
"""A fall this soon after the limit was last lifted says that the path is as narrow as it was."""


class ReportedRate:
    """See the module's text. Call `observe` a few times a second, and `on_remb` as reports arrive."""

    def __init__(self) -> None:
        self._limit_bps: int | None = None
        self._rembs: dict[frozenset[SubscriptionKey], tuple[int, int]] = {}
        self._low: tuple[int, int] | None = None
        self._loss = 0.0
        self._wanted_bps = 0
        self._hold_us = FIRST_HOLD_US
        self._fell_us: int | None = None
        self._climbed_us: int | None = None
        self._held_until_us: int | None = None
        self._observed_us: int | None = None
        self._reason: Reason = "unlimited"

    @property
    def estimate_bps(self) -> int:
        """What may be sent, audio included; `UNLIMITED_BPS` where nothing tells."""
        return UNLIMITED_BPS if self._limit_bps is None else self._limit_bps

    @property
    def status(self) -> EstimatorStatus:
        """The estimate with what made it. Queues are not seen from here."""
        return EstimatorStatus(
            estimate_bps=self.estimate_bps,
            delay_bps=self.estimate_bps,
            loss_bps=None,
            remb_bps=sum(bps for bps, _ in self._rembs.values()) if self._rembs else None,
            acked_bps=None,
            loss=self._loss,
            rtt_us=0,
            queue_us=0,
            usage="normal",
            reason=self._reason,
        )

    def set_wanted(self, bps: int) -> None:
        """What would satisfy every subscription: a limit above it limits nothing."""
        self._wanted_bps = bps

    def on_remb(self, bitrate_bps: int, subscriptions: frozenset[SubscriptionKey], now_us: int) -> None:
        """Receiver-estimated bitrate of these subscriptions together, of the whole transport if empty.

        aiortc reports each stream by itself, others all of them at once.
        """
        if not subscriptions:
            self._rembs.clear()
        for named in [each for each in self._rembs if not each or each & subscriptions]:
            del self._rembs[named]
        self._rembs[subscriptions] = (max(bitrate_bps, MIN_BPS), now_us)

    def observe(self, sent: Mapping[SubscriptionKey, tuple[int, float]], now_us: int) -> None:
        """What each subscription is sent, in bits per second, and the fraction (0 to 1) that is lost."""
        last_us = self._observed_us
        self._observed_us = now_us
        elapsed_us = 0 if last_us is None else now_us - last_us
        sent_bps = sum(bps for bps, _ in sent.values())
        self._loss = sum(bps * loss for bps, loss in sent.values()) / sent_bps if sent_bps else 0.0
        reported_bps = self._reported_bps(sent, now_us)
        held = self._held_until_us is not None and now_us < self._held_until_us
        if self._loss > HEAVY_LOSS:
            # The same loss is told again until the next report.
            if self._fell_us is None or now_us - self._fell_us >= REPORTED_US:
                excess_bps = min(sent_bps, self.estimate_bps)
                self._fall(round(excess_bps * (1 - 0.5 * self._loss)), "loss", now_us)
        elif self._is_short(reported_bps, sent_bps, now_us):
            self._fall(reported_bps or 0, "remb", now_us)
        elif self._limit_bps is not None and not held:
            self._climbed_us = now_us
            self._climb(self._limit_bps, reported_bps, elapsed_us)

    def _reported_bps(self, sent: Mapping[SubscriptionKey, tuple[int, float]], now_us: int) -> int | None:
        """What the receiver says in all, None while it says nothing."""
        for named in [each for each, (_, at_us) in self._rembs.items() if now_us - at_us > VALID_US]:
            del self._rembs[named]
        if not self._rembs:
            return None
        told = frozenset().union(*self._rembs)
        silent_bps = sum(bps for key, (bps, _) in sent.items() if told and key not in told)
        return silent_bps + sum(bps for bps, _ in self._rembs.values())

    def _is_short(self, reported_bps: int | None, sent_bps: int, now_us: int) -> bool:
        """Whether the receiver has said for a while that it gets too much, and does not take it back."""
        if reported_bps is None or reported_bps >= SHORT_SHARE * sent_bps:
            self._low = None
            return False
        if self._low is None or reported_bps > GROWING * self._low[0]:
            self._low = (reported_bps, now_us)
        return now_us - self._low[1] >= SHORT_US

    def _fall(self, bps: int, reason: Reason, now_us: int) -> None:
        climbed_us, self._climbed_us = self._climbed_us, None
        if climbed_us is not None:
            failed = now_us - climbed_us <= CLIMB_FAILED_US
            self._hold_us = min(2 * self._hold_us, LONGEST_HOLD_US) if failed else FIRST_HOLD_US
        self._fell_us = now_us
        self._held_until_us = now_us + self._hold_us
        self._limit_bps = max(MIN_BPS, min(bps, self.estimate_bps))
        self._reason = reason
        self._low = None

    def _climb(self, limit_bps: int, reported_bps: int | None, elapsed_us: int) -> None:
        grown = round(limit_bps * GROWTH_PER_S ** (elapsed_us / 1e6))
        grown = max(grown, min(reported_bps or 0, self._wanted_bps))
        if grown < self._wanted_bps:
            self._limit_bps = grown
            return
        self._limit_bps = None
        self._reason = "unlimited"
