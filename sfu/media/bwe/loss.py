"""The loss-based controller: a ceiling that falls while losses are heavy and lifts when they end.

Spec: draft-ietf-rmcat-gcc-02 section 6, with hysteresis: a single bad window does not lower the rate, and
the ceiling vanishes only once it stands above the delay-based estimate.
"""

from __future__ import annotations

from sfu.media.bwe.acked import AckedBitrate
from sfu.media.bwe.aimd import BETA

LOW_LOSS = 0.02
HIGH_LOSS = 0.10
SEVERE_LOSS = 0.25
"""So heavy that one window is proof enough, and what arrived is the better guess of the capacity."""
WINDOW_US = 400_000
WINDOW_PACKETS = 25
"""A window closes when it has lasted this long and holds this many packets: one lost of ten is noise."""
LONGEST_WINDOW_US = 1_500_000
GROWTH_PER_S = 1.08
GROWTH_OFFSET_BPS = 1_000
DECREASE_INTERVAL_US = 300_000
"""A decrease is followed by no other before its effect can be seen: this and a round trip."""


class LossController:
    """Counts losses in windows and keeps the ceiling. `limit_bps` is None while loss does not limit."""

    def __init__(self, min_bps: int) -> None:
        self.limit_bps: int | None = None
        self.fraction = 0.0
        self._min_bps = min_bps
        self._lost = 0
        self._total = 0
        self._opened_us: int | None = None
        self._bad_windows = 0
        self._decreased_us: int | None = None
        self._grown_us: int | None = None

    @property
    def may_increase(self) -> bool:
        """Whether loss is low enough for any estimate to grow without a probe."""
        return self.fraction < LOW_LOSS

    def add(self, lost: int, total: int, now_us: int) -> None:
        """Account one feedback's packets."""
        if self._opened_us is None:
            self._opened_us = now_us
        self._lost += lost
        self._total += total

    def update(self, estimate_bps: int, acked: AckedBitrate, now_us: int, rtt_us: int) -> bool:
        """Close the window when it is full and move the ceiling. Returns whether it was lowered.

        `estimate_bps` is the estimate without this ceiling.
        """
        if self.limit_bps is not None and self.may_increase:
            self._grow(estimate_bps, now_us)
        else:
            self._grown_us = now_us
        if self._opened_us is None or self._total <= 0:
            return False
        age_us = now_us - self._opened_us
        full = self._total >= WINDOW_PACKETS and age_us >= WINDOW_US
        if not full and age_us < LONGEST_WINDOW_US:
            return False
        self.fraction = max(self._lost, 0) / self._total
        few = self._total < WINDOW_PACKETS
        self._lost = self._total = 0
        self._opened_us = now_us
        self._bad_windows = self._bad_windows + 1 if self.fraction > HIGH_LOSS else 0
        needed = 1 if self.fraction > SEVERE_LOSS and not few else 2
        return self._bad_windows >= needed and self._lower(estimate_bps, acked, now_us, rtt_us)

    def raise_to(self, bps: int) -> None:
        """A probe got this much through: the ceiling is not lower."""
        if self.limit_bps is not None:
            self.limit_bps = max(self.limit_bps, bps)

    def _lower(self, estimate_bps: int, acked: AckedBitrate, now_us: int, rtt_us: int) -> bool:
        if self._decreased_us is not None and now_us - self._decreased_us < DECREASE_INTERVAL_US + rtt_us:
            return False
        current = estimate_bps if self.limit_bps is None else min(self.limit_bps, estimate_bps)
        lowered = current * (1 - 0.5 * self.fraction)
        received_bps = acked.received_bps() if self.fraction > SEVERE_LOSS else None
        if received_bps is not None:
            # What got through is the capacity; the delay may have lowered the rate to it already.
            lowered = max(min(lowered, received_bps), min(current, BETA * received_bps))
        self.limit_bps = max(int(lowered), self._min_bps)
        self._decreased_us = now_us
        return True

    def _grow(self, estimate_bps: int, now_us: int) -> None:
        assert self.limit_bps is not None
        elapsed_s = 0.0 if self._grown_us is None else min((now_us - self._grown_us) / 1e6, 1.0)
        self._grown_us = now_us
        grown = self.limit_bps * GROWTH_PER_S**elapsed_s + GROWTH_OFFSET_BPS * elapsed_s
        self.limit_bps = None if grown > estimate_bps else int(grown + 0.5)
