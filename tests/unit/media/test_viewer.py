"""An estimate shared out: what policy gives the subscriptions of one transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.decisions import LOWEST, Notice, SubscriptionState, Wish
from sfu.media.plane import (
    AudioLevel,
    BurstResult,
    EncodingStats,
    Layer,
    MediaPlane,
    PlaneEvent,
    Probe,
    RembReceived,
    SubscriptionStats,
    TransportFeedback,
)
from sfu.media.policy import Policy
from sfu.media.viewer import Viewer

MS = 1000
VIEWER = TransportKey(7)
CAMERA, OTHER = PublicationKey(1), PublicationKey(2)
VIEW, SECOND = SubscriptionKey(10), SubscriptionKey(11)
LAYERS = [(Layer(0, 0), "q", 60_000), (Layer(0, 2), "q", 140_000), (Layer(1, 0), "h", 200_000),
          (Layer(1, 2), "h", 480_000), (Layer(2, 2), "f", 1_700_000)]  # fmt: skip


class Plane:
    """One transport whose path takes what `path_bps` says: every packet arrives, none late."""

    def __init__(self) -> None:
        self.events: list[PlaneEvent] = []
        self.targets: dict[SubscriptionKey, Layer | None] = {}
        self.probes: list[Probe] = []
        self.paces: list[int] = []
        self.bytes = 0
        self.free_us = 0
        self.flowing: Sequence[tuple[Layer, str, int]] = LAYERS
        self.stats = SubscriptionStats()

    def poll_events(self) -> list[PlaneEvent]:
        events, self.events = self.events, []
        return events

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        return self.flowing

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        sizes = {"q": (320, 180), "h": (640, 360), "f": (1280, 720)}
        return [EncodingStats(rid, 1, True, width=w, height=h) for rid, (w, h) in sizes.items()]

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        self.targets[subscription] = target

    def subscription_stats(self, subscription: SubscriptionKey) -> SubscriptionStats:
        return self.stats

    def set_estimate(self, transport: TransportKey, estimate_bps: int) -> None:
        self.paces.append(estimate_bps)

    def sent_bytes(self, transport: TransportKey) -> int:
        return self.bytes

    def send_probe(self, transport: TransportKey, probe: Probe, now_us: int) -> None:
        self.probes.append(probe)

    def deliver(self, now_us: int, bps: int, path_bps: int) -> None:
        """100 ms of packets at `bps`, through a path that takes `path_bps` and queues half a second."""
        count = max(bps // 10 // 8 // 1200, 1)
        sent = [now_us - 100_000 + each * 100_000 // count for each in range(count)]
        arrivals: list[int | None] = []
        for sent_us in sent:
            if self.free_us - sent_us > 500_000:
                arrivals.append(None)
                continue
            self.free_us = max(self.free_us, sent_us) + 1200 * 8_000_000 // path_bps
            arrivals.append(self.free_us + 20_000)
        results = tuple(
            BurstResult(sent_us, arrival_us, 1200) for sent_us, arrival_us in zip(sent, arrivals, strict=True)
        )
        self.bytes += 1200 * count
        self.events.append(TransportFeedback(VIEWER, results))


def made(*, transport: TransportKey | None = VIEWER) -> tuple[Plane, Policy]:
    plane = Plane()
    policy = Policy(cast(MediaPlane, plane), 500 * MS)
    policy.add_publication(CAMERA, "video")
    policy.add_subscription(VIEW, CAMERA, transport=transport)
    return plane, policy


def run(policy: Policy, plane: Plane, seconds: float, *, bps: int, path_bps: int) -> list[Notice]:
    notices: list[Notice] = []
    for step in range(1, int(seconds * 50)):
        now_us = 1_000_000 + step * 20_000
        if step % 5 == 0:
            plane.deliver(now_us, bps, path_bps)
        notices += policy.tick(now_us)
    return notices


def test_the_first_picture_is_the_smallest_and_waits_for_nothing() -> None:
    plane, policy = made()
    assert plane.targets == {VIEW: LOWEST}
    policy.tick(1_000_000)
    assert plane.targets[VIEW] is not None


def test_reports_that_wait_for_policy_are_taken_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Sequence[BurstResult]] = []
    monkeypatch.setattr(Viewer, "on_feedback", lambda viewer, results, now_us: taken.append(results))
    plane, policy = made()
    first, second, third = (BurstResult(each, each + 2, 3) for each in range(3))
    plane.events += [TransportFeedback(VIEWER, (first, second)), TransportFeedback(VIEWER, (third,))]
    policy.tick(1_000_000)
    assert taken == [[first, second, third]]


def test_without_feedback_nothing_is_limited() -> None:
    plane, policy = made(transport=None)
    policy.tick(1_000_000)
    target = plane.targets[VIEW]
    assert target is not None
    assert target.spatial >= 2
    why = policy.explain(VIEW)
    assert why is not None
    assert (why.estimate_bps, why.reason) == (None, "source")


def test_a_narrow_path_lowers_the_layer_and_sets_the_pace() -> None:
    plane, policy = made()
    run(policy, plane, 6, bps=400_000, path_bps=160_000)
    why = policy.explain(VIEW)
    assert why is not None
    assert why.reason == "bandwidth"
    assert why.target == plane.targets[VIEW]
    estimate_bps = why.estimate_bps
    assert estimate_bps is not None
    assert estimate_bps < 300_000
    assert plane.targets[VIEW] in (None, Layer(0, 0), Layer(0, 2))
    assert plane.paces[-1] == estimate_bps
    assert plane.probes


def test_what_does_not_fit_is_paused_for_bandwidth_by_priority() -> None:
    plane, policy = made()
    policy.add_publication(OTHER, "video")
    policy.add_subscription(SECOND, OTHER, Wish(priority=200), transport=VIEWER)
    notices = run(policy, plane, 8, bps=400_000, path_bps=50_000)
    paused = [n for n in notices if isinstance(n, SubscriptionState) and n.paused]
    assert SubscriptionState(VIEW, True, "bandwidth") in paused
    assert plane.targets[VIEW] is None


def test_a_larger_picture_never_comes_with_fewer_frames() -> None:
    plane, policy = made()
    for path_bps in (200_000, 400_000, 700_000):
        run(policy, plane, 4, bps=path_bps, path_bps=path_bps)
        assert plane.targets[VIEW] != Layer(1, 0)


def test_who_left_is_forgotten() -> None:
    plane, policy = made()
    policy.remove_subscription(VIEW)
    policy.remove_transport(VIEWER)
    plane.events.append(TransportFeedback(VIEWER, (BurstResult(1, 2, 3),)))
    policy.tick(1_000_000)
    assert plane.paces == []
    assert policy.explain(VIEW) is None


def test_what_holds_a_picture_down_is_told() -> None:
    _plane, policy = made(transport=None)
    for wish, reason in (
        (Wish(width=300, height=150), "size"),
        (Wish(paused=True), "client"),
        (Wish(), "source"),
    ):
        policy.set_wish(VIEW, wish)
        policy.tick(1_000_000)
        why = policy.explain(VIEW)
        assert why is not None
        assert why.reason == reason


@pytest.mark.parametrize("preferred", ["screen", "speaker"])
def test_screens_and_speakers_go_before_others_of_the_same_priority(preferred: str) -> None:
    plane, policy = made()
    microphone = PublicationKey(3)
    source = "screen" if preferred == "screen" else "camera"
    policy.add_publication(OTHER, "video", participant="ben", source=source)
    policy.add_subscription(SECOND, OTHER, transport=VIEWER)
    policy.add_publication(microphone, "audio", participant="ben", source="microphone")
    for step in range(1, 400):
        now_us = 1_000_000 + step * 20_000
        if preferred == "speaker":
            plane.events.append(AudioLevel(microphone, 15, 1))
        if step % 5 == 0:
            plane.deliver(now_us, 400_000, 160_000)
        policy.tick(now_us)
    first, second = plane.targets[VIEW], plane.targets[SECOND]
    assert second is not None
    assert first is None or first < second


def test_a_layer_that_has_just_begun_is_not_given_before_its_cost_is_known() -> None:
    for measured in ("q", ""):
        plane, policy = made()
        plane.flowing = [(layer, rid, bps if rid == measured else 0) for layer, rid, bps in LAYERS]
        run(policy, plane, 1, bps=200_000, path_bps=5_000_000)
        target = plane.targets[VIEW]
        # The smallest does not wait, whatever it costs.
        assert target is not None
        assert target.spatial == 0


def test_a_dip_of_the_estimate_that_nothing_bears_out_costs_no_layer() -> None:
    plane, policy = made()
    run(policy, plane, 30, bps=2_500_000, path_bps=4_000_000)
    assert plane.targets[VIEW] == Layer(2, 2)
    viewer = policy._viewers[VIEWER]
    viewer.estimator._rate.set(1_500_000, 31_000_000)
    seen = set()
    for step in range(1, 150):
        now_us = 31_000_000 + step * 20_000
        if step % 5 == 0:
            plane.deliver(now_us, 2_500_000, 4_000_000)
        policy.tick(now_us)
        seen.add(plane.targets[VIEW])
    assert seen == {Layer(2, 2)}


def test_a_path_that_became_narrow_is_given_way_to_at_once() -> None:
    plane, policy = made()
    run(policy, plane, 30, bps=2_500_000, path_bps=4_000_000)
    assert plane.targets[VIEW] == Layer(2, 2)
    fell_us = None
    for step in range(1, 100):
        now_us = 31_000_000 + step * 20_000
        if step % 5 == 0:
            plane.deliver(now_us, 2_000_000, 500_000)
        policy.tick(now_us)
        target = plane.targets[VIEW]
        if fell_us is None and (target is None or target.spatial < 2):
            fell_us = now_us
    assert fell_us is not None
    assert fell_us - 31_000_000 < 1_000_000


def test_the_smallest_picture_is_kept_a_little_beyond_the_estimate() -> None:
    plane, policy = made()
    run(policy, plane, 10, bps=100_000, path_bps=2_000_000)
    viewer = policy._viewers[VIEWER]
    targets = {}
    for estimate_bps in (50_000, 31_000):
        viewer.estimator._rate.set(estimate_bps, 11_000_000)
        for step in range(300):
            viewer.estimator._rate.set(estimate_bps, 11_000_000 + step * 20_000)
            policy.tick(11_000_000 + step * 20_000)
        targets[estimate_bps] = plane.targets[VIEW]
    assert targets == {50_000: Layer(0, 0), 31_000: None}


def wait(policy: Policy, first_ms: int, until_ms: int) -> None:
    for now_ms in range(first_ms, until_ms, 20):
        policy.tick(1_000_000 + now_ms * MS)


@pytest.mark.parametrize("told", ["report", "remb"])
def test_who_agreed_to_feedback_and_sends_reports_alone_is_estimated_by_those(told: str) -> None:
    plane, policy = made()
    wait(policy, 0, 2000)
    if told == "report":
        plane.stats.rtt_ms = 30.0
    else:
        plane.events.append(RembReceived(VIEWER, 5_000_000, (VIEW,)))
    wait(policy, 2000, 4000)
    assert plane.targets[VIEW] in (LOWEST, Layer(0, 2)), "feedback may still come"
    wait(policy, 4000, 6000)
    target = plane.targets[VIEW]
    assert target is not None
    assert target.spatial >= 2
    assert plane.paces[-1] >= 1_000_000_000, "nothing is held back for an estimate that was none"
    plane.deliver(7_100_000, 400_000, 10_000_000)
    wait(policy, 6000, 6400)
    why = policy.explain(VIEW)
    assert why is not None
    assert why.estimate_bps is not None, "feedback that comes late is heeded"


def test_where_nothing_is_reported_nothing_more_is_sent() -> None:
    plane, policy = made()
    wait(policy, 0, 10_000)
    assert plane.targets[VIEW] in (LOWEST, Layer(0, 2))


def test_what_an_encoding_has_cost_stays_with_it_when_encodings_change_places() -> None:
    plane, policy = made()
    for step in range(1, 600):
        now_us = 1_000_000 + step * 20_000
        if step == 450:
            plane.flowing = [
                (Layer(0, 2), "f", 100_000),
                (Layer(1, 2), "q", 140_000),
                (Layer(2, 2), "h", 480_000),
            ]
        if step % 5 == 0:
            plane.deliver(now_us, 600_000, 1_000_000)
        policy.tick(now_us)
    target = plane.targets[VIEW]
    assert target is not None
    assert target.spatial >= 2
