"""What policy has publishers leave out, and whom it leaves out of a large room."""

from __future__ import annotations

from typing import cast

import pytest
from test_policy import CAMERA, MS, SIMULCAST, THUMBNAIL, VIEW, RecordingPlane, run

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.decisions import LayersWanted, Notice, SubscriptionState, Wish
from sfu.media.plane import AudioLevel, EncodingStarted, EncodingStopped, Layer, MediaPlane
from sfu.media.policy import Policy

LARGE, SMALL, PAUSED = Wish(width=1280, height=720), Wish(width=300, height=160), Wish(paused=True)


@pytest.fixture
def plane() -> RecordingPlane:
    plane = RecordingPlane()
    plane.flow(*SIMULCAST)
    return plane


@pytest.fixture
def policy(plane: RecordingPlane) -> Policy:
    policy = Policy(cast(MediaPlane, plane), 500 * MS)
    policy.add_publication(CAMERA, "video", participant="ann", source="camera", rids=("q", "h", "f"))
    return policy


def wanted(notices: list[tuple[int, Notice]]) -> list[tuple[int, str]]:
    """When which encodings of the camera were wanted, in whole tenths of a second."""
    return [(now // 100, "".join(n.rids)) for now, n in notices if isinstance(n, LayersWanted)]


def test_what_nobody_watches_stops_and_comes_back_at_once(policy: Policy) -> None:
    assert wanted(run(policy, 10_000)) == [(50, "")]
    policy.add_subscription(VIEW, CAMERA, SMALL)
    assert wanted(run(policy, 11_000, start_ms=10_000)) == [(100, "q")]
    policy.set_wish(VIEW, LARGE)
    assert wanted(run(policy, 12_000, start_ms=11_000)) == [(110, "qhf")]
    policy.set_wish(VIEW, PAUSED)
    # Counted from when it was last seen to be needed.
    assert wanted(run(policy, 15_000, start_ms=12_000)) == [(138, "")]
    policy.set_wish(VIEW, LARGE)
    assert wanted(run(policy, 16_000, start_ms=15_000)) == [(150, "qhf")]
    policy.remove_subscription(VIEW)
    assert wanted(run(policy, 20_000, start_ms=16_000)) == [(178, "")]


def test_the_largest_picture_decides(policy: Policy) -> None:
    policy.add_subscription(VIEW, CAMERA, LARGE)
    policy.add_subscription(THUMBNAIL, CAMERA, SMALL)
    assert wanted(run(policy, 10_000)) == []
    policy.remove_subscription(VIEW)
    assert [rids for _, rids in wanted(run(policy, 20_000, start_ms=10_000))] == ["q"]


def test_what_has_stopped_is_remembered_by_its_size(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_subscription(VIEW, CAMERA, SMALL)
    assert wanted(run(policy, 8_000)) == [(50, "q")]
    plane.flow(*SIMULCAST[:1])
    plane.events += [EncodingStopped(CAMERA, "f"), EncodingStopped(CAMERA, "h")]
    assert wanted(run(policy, 10_000, start_ms=8_000)) == []
    why = policy.explain(VIEW)
    assert why is not None
    assert why.reason == "size", "the publisher has more, but nobody uses it"
    policy.set_wish(VIEW, Wish(width=640, height=360))
    assert wanted(run(policy, 11_000, start_ms=10_000)) == [(100, "qh")]
    plane.flow(*SIMULCAST[:2])
    plane.events.append(EncodingStarted(CAMERA, "h", 2))
    run(policy, 12_000, start_ms=11_000)
    assert plane.targets[-1] == (VIEW, Layer(1, 7))


def test_a_newcomer_has_a_moment_to_name_its_size(policy: Policy) -> None:
    policy.add_subscription(THUMBNAIL, CAMERA, SMALL)
    assert wanted(run(policy, 8_000)) == [(50, "q")]
    policy.add_subscription(VIEW, CAMERA)
    assert wanted(run(policy, 8_500, start_ms=8_000)) == []
    policy.set_wish(VIEW, SMALL)
    assert wanted(run(policy, 12_000, start_ms=8_500)) == []
    policy.set_wish(VIEW, Wish())
    assert wanted(run(policy, 13_000, start_ms=12_000)) == [(120, "qhf")]


def test_who_never_names_a_size_gets_the_largest(policy: Policy) -> None:
    policy.add_subscription(THUMBNAIL, CAMERA, SMALL)
    run(policy, 8_000)
    policy.add_subscription(VIEW, CAMERA)
    assert wanted(run(policy, 10_000, start_ms=8_000)) == [(90, "qhf")]


def test_audio_is_never_stopped(plane: RecordingPlane, policy: Policy) -> None:
    policy.add_publication(PublicationKey(2), "audio", participant="ann", source="microphone")
    stopped = [n for _, n in run(policy, 10_000) if isinstance(n, LayersWanted)]
    assert [notice.publication for notice in stopped] == [CAMERA]


def test_who_is_hidden_takes_what_is_sent_and_asks_a_publisher_for_nothing(policy: Policy) -> None:
    hidden = Wish(width=1280, height=720, silent=True)
    policy.add_subscription(VIEW, CAMERA, hidden)
    assert wanted(run(policy, 10_000)) == [(50, "")]
    policy.add_subscription(THUMBNAIL, CAMERA, SMALL)
    assert wanted(run(policy, 11_000, start_ms=10_000)) == [(100, "q")]
    policy.remove_subscription(VIEW)
    assert wanted(run(policy, 15_000, start_ms=11_000)) == []


# --- a large room ------------------------------------------------------------------------------

VIEWER = TransportKey(7)


class LargeRoom:
    """A subscriber of `people` cameras, of which it may have three, and of one screen."""

    def __init__(self, people: int = 5, last_n: int = 3) -> None:
        self.plane = RecordingPlane()
        self.policy = Policy(cast(MediaPlane, self.plane), 500 * MS, last_n=last_n)
        self.now_ms = 0
        self.paused: dict[int, str] = {}
        for person in range(people):
            self.policy.add_publication(
                PublicationKey(person), "video", participant=str(person), source="camera"
            )
            self.policy.add_publication(
                PublicationKey(100 + person), "audio", participant=str(person), source="microphone"
            )
            self.watch(person)
        self.policy.add_publication(PublicationKey(50), "video", participant="0", source="screen")
        self.watch(50)

    def watch(self, publication: int, wish: Wish | None = None) -> None:
        key = SubscriptionKey(publication)
        self.policy.add_subscription(
            key, PublicationKey(publication), wish, transport=VIEWER, per_packet=False
        )

    def passes(self, ms: int, speaker: int | None = None) -> set[int]:
        """Let time pass; the subscriptions left out then."""
        for _ in range(0, ms, 20):
            if speaker is not None:
                self.plane.events.append(AudioLevel(PublicationKey(100 + speaker), 10, 1))
            for notice in self.policy.tick(self.now_ms * MS):
                if isinstance(notice, SubscriptionState):
                    self.paused[notice.subscription] = notice.reason
            self.now_ms += 20
        return {key for key, reason in self.paused.items() if reason == "last_n"}


def test_pictures_beyond_the_limit_are_paused_and_the_screen_is_not_counted() -> None:
    assert LargeRoom().passes(100) == {3, 4}
    assert LargeRoom(last_n=0).passes(100) == set()
    assert LargeRoom(people=3).passes(100) == set()


def test_a_speaker_comes_in_at_once_and_the_longest_silent_leaves() -> None:
    room = LargeRoom()
    room.passes(100)
    assert room.passes(400, speaker=4) == {2, 3}
    assert room.passes(3000) == {2, 3}, "silence alone changes nothing"
    assert room.passes(400, speaker=0) == {2, 3}
    assert room.passes(400, speaker=1) == {2, 3}
    assert room.passes(400, speaker=3) == {2, 4}


def test_publishers_that_say_they_are_loud_hold_no_place_against_a_speaker() -> None:
    """Three who came first forge the loudest level for ever; the room shows three."""
    room = LargeRoom()

    def noise() -> None:
        for forger in range(3):
            room.plane.events.append(AudioLevel(PublicationKey(100 + forger), 0, 1))

    for _ in range(3000):
        noise()
        room.passes(20)
    assert room.passes(20) == {3, 4}
    for _ in range(50):
        noise()
        left_out = room.passes(20, speaker=4)
    assert 4 not in left_out
    assert len(left_out) == 2


def test_places_are_taken_by_what_is_shown_alone() -> None:
    room = LargeRoom()
    room.passes(100)
    room.policy.set_wish(SubscriptionKey(0), PAUSED)
    assert room.passes(100) == {4}
    assert room.paused[0] == "client"
    room.policy.set_muted(PublicationKey(1), True)
    assert room.passes(100) == set()
    room.policy.set_wish(SubscriptionKey(0), Wish(priority=200))
    assert room.passes(100) == {4}
    room.policy.remove_publication(PublicationKey(2))
    assert room.passes(100) == set()


def test_who_is_left_out_need_not_send() -> None:
    room = LargeRoom()
    stopped = set()
    for _ in range(400):
        for notice in room.policy.tick(room.now_ms * MS):
            if isinstance(notice, LayersWanted):
                stopped.add(notice.publication)
                assert notice.rids == ()
        room.now_ms += 20
    assert stopped == {3, 4}
