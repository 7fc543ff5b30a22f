"""The rate controller: additive or multiplicative increase, multiplicative decrease.

Spec: draft-ietf-rmcat-gcc-02 section 5.5 (states of figure 1, formulas for the increase and decrease).
"""

from __future__ import annotations

from enum import Enum
from math import sqrt

from sfu.media.bwe.acked import AckedBitrate
from sfu.media.bwe.delay import Usage

BETA = 0.85
"""Fraction of the acknowledged bitrate kept on over-use: what is left drains the queue."""
DRAIN_FROM_US = 150_000
DRAIN_WITHIN_US = 1_000_000
DRAIN = 0.5
"""A deep queue is drained within about this long by sending less for a moment, down to this fraction of what
arrives: at 0.85 a queue of a second would stand for six."""
DRAINED_US = 50_000
GROWTH_PER_S = 1.08
"""Multiplicative increase far from the last known capacity."""
RESPONSE_MARGIN_US = 100_000
"""The over-use detector's own reaction time, added to the round trip (draft: response_time_ms)."""
MOST_ADDITIVE_PER_S = 0.06
"""Additive increase is at most this fraction: half a packet per response time would be a steeper climb than
the multiplicative one on a link of 100 kbps, and its estimate would saw instead of settling."""
LEAST_ADDITIVE_BPS = 2_000
ACKED_FACTOR = 1.5
ACKED_OFFSET_BPS = 10_000
"""Nothing is known about rates above what was got through: draft section 5.5, `1.5 * R_hat`, plus a little so
that it can leave zero."""
CAPACITY_SMOOTHING = 0.05

APPLICATION_LIMITED = 0.65
"""Below this fraction of the estimate, what got through says what was sent, not what the path carries.
Over-use then lowers the estimate step by step; a jump to what was sent waits for a queue beyond doubt."""


class RateState(Enum):
    """The states of draft figure 1."""

    HOLD = "hold"
    INCREASE = "increase"
    DECREASE = "decrease"


class LinkCapacity:
    """Where over-use happened lately: mean and variance of the acknowledged bitrate at decreases, in kbps."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._variance = 0.4

    def on_overuse(self, acked_bps: int) -> None:
        """Account the acknowledged bitrate at the moment of a decrease; a far one starts over."""
        sample = acked_bps / 1000
        if self._mean is None or not self._near(sample):
            self._mean, self._variance = sample, 0.4
            return
        self._mean += CAPACITY_SMOOTHING * (sample - self._mean)
        error = (self._mean - sample) ** 2 / max(self._mean, 1.0)
        variance = (1 - CAPACITY_SMOOTHING) * self._variance + CAPACITY_SMOOTHING * error
        self._variance = min(max(variance, 0.4), 2.5)

    def is_near(self, acked_bps: int) -> bool:
        """Whether the rate is within three standard deviations of the capacity; going above forgets it."""
        if self._mean is None:
            return False
        kbps = acked_bps / 1000
        if kbps > self._mean and not self._near(kbps):
            self._mean = None
            return False
        return self._near(kbps)

    def forget(self) -> None:
        """A probe proved more: climb fast again."""
        self._mean = None

    def _near(self, kbps: float) -> bool:
        assert self._mean is not None
        return abs(kbps - self._mean) <= 3 * sqrt(self._variance * self._mean)


class AimdRate:
    """The delay-based estimate in bits per second, moved by the over-use signal."""

    def __init__(self, start_bps: int, min_bps: int, max_bps: int) -> None:
        self.bps = start_bps
        self.state = RateState.INCREASE
        self._min_bps = min_bps
        self._max_bps = max_bps
        self._capacity = LinkCapacity()
        self._changed_us: int | None = None
        self._decreased_us: int | None = None
        self._resume_bps: int | None = None

    def update(
        self,
        usage: Usage,
        acked: AckedBitrate,
        now_us: int,
        *,
        rtt_us: int,
        queue_us: int = 0,
        may_increase: bool = True,
    ) -> bool:
        """Move the estimate by the signal of one feedback. Returns whether it was decreased.

        `queue_us` is the standing queue to drain. `may_increase` is False while loss forbids growth.
        """
        self._turn(usage)
        if self._resume_bps is not None and usage is not Usage.OVERUSE and queue_us < DRAINED_US:
            self.bps = self._clamp(max(self.bps, self._resume_bps))
            self._resume_bps = None
        if self.state is RateState.DECREASE:
            self.state = RateState.HOLD
            if self._may_decrease(acked, now_us, rtt_us):
                self._decrease(acked.capacity_bps(), queue_us, now_us)
                return True
        elif self.state is RateState.INCREASE and may_increase:
            self._increase(acked, now_us, rtt_us)
        self._changed_us = now_us
        return False

    def set(self, bps: int, now_us: int, *, proven: bool = False) -> None:
        """Put the estimate to a value measured elsewhere; `proven` when a probe got this much through."""
        self.bps = self._clamp(bps)
        self._resume_bps = None
        self._changed_us = now_us
        if proven:
            self._capacity.forget()

    def _turn(self, usage: Usage) -> None:
        if usage is Usage.OVERUSE:
            self.state = RateState.DECREASE
        elif usage is Usage.UNDERUSE:
            # Queues are draining: wait until they have, or the next over-use comes at once.
            self.state = RateState.HOLD
        else:
            self.state = RateState.INCREASE

    def _may_decrease(self, acked: AckedBitrate, now_us: int, rtt_us: int) -> bool:
        """A decrease shows in the feedback one round trip later; until then only a collapse counts."""
        if self._decreased_us is None:
            return True
        wait_us = min(max(rtt_us, 10_000), 200_000)
        if now_us - self._decreased_us >= wait_us:
            return True
        acked_bps = acked.bitrate_bps()
        return acked_bps is not None and acked_bps < self.bps // 2

    def _decrease(self, capacity_bps: int | None, queue_us: int, now_us: int) -> None:
        target = BETA * (self.bps if capacity_bps is None else capacity_bps)
        if capacity_bps is not None:
            self._capacity.on_overuse(capacity_bps)
            if capacity_bps < APPLICATION_LIMITED * self.bps and queue_us <= DRAIN_FROM_US:
                target = BETA * self.bps
            if queue_us > DRAIN_FROM_US:
                self._resume_bps = min(int(target), max(self.bps, self._resume_bps or 0))
                target = max(1 - queue_us / DRAIN_WITHIN_US, DRAIN) * capacity_bps
        self.bps = self._clamp(min(int(target), self.bps))
        self._decreased_us = self._changed_us = now_us

    def _increase(self, acked: AckedBitrate, now_us: int, rtt_us: int) -> None:
        acked_bps = acked.bitrate_bps()
        if acked_bps is None:
            return
        elapsed_s = 0.0 if self._changed_us is None else min((now_us - self._changed_us) / 1e6, 1.0)
        if self._capacity.is_near(acked_bps):
            response_s = (rtt_us + RESPONSE_MARGIN_US) / 1e6
            per_s = min(4 * acked.mean_packet_bytes() / response_s, MOST_ADDITIVE_PER_S * self.bps)
            grown = self.bps + max(per_s, LEAST_ADDITIVE_BPS) * elapsed_s
        else:
            grown = max(self.bps * GROWTH_PER_S**elapsed_s, self.bps + 1000 * elapsed_s)
        limit = ACKED_FACTOR * acked_bps + ACKED_OFFSET_BPS
        self.bps = self._clamp(max(self.bps, int(min(grown, limit) + 0.5)))

    def _clamp(self, bps: int) -> int:
        return min(max(bps, self._min_bps), self._max_bps)
