"""Viewers that report REMB and loss alone: aiortc's own estimator behind a path, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from aiortc.rate import RemoteBitrateEstimator

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.bwe import UNLIMITED_BPS, ReportedRate
from sfu.media.plane import (
    EncodingStats,
    Layer,
    MediaPlane,
    PlaneEvent,
    Probe,
    RembReceived,
    SubscriptionStats,
)
from sfu.media.policy import Notice, Policy, SubscriptionState

MS, S = 1_000, 1_000_000
VIEWER = TransportKey(7)
CAMERA, MICROPHONE = PublicationKey(1), PublicationKey(2)
VIEW, LISTEN = SubscriptionKey(10), SubscriptionKey(11)
LAYERS = [(Layer(0, 2), "q", 150_000), (Layer(1, 2), "h", 500_000), (Layer(2, 2), "f", 2_000_000)]
AUDIO = [(Layer(0, 0), "", 40_000)]
QUEUE_US = 300 * MS


class Path:
    """A plane whose viewer is aiortc's receiver behind a queue of `QUEUE_US`."""

    def __init__(self, capacity_bps: int) -> None:
        self.capacity_bps = capacity_bps
        self.receiver = RemoteBitrateEstimator()
        self.events: list[PlaneEvent] = []
        self.targets: dict[SubscriptionKey, Layer | None] = {}
        self.history: list[int] = []
        self.stats = SubscriptionStats()
        self.free_us = 0
        self.owed_bytes = 0.0
        self.lost = self.sent = 0

    def poll_events(self) -> list[PlaneEvent]:
        events, self.events = self.events, []
        return events

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        return LAYERS if publication == CAMERA else AUDIO

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        return [EncodingStats("q", 1, True, width=320, height=180)]

    def subscription_stats(self, subscription: SubscriptionKey) -> SubscriptionStats:
        return self.stats if subscription == VIEW else SubscriptionStats(bitrate_bps=40_000)

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        self.targets[subscription] = target

    def set_estimate(self, transport: TransportKey, estimate_bps: int) -> None:
        raise AssertionError("only packets with transport-wide numbers are paced")

    def sent_bytes(self, transport: TransportKey) -> int:
        return 0

    def send_probe(self, transport: TransportKey, probe: Probe, now_us: int) -> None:
        raise AssertionError("no probe can be measured")

    def rate_bps(self) -> int:
        target = self.targets.get(VIEW)
        return max((bps for layer, _, bps in LAYERS if target is not None and layer <= target), default=0)

    def send(self, now_us: int, elapsed_us: int) -> None:
        """What is due of the picture, a frame's packets at once."""
        self.owed_bytes += self.rate_bps() * elapsed_us / 8e6
        while self.owed_bytes >= 1000:
            self.owed_bytes -= 1000
            self.sent += 1
            if self.free_us - now_us > QUEUE_US:
                self.lost += 1
                continue
            self.free_us = max(self.free_us, now_us) + 1000 * 8 * S // self.capacity_bps
            send_time = round(now_us / 1e6 * (1 << 18)) & 0xFFFFFF
            remb = self.receiver.add((self.free_us + 20 * MS) // MS, send_time, 1000, 0x1234)
            if remb is not None:
                self.events.append(RembReceived(VIEWER, remb[0], (VIEW,)))

    def report(self) -> None:
        """What a receiver report of one second tells, and the sender's own rate."""
        self.stats.bitrate_bps = self.sent * 8000
        self.stats.fraction_lost = self.lost / self.sent if self.sent else 0.0
        self.lost = self.sent = 0
        self.history.append(self.rate_bps())


def watching(capacity_bps: int) -> tuple[Path, Policy]:
    path = Path(capacity_bps)
    policy = Policy(cast(MediaPlane, path), 500 * MS)
    policy.add_publication(CAMERA, "video")
    policy.add_publication(MICROPHONE, "audio")
    policy.add_subscription(VIEW, CAMERA, transport=VIEWER, per_packet=False)
    policy.add_subscription(LISTEN, MICROPHONE, transport=VIEWER, per_packet=False)
    return path, policy


def run(path: Path, policy: Policy, start_s: int, end_s: int) -> list[Notice]:
    notices: list[Notice] = []
    for step in range(start_s * 50, end_s * 50):
        now_us = S + step * 20 * MS
        path.send(now_us, 20 * MS)
        if step % 50 == 49:
            path.report()
        notices += policy.tick(now_us)
    return notices


def switches(history: list[int]) -> int:
    return sum(a != b for a, b in pairwise(history))


def test_a_wide_path_has_the_largest_picture_at_once_and_keeps_it() -> None:
    path, policy = watching(20_000_000)
    run(path, policy, 0, 60)
    assert set(path.history) == {2_000_000}
    why = policy.explain(VIEW)
    assert why is not None
    assert (why.estimate_bps, why.reason, why.estimated_by) == (None, "source", "unlimited")


def test_a_narrow_path_falls_to_what_fits_and_does_not_thrash() -> None:
    path, policy = watching(800_000)
    run(path, policy, 0, 90)
    assert path.rate_bps() in (150_000, 500_000)
    assert path.history[8] <= 500_000, "within seconds"
    late = path.history[10:]
    assert late.count(2_000_000) <= 0.2 * len(late)
    assert sum(late) / len(late) >= 300_000, "what fits is used"
    assert switches(late) <= 12
    why = policy.explain(VIEW)
    assert why is not None
    assert why.estimated_by in ("remb", "loss")
    assert path.targets[LISTEN] is not None


def test_it_comes_back_when_the_path_widens() -> None:
    path, policy = watching(300_000)
    run(path, policy, 0, 20)
    assert path.rate_bps() == 150_000
    path.capacity_bps = 20_000_000
    run(path, policy, 20, 110)
    assert path.rate_bps() == 2_000_000
    why = policy.explain(VIEW)
    assert why is not None
    assert why.estimated_by == "unlimited"


def test_audio_goes_on_where_no_picture_fits() -> None:
    path, policy = watching(40_000)
    notices = run(path, policy, 0, 15)
    assert SubscriptionState(VIEW, True, "bandwidth") in notices
    assert path.targets[LISTEN] is not None


# --- the rate alone ------------------------------------------------------------------------------


def observed(rate: ReportedRate, start_us: int, seconds: float, sent_bps: int, loss: float = 0.0) -> int:
    for step in range(int(seconds * 2)):
        rate.observe({VIEW: (sent_bps, loss)}, start_us + step * 500 * MS)
    return start_us + int(seconds * S)


def test_a_report_below_what_is_sent_binds_after_a_while_only() -> None:
    rate = ReportedRate()
    rate.set_wanted(2_000_000)
    rate.on_remb(300_000, frozenset({VIEW}), 0)
    observed(rate, 0, 1, 2_000_000)
    assert rate.estimate_bps == UNLIMITED_BPS
    observed(rate, S, 0.5, 2_000_000)
    assert (rate.estimate_bps, rate.status.reason) == (300_000, "remb")


def test_a_report_that_grows_is_no_complaint() -> None:
    rate = ReportedRate()
    rate.set_wanted(2_000_000)
    for second in range(15):
        rate.on_remb(round(300_000 * 1.08**second), frozenset({VIEW}), second * S)
        observed(rate, second * S, 1, 2_000_000)
        assert rate.estimate_bps == UNLIMITED_BPS


def test_reports_of_single_streams_add_up_with_those_that_say_nothing() -> None:
    rate = ReportedRate()
    rate.set_wanted(2_000_000)
    rate.on_remb(400_000, frozenset({VIEW}), 0)
    for step in range(10):
        rate.observe({VIEW: (400_000, 0.0), LISTEN: (600_000, 0.0)}, step * 500 * MS)
    assert rate.estimate_bps == UNLIMITED_BPS
    # One for both replaces it.
    rate.on_remb(500_000, frozenset({VIEW, LISTEN}), 5 * S)
    for step in range(10):
        rate.observe({VIEW: (400_000, 0.0), LISTEN: (600_000, 0.0)}, 5 * S + step * 500 * MS)
    assert rate.estimate_bps == 500_000


def test_a_limit_lifts_blindly_when_reports_stop_and_slower_after_a_climb_that_failed() -> None:
    rate = ReportedRate()
    rate.set_wanted(600_000)
    rate.on_remb(300_000, frozenset(), 0)
    now_us = observed(rate, 0, 3, 600_000)
    assert rate.estimate_bps == 300_000
    now_us = observed(rate, now_us, 5, 300_000)
    assert rate.estimate_bps == 300_000, "held"
    now_us = observed(rate, now_us, 12, 300_000)
    assert rate.estimate_bps == UNLIMITED_BPS
    rate.on_remb(300_000, frozenset(), now_us)
    now_us = observed(rate, now_us, 3, 600_000)
    assert rate.estimate_bps == 300_000
    now_us = observed(rate, now_us, 12, 300_000)
    assert rate.estimate_bps == 300_000, "held for twice as long"


def test_heavy_loss_lowers_it_once_for_each_report() -> None:
    rate = ReportedRate()
    rate.set_wanted(2_000_000)
    observed(rate, 0, 2, 1_000_000, loss=0.4)
    assert (rate.estimate_bps, rate.status.reason) == (800_000, "loss")
    observed(rate, 2 * S, 10, 800_000, loss=0.05)
    assert rate.estimate_bps >= 800_000
