"""Video under loss, jitter and reordering, through the media plane, in virtual time.

A publisher and viewers that behave on the wire as browsers do are joined by links with conditions of their
own in each direction. What is held here is what a person would see: pictures keep coming.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from emulator import GilbertElliott, Network
from plane_harness import each_plane, make_plane  # noqa: F401 - every test runs on every plane
from rtp_peers import MEDIA_PT, MID_ID, RTX_PT, TWCC_ID, Vp8Publisher, Vp8Viewer, make_keys

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Codec,
    EncodingSsrcs,
    ExtensionIds,
    MediaPlane,
    PublicationConfig,
    SrtpKeys,
    SubscriptionConfig,
)
from sfu.media.policy import Policy

MS = 1000
SECOND = 1_000_000
CAMERA = PublicationKey(1)
EXTENSIONS = ExtensionIds(mid=MID_ID, transport_cc=TWCC_ID)
LOSSY: dict[str, Any] = {"delay_us": 20 * MS, "jitter_us": 50 * MS, "loss": 0.05, "reorder": 0.02}
CLEAN: dict[str, Any] = {"delay_us": 20 * MS}
JITTERY: dict[str, Any] = {**CLEAN, "jitter_us": 50 * MS}


class Router:
    """The plane's egress: each transport's datagrams go into its downlink."""

    def __init__(self) -> None:
        self.downlinks: dict[TransportKey, Any] = {}

    def send(self, transport: TransportKey, packet: bytes) -> None:
        self.downlinks[transport](packet)


@dataclass
class Call:
    network: Network
    plane: MediaPlane
    policy: Policy
    router: Router
    publisher: Vp8Publisher
    viewers: list[Vp8Viewer]

    def run(self, seconds: float) -> None:
        self.network.clock.run_for(round(seconds * SECOND))

    def add_viewer(self, up: dict[str, Any], down: dict[str, Any]) -> Vp8Viewer:
        index = len(self.viewers)
        transport, subscription = TransportKey(10 + index), SubscriptionKey(10 + index)
        keys = make_keys(random.Random(100 + index))
        clock = self.network.clock
        uplink = self.network.link(lambda data: self.plane.receive(transport, data, clock.now_us), **up)
        viewer = Vp8Viewer(keys, uplink, clock, ssrc=0x2000 + 2 * index, rtx_ssrc=0x2001 + 2 * index)
        self.router.downlinks[transport] = self.network.link(viewer.receive, **down)
        self.plane.open_transport(transport, keys)
        config = SubscriptionConfig(
            transport=transport,
            publication=CAMERA,
            mid="0",
            ssrc=viewer.ssrc,
            rtx_ssrc=viewer.rtx_ssrc,
            payload_types={MEDIA_PT: MEDIA_PT},
            rtx_payload_types={MEDIA_PT: RTX_PT},
            extensions=EXTENSIONS,
            cname="publisher",
        )
        self.plane.open_subscription(subscription, config)
        self.policy.add_subscription(subscription, CAMERA)
        self.viewers.append(viewer)
        return viewer


def open_publication(plane: MediaPlane, publisher: Vp8Publisher, keys: SrtpKeys) -> None:
    transport = TransportKey(1)
    plane.open_transport(transport, keys)
    codec = Codec(name="vp8", payload_type=MEDIA_PT, clock_rate=90_000, rtx_payload_type=RTX_PT)
    plane.open_publication(
        CAMERA,
        PublicationConfig(
            transport=transport,
            kind="video",
            mid="0",
            codecs=(codec,),
            extensions=EXTENSIONS,
            ssrcs=(EncodingSsrcs(ssrc=publisher.ssrc, rtx_ssrc=publisher.rtx_ssrc),),
            nack=True,
            transport_cc=True,
        ),
    )


def call(seed: int, up: dict[str, Any], down: dict[str, Any], *, viewers: int = 1) -> Call:
    """A publisher and viewers whose links have the conditions `up` (to the server) and `down` (from it)."""
    network = Network(seed)
    clock = network.clock
    router = Router()
    plane = make_plane(router, rng=random.Random(seed))
    policy = Policy(plane, 500 * MS)
    keys = make_keys(random.Random(99))
    uplink = network.link(lambda data: plane.receive(TransportKey(1), data, clock.now_us), **up)
    publisher = Vp8Publisher(keys, uplink, clock, seed=seed)
    router.downlinks[TransportKey(1)] = network.link(publisher.receive, **down)
    open_publication(plane, publisher, keys)
    policy.add_publication(CAMERA, "video")

    def tick() -> None:
        plane.tick(clock.now_us, clock.now_us * (1 << 32) // SECOND)
        policy.tick(clock.now_us)

    clock.every(20 * MS, tick)
    result = Call(network, plane, policy, router, publisher, [])
    for _ in range(viewers):
        result.add_viewer(up, down)
    return result


def assert_pictures_are_whole(call: Call, viewer: Vp8Viewer) -> None:
    numbers = [frame.number for frame in viewer.decoded]
    assert numbers == sorted(set(numbers))
    assert all(frame.data == call.publisher.frames[frame.number] for frame in viewer.decoded)


def test_the_models_alone_play_video_over_a_lossy_link() -> None:
    """Without a server between: what the call tests hold is not asked of the models by luck."""
    network = Network(3)
    keys = make_keys(random.Random(1))
    mirrored = SrtpKeys(profile=keys.profile, receive=keys.send, send=keys.receive)
    peers: list[Any] = []
    forward = network.link(lambda data: peers[1].receive(data), **LOSSY)
    back = network.link(lambda data: peers[0].receive(data), **LOSSY)
    publisher = Vp8Publisher(keys, forward, network.clock, seed=3)
    viewer = Vp8Viewer(mirrored, back, network.clock, ssrc=publisher.ssrc, rtx_ssrc=publisher.rtx_ssrc)
    peers += [publisher, viewer]
    network.clock.run_for(20 * SECOND)
    assert viewer.retransmissions > 50
    assert viewer.longest_stall_us(network.clock.now_us) < SECOND
    viewer.MAX_NACKS = 0
    network.clock.run_for(20 * SECOND)
    assert viewer.longest_stall_us(network.clock.now_us) > SECOND


@pytest.mark.parametrize("conditions", [CLEAN, JITTERY], ids=["steady", "jittery"])
def test_without_loss_every_packet_arrives_once_and_in_order(conditions: dict[str, Any]) -> None:
    running = call(1, conditions, conditions, viewers=2)
    running.run(10)
    running.publisher.running = False
    running.run(1)
    for viewer in running.viewers:
        assert viewer.decoded[0].number == 0
        assert len(viewer.decoded) == len(running.publisher.frames) >= 298
        assert len(viewer.media_seqs) == running.publisher.sent_packets
        assert all((later - earlier) & 0xFFFF == 1 for earlier, later in pairwise(viewer.media_seqs))
        assert (viewer.nacks, viewer.retransmissions, viewer.duplicates, viewer.plis) == (0, 0, 0, 0)
        assert_pictures_are_whole(running, viewer)
    assert running.publisher.nacked == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loss_jitter_and_reordering_never_stall_the_picture(seed: int) -> None:
    running = call(seed, LOSSY, LOSSY, viewers=2)
    running.run(30)
    for viewer in running.viewers:
        assert viewer.longest_stall_us(running.network.clock.now_us) < SECOND
        assert len(viewer.decoded) > 0.97 * len(running.publisher.frames)
        assert viewer.plis <= 3
        assert_pictures_are_whole(running, viewer)
    assert running.publisher.nacked


def test_each_viewers_loss_is_its_own() -> None:
    running = call(4, CLEAN, CLEAN)
    lossy = running.add_viewer(LOSSY, LOSSY)
    running.run(20)
    clean = running.viewers[0]
    assert (clean.nacks, clean.retransmissions, clean.duplicates) == (0, 0, 0)
    assert lossy.retransmissions > 50
    assert running.publisher.nacked == []
    for viewer in running.viewers:
        assert viewer.longest_stall_us(running.network.clock.now_us) < SECOND
        assert_pictures_are_whole(running, viewer)


def test_bursts_of_loss_are_survived() -> None:
    bursty = {**CLEAN, "burst": GilbertElliott(to_bad=0.005, to_good=0.15)}
    running = call(6, CLEAN, bursty)
    running.run(30)
    (viewer,) = running.viewers
    assert viewer.retransmissions > 50
    assert viewer.longest_stall_us(running.network.clock.now_us) < SECOND
    assert_pictures_are_whole(running, viewer)


def test_a_late_viewer_sees_a_picture_at_once() -> None:
    running = call(6, CLEAN, CLEAN)
    running.run(5)
    late = running.add_viewer(CLEAN, CLEAN)
    joined_us = running.network.clock.now_us
    running.run(1)
    # Two ticks of the server, the request's way and the keyframe's, and the keyframe's own length.
    assert late.decoded[0].at_us - joined_us < 200 * MS
    assert running.viewers[0].longest_stall_us(running.network.clock.now_us) < 100 * MS
    assert_pictures_are_whole(running, late)


def test_an_outage_of_two_seconds_is_recovered_from() -> None:
    running = call(7, CLEAN, CLEAN)
    running.run(3)
    (viewer,) = running.viewers
    downlink = running.router.downlinks[TransportKey(10)].link
    downlink.loss = 1.0
    running.run(2)
    downlink.loss = 0.0
    back_us = running.network.clock.now_us
    running.run(4)
    after = [frame.at_us for frame in viewer.decoded if frame.at_us > back_us]
    assert after
    assert after[0] - back_us < 1500 * MS
    assert_pictures_are_whole(running, viewer)


def test_sender_reports_carry_the_publishers_clock_over() -> None:
    running = call(8, CLEAN, CLEAN)
    running.run(6)
    (viewer,) = running.viewers
    assert len(viewer.reports) >= 2
    first, last = viewer.reports[0], viewer.reports[-1]
    elapsed_s = (last.ntp - first.ntp) / (1 << 32)
    elapsed_ticks = (last.rtp_ts - first.rtp_ts) & 0xFFFFFFFF
    assert elapsed_ticks == pytest.approx(elapsed_s * 90_000, rel=0.02)
    assert last.packet_count > first.packet_count
