"""What a publisher without transport-wide feedback may send: an estimate of its uplink, told by REMB.

The control law is that of viewers (`bwe/`), fed with what arrives. It begins where it limits nothing: only a
queue that grows, or loss, says that what the publisher sends is too much.
"""

from __future__ import annotations

from sfu.media.bwe import Estimator
from sfu.media.plane import Arrivals, BurstResult

MOST_BPS = 100_000_000
"""Said while nothing limits."""
LEAST_BPS = 100_000
"""No encoder makes a picture of less, and who sends nothing shows no more what its line carries."""
REPEAT_US = 1_000_000
"""A REMB is an RTCP packet and may be lost. Spec: draft-alvestrand-rmcat-remb-03 section 2.3."""
LEAST_US = 100_000
FALL = 0.97
"""A fall below this of what was said is said at once."""
FORGOTTEN_US = 20_000_000
"""Nothing has arrived for so long: what was estimated is not so any more."""
_MOST_LOST = 512
"""Of one report; more tell nothing new."""


class Uplink:
    """The estimator of one publish transport."""

    def __init__(self) -> None:
        self._estimator = Estimator(start_bps=MOST_BPS, min_bps=LEAST_BPS, max_bps=MOST_BPS)
        self._heard_us = 0
        self._told: tuple[int, int] | None = None

    def on_arrivals(self, arrivals: Arrivals, now_us: int) -> None:
        """What arrived, and what did not."""
        self._heard_us = now_us
        results = arrivals.results
        last = results[-1]
        lost = BurstResult(last.sent_us + last.sent_span_us, None, last.size_bytes // last.packets)
        self._estimator.on_feedback((*results, *[lost] * min(arrivals.lost, _MOST_LOST)), now_us)

    def due(self, now_us: int) -> int | None:
        """What the publisher is to be told now, in bits per second; None where there is nothing to tell."""
        if now_us - self._heard_us > REPEAT_US:
            return None
        estimate_bps = self._estimator.estimate_bps
        if self._told is not None:
            told_bps, told_us = self._told
            fallen = estimate_bps < FALL * told_bps and now_us - told_us >= LEAST_US
            if not fallen and now_us - told_us < REPEAT_US:
                return None
        self._told = estimate_bps, now_us
        return estimate_bps

    def is_forgotten(self, now_us: int) -> bool:
        """Whether nothing has arrived for long."""
        return now_us - self._heard_us > FORGOTTEN_US
