"""Is a queue growing on the path? Delay variation of packet groups, its trend, and the over-use detector.

Spec: draft-ietf-rmcat-gcc-02 sections 5.2 to 5.5. The arrival-time filter is not the draft's Kalman filter
but the least-squares trendline that superseded it, with the adaptive threshold of Carlucci, De Cicco,
Holmer and Mascolo, "Analysis and Design of the Google Congestion Control for Web Real-Time Communication"
(ACM MMSys 2016).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from sfu.media.plane import BURST_US

MAX_BURST_US = 100_000
"""A run of packets released together is no longer one group after this long, or a stall would hide itself."""
CLOCK_JUMP_US = 3_000_000
"""Two groups whose sending and arrival differ by more than this straddle a pause or a new clock."""
MAX_REORDERED = 3

WINDOW = 20
"""Groups in the trendline: some 100 to 600 ms of video."""
SMOOTHING = 0.9
GAIN = 4.0
LEAST_SPREAD = 0.5
"""Square milliseconds, `WINDOW` times those of the points: one arrival that differs by the quarter of a
millisecond that reports tell makes more, and what rounding leaves where none differs is less."""
MAX_DELTAS = 60
"""The slope counts for more the longer it lasts, up to this many groups."""

K_UP = 0.0087
K_DOWN = 0.039
THRESHOLD_START = 12.5
THRESHOLD_LOWEST = 6.0
THRESHOLD_HIGHEST = 600.0
ADAPT_LIMIT = 15.0
"""A trend this far above the threshold is congestion, not noise to grow tolerant of."""
ADAPT_STEP_MS = 100.0
OVERUSE_MS = 10.0
"""An over-use must last this long, `overuse_time_th` in draft section 5.4."""

DEEP_US = 150_000
"""More than jitter on a usable path, and where conversation begins to suffer (ITU-T G.114: 150 ms)."""
GROWING_US = 10_000
NOISE_SMOOTHING = 1 / 32
NOISE_FACTOR = 5.0
NOISE_MOST_US = 100_000
BASE_US = 10_000_000


class Usage(Enum):
    """What the delay says of the path."""

    NORMAL = "normal"
    OVERUSE = "overuse"
    UNDERUSE = "underuse"


class Groups:
    """Gathers bursts into groups by their time of sending and yields the differences between groups.

    Spec: draft-ietf-rmcat-gcc-02 section 5.2. Packets that arrive back to back although they were sent
    apart (a radio link wakes up) join one group too, since their spacing says nothing about a queue.
    """

    __slots__ = ("_arrival", "_first_arrival", "_first_sent", "_previous", "_reordered", "_sent")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump of the receiver's clock."""
        self._first_sent: int | None = None
        self._sent = 0
        self._first_arrival = 0
        self._arrival = 0
        self._previous: tuple[int, int] | None = None
        self._reordered = 0

    def add(
        self, sent_us: int, arrival_us: int, sent_span_us: int = 0, arrival_span_us: int = 0
    ) -> tuple[int, int] | None:
        """Account a burst: the times of its first packet, and from there to those of its last.

        Returns (sent, arrival) deltas in microseconds when a group is complete.
        """
        last_sent_us, last_arrival_us = sent_us + sent_span_us, arrival_us + arrival_span_us
        if self._first_sent is None:
            self._open(sent_us, arrival_us, last_sent_us, last_arrival_us)
            return None
        if sent_us < self._first_sent:
            return None
        if self._belongs(sent_us, arrival_us):
            self._sent = max(self._sent, last_sent_us)
            self._arrival = max(self._arrival, last_arrival_us)
            return None
        deltas = None
        if self._previous is not None:
            sent_delta = self._sent - self._previous[0]
            arrival_delta = self._arrival - self._previous[1]
            if abs(arrival_delta - sent_delta) > CLOCK_JUMP_US:
                self.reset()
            elif arrival_delta < 0:
                self._reordered += 1
                if self._reordered >= MAX_REORDERED:
                    self.reset()
                return None
            else:
                self._reordered = 0
                deltas = (sent_delta, arrival_delta)
        if self._first_sent is not None:
            self._previous = (self._sent, self._arrival)
        self._open(sent_us, arrival_us, last_sent_us, last_arrival_us)
        return deltas

    def _open(self, sent_us: int, arrival_us: int, last_sent_us: int, last_arrival_us: int) -> None:
        self._first_sent, self._sent = sent_us, last_sent_us
        self._first_arrival, self._arrival = arrival_us, last_arrival_us

    def _belongs(self, sent_us: int, arrival_us: int) -> bool:
        assert self._first_sent is not None
        if sent_us - self._first_sent <= BURST_US:
            return True
        arrival_delta = arrival_us - self._arrival
        queued = arrival_delta - (sent_us - self._sent) < 0
        return queued and arrival_delta <= BURST_US and arrival_us - self._first_arrival < MAX_BURST_US


class Trendline:
    """Slope of the smoothed queueing delay against arrival time, by least squares over a window of groups."""

    __slots__ = ("_accumulated", "_arrival_ms", "_points", "_smoothed", "_summed", "_sums", "deltas")

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()
        self._sums = _Sums((0.0, 0.0))
        self._summed = 0
        self._accumulated = 0.0
        self._smoothed = 0.0
        self._arrival_ms = 0.0
        self.deltas = 0

    def add(self, sent_delta_ms: float, arrival_delta_ms: float) -> float | None:
        """Account one difference between groups. Returns the slope (ms of delay per ms), None until full."""
        self.deltas = min(self.deltas + 1, 1000)
        self._arrival_ms += arrival_delta_ms
        self._accumulated += arrival_delta_ms - sent_delta_ms
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._accumulated
        points = self._points
        point = (self._arrival_ms, self._smoothed)
        points.append(point)
        self._sums.add(point)
        if len(points) > WINDOW:
            self._sums.remove(points.popleft())
        self._summed += 1
        if self._summed == WINDOW:
            # Anew from a near origin, before what was rounded away adds up.
            self._summed = 0
            self._sums = _Sums(points[0])
            for each in points:
                self._sums.add(each)
        return self._sums.slope() if len(points) == WINDOW else None


class _Sums:
    """What least squares need to know of the points, kept as they come and go."""

    __slots__ = ("_sx", "_sxx", "_sxy", "_sy", "_x0", "_y0")

    def __init__(self, origin: tuple[float, float]) -> None:
        self._x0, self._y0 = origin
        self._sx = self._sy = self._sxx = self._sxy = 0.0

    def add(self, point: tuple[float, float]) -> None:
        x, y = point[0] - self._x0, point[1] - self._y0
        self._sx += x
        self._sy += y
        self._sxx += x * x
        self._sxy += x * y

    def remove(self, point: tuple[float, float]) -> None:
        x, y = point[0] - self._x0, point[1] - self._y0
        self._sx -= x
        self._sy -= y
        self._sxx -= x * x
        self._sxy -= x * y

    def slope(self) -> float | None:
        """Of `WINDOW` points; None where all have the same x."""
        spread = WINDOW * self._sxx - self._sx * self._sx
        return (WINDOW * self._sxy - self._sx * self._sy) / spread if spread > LEAST_SPREAD else None


class QueueDelay:
    """How much longer than the least of late packets take now: the standing queue, whatever its trend.

    The trendline notices slowly when feedback itself is stuck behind a queue that fills within a fraction
    of a second, and it cannot tell when that queue is gone. Clocks need not agree: only differences count,
    and the base is at most `2 * BASE_US` old, so that drift and a new route are forgotten.
    """

    def __init__(self) -> None:
        self.us = 0
        self.jitter_us = 0.0
        self._before = (0, 0)
        self._base_us: int | None = None
        self._next_base_us: int | None = None
        self._turned_us: int | None = None

    def add(self, one_way_us: int, now_us: int) -> None:
        """Account the least one-way delay (between two clocks) in one feedback report."""
        if self._turned_us is None or now_us - self._turned_us >= BASE_US:
            self._base_us, self._next_base_us = self._next_base_us, None
            self._turned_us = now_us
        if self._next_base_us is None or one_way_us < self._next_base_us:
            self._next_base_us = one_way_us
        if self._base_us is None or not 0 <= one_way_us - self._base_us < CLOCK_JUMP_US:
            self._base_us = one_way_us
        self._before = (self._before[1], self.us)
        self.us = one_way_us - self._base_us
        change_us = min(abs(self.us - self._before[1]), DEEP_US)
        self.jitter_us += NOISE_SMOOTHING * (change_us - self.jitter_us)

    @property
    def deep(self) -> bool:
        """A queue that viewers feel: no estimate may grow over it."""
        return self.us > DEEP_US

    @property
    def noise(self) -> bool:
        """Whether the queue is no larger than what the delay jumps about from report to report.

        A queue builds up steadily; jitter does not. Where little is sent, a trend over few packets alone
        would take every swing of the jitter for congestion.
        """
        return self.us < min(NOISE_FACTOR * self.jitter_us, NOISE_MOST_US)

    @property
    def growing(self) -> bool:
        """Deep, and deeper than two reports ago by more than noise."""
        return self.deep and self._before[1] > DEEP_US // 2 and self.us - self._before[0] > GROWING_US


class DelayDetector:
    """Over-use detector fed with acknowledged bursts in order of sending.

    `usage` is the present signal. Spec: draft-ietf-rmcat-gcc-02 sections 5.4 and 5.5 (table 1).
    """

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._groups = Groups()
        self._trendline = Trendline()
        self._threshold = THRESHOLD_START
        self._overuse_ms: float | None = None
        self._overuse_count = 0
        self._previous_trend = 0.0

    @property
    def threshold(self) -> float:
        """The adaptive threshold, in the unit of the scaled trend (draft: `del_var_th`, ms)."""
        return self._threshold

    def add(self, sent_us: int, arrival_us: int, sent_span_us: int = 0, arrival_span_us: int = 0) -> Usage:
        """Account an acknowledged burst as `Groups.add` does, and return the signal after it."""
        deltas = self._groups.add(sent_us, arrival_us, sent_span_us, arrival_span_us)
        if deltas is not None:
            sent_ms, arrival_ms = deltas[0] / 1000, deltas[1] / 1000
            trend = self._trendline.add(sent_ms, arrival_ms)
            if trend is not None:
                self._detect(trend, sent_ms, arrival_ms)
        return self.usage

    def restart(self) -> None:
        """Forget the delays seen, after a pause without feedback. The learnt threshold stays."""
        self._groups.reset()
        self._trendline = Trendline()
        self.usage = Usage.NORMAL
        self._overuse_ms = None
        self._overuse_count = 0

    def _detect(self, trend: float, sent_ms: float, arrival_ms: float) -> None:
        scaled = min(self._trendline.deltas, MAX_DELTAS) * trend * GAIN
        if scaled > self._threshold:
            # Half of the first interval: the over-use began somewhere inside it.
            self._overuse_ms = sent_ms / 2 if self._overuse_ms is None else self._overuse_ms + sent_ms
            self._overuse_count += 1
            if self._overuse_ms > OVERUSE_MS and self._overuse_count > 1 and trend >= self._previous_trend:
                self._overuse_ms = 0.0
                self._overuse_count = 0
                self.usage = Usage.OVERUSE
        else:
            self._overuse_ms = None
            self._overuse_count = 0
            self.usage = Usage.UNDERUSE if scaled < -self._threshold else Usage.NORMAL
        self._previous_trend = trend
        self._adapt(abs(scaled), arrival_ms)

    def _adapt(self, magnitude: float, elapsed_ms: float) -> None:
        if magnitude > self._threshold + ADAPT_LIMIT:
            return
        k = K_DOWN if magnitude < self._threshold else K_UP
        step = k * (magnitude - self._threshold) * min(elapsed_ms, ADAPT_STEP_MS)
        self._threshold = min(max(self._threshold + step, THRESHOLD_LOWEST), THRESHOLD_HIGHEST)
