from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.decisions import (
    HIGHEST,
    Notice,
    PublicationSized,
    SizedLayer,
    Speakers,
    SubscriptionState,
    Wish,
    wished_layer,
)
from sfu.media.plane import (
    AudioLevel,
    EncodingStarted,
    EncodingStats,
    EncodingStopped,
    KeyframeWanted,
    Layer,
    MediaPlane,
    PlaneEvent,
    PlaneFault,
    RembReceived,
)
from sfu.media.policy import Policy

CAMERA, MICROPHONE = PublicationKey(1), PublicationKey(2)
VIEW, THUMBNAIL = SubscriptionKey(10), SubscriptionKey(11)
MS = 1000


class RecordingPlane:
    """Answers what a test has put in, and keeps what policy asked for."""

    def __init__(self) -> None:
        self.events: list[PlaneEvent] = []
        self.flowing: dict[PublicationKey, list[tuple[Layer, str, int]]] = {}
        self.stats: dict[PublicationKey, list[EncodingStats]] = {}
        self.targets: list[tuple[SubscriptionKey, Layer | None]] = []
        self.requests: list[tuple[int, str]] = []

    def poll_events(self) -> list[PlaneEvent]:
        events, self.events = self.events, []
        return events

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        return self.flowing.get(publication, [])

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        return self.stats.get(publication, [])

    def subscription_stats(self, subscription: SubscriptionKey) -> None:
        return None

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        self.targets.append((subscription, target))

    def request_keyframe(self, publication: PublicationKey, rid: str, now_us: int) -> None:
        self.requests.append((now_us // MS, rid))

    def flow(self, *encodings: tuple[str, int, int]) -> None:
        """Simulcast encodings of the camera, lowest first: rid, width, height."""
        self.flowing[CAMERA] = [
            (Layer(index, 0), rid, 100_000 << index) for index, (rid, _, _) in enumerate(encodings)
        ]
        self.stats[CAMERA] = [
            EncodingStats(rid, index + 1, True, width=width, height=height)
            for index, (rid, width, height) in enumerate(encodings)
        ]


SIMULCAST = (("q", 320, 180), ("h", 640, 360), ("f", 1280, 720))


@pytest.fixture
def plane() -> RecordingPlane:
    return RecordingPlane()


@pytest.fixture
def policy(plane: RecordingPlane) -> Policy:
    policy = Policy(cast(MediaPlane, plane), 500 * MS)
    policy.add_publication(CAMERA, "video")
    policy.add_publication(MICROPHONE, "audio")
    return policy


def run(policy: Policy, until_ms: int, *, start_ms: int = 0) -> list[tuple[int, Notice]]:
    return [(now, notice) for now in range(start_ms, until_ms, 20) for notice in policy.tick(now * MS)]


SIZED = [SizedLayer(Layer(index, 0), w, h, 0) for index, (_, w, h) in enumerate(SIMULCAST)]


@pytest.mark.parametrize(
    ("width", "height", "spatial"),
    [
        (0, 0, 7),
        (1, 1, 0),
        (320, 180, 0),
        (321, 180, 1),
        (320, 181, 1),
        (0, 200, 1),
        (640, 0, 1),
        (1281, 1, 7),
    ],
)
def test_the_smallest_layer_that_covers_the_wish(width: int, height: int, spatial: int) -> None:
    assert wished_layer(SIZED, width, height) == Layer(spatial, 7)
    assert wished_layer([], width, height) == HIGHEST


def test_layers_of_unknown_size_cover_nothing() -> None:
    assert wished_layer([SizedLayer(Layer(0, 0), 0, 0, 0), *SIZED[1:]], 100, 100) == Layer(1, 7)


def test_of_several_qualities_of_the_covering_size_the_best_is_worth_having() -> None:
    layers = [SizedLayer(Layer(index, 0), w, 360, 0) for index, w in enumerate((320, 640, 640, 640, 1280))]
    assert wished_layer(layers, 600, 300) == Layer(3, 7)
    assert wished_layer(layers, 1280, 300) == Layer(4, 7)
    assert wished_layer(layers, 320, 300) == Layer(0, 7)


def test_each_subscription_is_capped_by_its_wish(plane: RecordingPlane, policy: Policy) -> None:
    plane.flow(*SIMULCAST)
    policy.add_subscription(VIEW, CAMERA)
    policy.add_subscription(THUMBNAIL, CAMERA, Wish(width=300, height=160))
    assert run(policy, 1000) == [(0, PublicationSized(CAMERA, 1280, 720))]
    assert plane.targets == [(VIEW, HIGHEST), (THUMBNAIL, Layer(0, 7))]
    policy.set_wish(THUMBNAIL, Wish(width=600, height=300))
    run(policy, 1020, start_ms=1000)
    assert plane.targets[2:] == [(THUMBNAIL, Layer(1, 7))]


def test_caps_follow_the_layers_that_flow(plane: RecordingPlane, policy: Policy) -> None:
    plane.flow(*SIMULCAST[:1])
    policy.add_subscription(VIEW, CAMERA, Wish(width=640, height=360))
    run(policy, 1000)
    plane.flow(*SIMULCAST)
    plane.events.append(EncodingStarted(CAMERA, "h", 2))
    assert run(policy, 1020, start_ms=1000) == [(1000, PublicationSized(CAMERA, 1280, 720))]
    plane.flow(SIMULCAST[0], SIMULCAST[2])
    run(policy, 1500, start_ms=1020)
    assert plane.targets == [(VIEW, HIGHEST), (VIEW, Layer(1, 7))]


def test_spatial_layers_of_one_stream_halve_in_size(plane: RecordingPlane, policy: Policy) -> None:
    plane.flowing[CAMERA] = [
        (Layer(spatial, temporal), "", 1) for spatial in range(3) for temporal in range(2)
    ]
    plane.stats[CAMERA] = [EncodingStats("", 1, True, width=1280, height=720)]
    policy.add_subscription(VIEW, CAMERA, Wish(width=500, height=300))
    run(policy, 100)
    assert plane.targets == [(VIEW, Layer(1, 7))]


def test_a_subscriber_can_pause_and_resume(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_subscription(VIEW, MICROPHONE)
    run(policy, 100)
    policy.set_wish(VIEW, Wish(paused=True))
    assert run(policy, 200, start_ms=100) == [(100, SubscriptionState(VIEW, True, "client"))]
    policy.set_wish(VIEW, Wish())
    assert run(policy, 300, start_ms=200) == [(200, SubscriptionState(VIEW, False, ""))]
    assert plane.targets == [(VIEW, HIGHEST), (VIEW, None), (VIEW, HIGHEST)]


def test_a_subscription_may_begin_paused(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_subscription(VIEW, CAMERA, Wish(paused=True))
    assert run(policy, 100) == [(0, SubscriptionState(VIEW, True, "client"))]
    assert plane.targets == [(VIEW, None)]


def test_keyframe_wishes_become_one_request_until_one_arrives(plane: RecordingPlane, policy: Policy) -> None:
    plane.flow(*SIMULCAST)
    plane.stats[CAMERA][2].keyframes = 4
    plane.events += [KeyframeWanted(CAMERA, "f", "pli"), KeyframeWanted(CAMERA, "f", "join")]
    run(policy, 600)
    assert plane.requests == [(0, "f"), (500, "f")]
    plane.stats[CAMERA][2].keyframes = 5
    run(policy, 5000, start_ms=600)
    assert len(plane.requests) == 2
    plane.events.append(KeyframeWanted(CAMERA, "f", "pli"))
    run(policy, 5100, start_ms=5000)
    assert plane.requests[2:] == [(5000, "f")]


def test_an_encoding_that_stopped_is_not_asked_for_keyframes(plane: RecordingPlane, policy: Policy) -> None:
    plane.events.append(KeyframeWanted(CAMERA, "f", "pli"))
    run(policy, 20)
    plane.events.append(EncodingStopped(CAMERA, "f"))
    run(policy, 5000, start_ms=20)
    assert plane.requests == [(0, "f")]


def test_speakers_are_noticed(plane: RecordingPlane, policy: Policy) -> None:
    heard: list[Notice] = []
    for now in range(0, 400, 20):
        plane.events.append(AudioLevel(MICROPHONE, 20, 1))
        heard += policy.tick(now * MS)
    assert all(isinstance(notice, Speakers) for notice in heard)
    assert cast(Speakers, heard[-1]).speakers[0][0] == MICROPHONE
    policy.remove_publication(MICROPHONE)
    assert Speakers(()) in [notice for _, notice in run(policy, 800, start_ms=400)]


def test_a_size_is_noticed_once_and_again_when_it_changes(plane: RecordingPlane, policy: Policy) -> None:
    plane.flow(("", 0, 0))
    assert run(policy, 400) == []
    plane.flow(("", 640, 480))
    assert [notice for _, notice in run(policy, 1000, start_ms=400)] == [PublicationSized(CAMERA, 640, 480)]
    plane.flow(("", 480, 640))
    assert [notice for _, notice in run(policy, 2000, start_ms=1000)] == [PublicationSized(CAMERA, 480, 640)]


def test_what_has_left_is_neither_steered_nor_noticed(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_subscription(VIEW, CAMERA)
    policy.add_subscription(THUMBNAIL, CAMERA)
    policy.remove_subscription(VIEW)
    policy.remove_publication(CAMERA)
    policy.remove_publication(CAMERA)
    policy.set_wish(VIEW, Wish(paused=True))
    policy.add_subscription(VIEW, CAMERA)
    plane.events += [
        KeyframeWanted(CAMERA, "f", "pli"),
        AudioLevel(CAMERA, 10, 1),
        EncodingStopped(CAMERA, "f"),
        RembReceived(TransportKey(1), 1),
    ]
    assert run(policy, 1000) == []
    assert plane.targets == []
    assert plane.requests == []


def test_a_subscription_opened_anew_is_steered_anew(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_subscription(VIEW, CAMERA)
    run(policy, 100)
    policy.add_subscription(VIEW, CAMERA, Wish(paused=True))
    run(policy, 200, start_ms=100)
    assert plane.targets == [(VIEW, HIGHEST), (VIEW, None)]


def test_a_fault_of_the_plane_is_passed_on(plane: RecordingPlane, policy: Policy) -> None:
    plane.events.append(PlaneFault(7))
    assert PlaneFault(7) in policy.tick(0)


def test_a_fault_is_told_whatever_fails_after_it_and_takes_nothing_with_it(
    plane: RecordingPlane, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(publication: PublicationKey) -> list[EncodingStats]:
        raise RuntimeError

    monkeypatch.setattr(plane, "publication_stats", fail)
    plane.events += [KeyframeWanted(CAMERA, "f", "pli"), PlaneFault(7), PlaneFault(8)]
    assert policy.tick(0) == [PlaneFault(7), PlaneFault(8)]
    with pytest.raises(RuntimeError):
        policy.tick(20 * MS)
    monkeypatch.undo()
    plane.events += [KeyframeWanted(CAMERA, "f", "pli"), PlaneFault(9)]
    assert policy.tick(40 * MS) == [PlaneFault(9)]
    assert plane.requests == []
    policy.tick(60 * MS)
    assert plane.requests == [(60, "f")]
