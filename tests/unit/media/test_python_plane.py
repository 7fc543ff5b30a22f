"""The planes, packet by packet, through SRTP on both sides."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from itertools import pairwise

import pylibsrtp
import pytest
from plane_harness import (
    OUT_PT,
    OUT_RTX_PT,
    SEEN_IDS,
    SENT_IDS,
    VIDEO,
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    make_plane,
    one_byte,
    rtp,
    two_byte,
    vp8_payload,
)

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    AudioLevel,
    Codec,
    CurrentLayerChanged,
    EncodingStarted,
    EncodingStopped,
    KeyframeWanted,
    Layer,
    SrtpProfile,
    TransportFeedback,
)
from sfu.media.python_plane import PythonPlane
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportWideFeedback,
)
from sfu.rtp.vp8 import parse_descriptor

PROFILES: list[SrtpProfile] = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES128_CM_SHA1_80"]


def pictures(packets: list) -> list[int]:  # type: ignore[type-arg]
    ids = [parse_descriptor(packet.payload).picture_id for packet in packets if packet.payload]
    return [number for number in ids if number is not None]


def steps(numbers: list[int], bits: int) -> set[int]:
    return {(later - earlier) % (1 << bits) for earlier, later in pairwise(numbers)}


# --- one stream --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_every_packet_goes_through_continuously_over_wraps(profile: SrtpProfile) -> None:
    stage = Stage(profile=profile)
    viewer = stage.view(first_seq=65_300)
    camera = Camera(stage, seq=65_000, timestamp=(1 << 32) - 50_000, picture=0x7FFF - 20, tl0=250)
    camera.send(key=True)
    for _ in range(1000):
        camera.timestamp += 3000
        stage.publish(rtp(camera.ssrc, camera.seq, camera.timestamp, vp8_payload(camera.picture, size=4)))
        camera.seq += 1
        camera.picture += 1
    assert len(viewer.media) == 1002
    assert steps(viewer.seqs, 16) == {1}
    assert steps([packet.timestamp for packet in viewer.media[2:]], 32) == {3000}
    assert {packet.payload_type for packet in viewer.media} == {OUT_PT}
    assert stage.plane.counters().forwarded == len(viewer.media)


def test_loss_reordering_and_duplicates_keep_their_places() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    packets = [packet for _ in range(200) for packet in camera.frame()]
    rng = random.Random(3)
    lost = set(rng.sample(range(400), 20))
    order = sorted(range(400), key=lambda index: index + rng.random() * 8)
    for index in order:
        if index not in lost:
            stage.publish(packets[index])
            if rng.random() < 0.1:
                stage.publish(packets[index])
    assert sorted(viewer.offsets()) == [0, 1] + [index + 2 for index in range(400) if index not in lost]
    assert len(set(viewer.seqs)) == len(viewer.seqs)
    by_offset = dict(zip(viewer.offsets(), viewer.media, strict=True))
    assert all(
        by_offset[index + 2].payload == packets[index][20:] for index in range(400) if index not in lost
    )


def test_a_replayed_or_forged_datagram_is_counted_and_goes_nowhere() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    datagrams = [stage.publisher.outbound.protect(packet) for packet in camera.frame(key=True)]
    for datagram in datagrams * 2:
        stage.plane.receive(stage.transport, datagram, stage.now_us)
    forged = datagrams[0][:-1] + bytes((datagrams[0][-1] ^ 1,))
    for garbage in (forged, b"", b"\x80", bytes(12), b"\x80\xc8\x00\x00", bytes(3000)):
        stage.plane.receive(stage.transport, garbage, stage.now_us)
    stage.plane.receive(TransportKey(99), datagrams[0], stage.now_us)
    assert len(viewer.media) == 2
    dropped = stage.plane.counters().dropped
    assert dropped["srtp-replay"] == 3  # two replays, and the forgery's number is known
    assert dropped["srtp-too-long"] == 1
    assert dropped["no-transport"] == 1


def test_extensions_are_written_with_the_subscribers_ids() -> None:
    stage = Stage()
    viewer = stage.view()
    values = {SENT_IDS.mid: b"0", SENT_IDS.transport_cc: b"\x00\x01", SENT_IDS.video_orientation: b"\x02"}
    for seq, write in enumerate((one_byte, two_byte)):
        extension = write(values)
        payload = vp8_payload(seq, key=True)
        stage.publish(rtp(0x1000, seq, 5 + seq, payload, extension=extension, csrcs=(7, 8), padding=5))
    for number, packet in enumerate(viewer.media):
        assert packet.extensions == {
            SEEN_IDS.mid: b"7",
            SEEN_IDS.transport_cc: number.to_bytes(2, "big"),
            SEEN_IDS.abs_send_time: ((stage.now_us << 18) // 1_000_000 & 0xFFFFFF).to_bytes(3, "big"),
            SEEN_IDS.video_orientation: b"\x02",
        }
        assert packet.csrcs == (7).to_bytes(4, "big") + (8).to_bytes(4, "big")
        assert packet.payload == vp8_payload(number, key=True)


def test_a_long_dependency_descriptor_takes_the_two_byte_form() -> None:
    codec = Codec(name="av1", payload_type=45, clock_rate=90_000)
    stage = Stage(codecs=(codec,))
    viewer = stage.view()
    descriptor = b"\xc0\x00\x05" + bytes(40)
    extension = two_byte({SENT_IDS.mid: b"0", SENT_IDS.dependency_descriptor: descriptor})
    # An aggregation header that begins a coded video sequence, and a sequence header of one byte.
    keyframe = bytes.fromhex("280c080000002d4cffb3c6af98043010008e808208")
    stage.publish(rtp(1, 1, 1, keyframe, payload_type=45, extension=extension))
    (packet,) = viewer.media
    assert packet.extensions[SEEN_IDS.dependency_descriptor] == descriptor
    assert packet.extensions[SEEN_IDS.mid] == b"7"


def test_padding_only_packets_leave_no_gap() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for _ in range(3):
        stage.publish(rtp(camera.ssrc, camera.seq, camera.timestamp, b"", padding=200))
        camera.seq += 1
        camera.send()
    assert viewer.offsets() == list(range(8))
    late = rtp(camera.ssrc, camera.seq, camera.timestamp, b"", padding=200)
    camera.seq += 1
    camera.send()
    stage.publish(late)
    assert viewer.offsets() == [*range(8), 9, 10, 8]
    assert viewer.media[-1].payload == b""


# --- who is who --------------------------------------------------------------------------------


def test_unknown_ssrcs_are_dropped_and_do_not_pile_up() -> None:
    stage = Stage(mid="0")
    stage.plane.open_publication(PublicationKey(2), stage.config.__class__(
        transport=stage.transport, kind="video", mid="1", codecs=(VIDEO,), extensions=SENT_IDS))  # fmt: skip
    viewer = stage.view()
    for ssrc in range(500):
        stage.publish(rtp(ssrc, 1, 1, vp8_payload(1, key=True)))
    assert stage.plane.counters().dropped == {"unknown-ssrc": 500}
    assert viewer.media == []
    # One of them turns out to be known after all, by its MID; from then on it needs none.
    camera = Camera(stage, ssrc=499)
    camera.send(key=True)
    camera.with_mid = False
    camera.send()
    assert len(viewer.media) == 4


def test_a_publisher_that_changes_its_ssrc_stays_the_same_encoding() -> None:
    stage = Stage()
    viewer = stage.view()
    for number in range(50):
        camera = Camera(stage, ssrc=0x5000 + number, timestamp=90_000 * number, picture=7 * number)
        camera.send(key=True)
        stage.now_us += 33_000
    assert viewer.offsets() == list(range(100))
    assert steps(pictures(viewer.media), 15) == {0, 1}
    if isinstance(stage.plane, PythonPlane):
        assert len(stage.plane._transports[stage.transport].demux.routes) == 1
    assert len(stage.plane.publication_stats(stage.publication)) == 1


def test_a_closed_publication_is_forgotten_and_its_viewers_told() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.run(20)
    stage.plane.close_publication(stage.publication)
    camera.send()
    assert len(viewer.media) == 2
    assert CurrentLayerChanged(viewer.key, None) in stage.run(40)
    stage.plane.close_transport(viewer.transport)
    assert stage.plane.subscription_stats(viewer.key) is None
    stage.plane.set_target(viewer.key, None)
    stage.plane.request_keyframe(stage.publication, "", stage.now_us)
    stage.plane.close_subscription(SubscriptionKey(77))


# --- retransmission ----------------------------------------------------------------------------


def test_the_plane_asks_for_what_it_misses_and_takes_it_by_rtx() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    lost = camera.frame()[0]
    camera.send()
    stage.run(40)
    (nack,) = [packet for packet in stage.to_publisher if isinstance(packet, Nack)]
    assert (nack.media_ssrc, nack.lost) == (camera.ssrc, (102, 103))
    retransmission = rtp(
        0x1999, 5, camera.timestamp - 3000, (102).to_bytes(2, "big") + lost[20:], payload_type=97,
        extension=one_byte({SENT_IDS.mid: b"0"}),
    )  # fmt: skip
    stage.publish(retransmission)
    stage.publish(lost)
    assert viewer.offsets() == [0, 1, 4, 5, 2]
    assert viewer.media[-1].payload == lost[20:]
    stage.run(500)
    assert len([packet for packet in stage.to_publisher if isinstance(packet, Nack)]) > 1  # 103 is missing
    (stats,) = stage.plane.publication_stats(stage.publication)
    assert (stats.recovered, stats.duplicates, stats.lost) == (1, 1, 1)


def test_what_never_comes_is_given_up() -> None:
    stage = Stage()
    stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    camera.frame()
    camera.send()
    stage.run(1500)
    asked = [seq for packet in stage.to_publisher if isinstance(packet, Nack) for seq in packet.lost]
    assert asked.count(102) == 10
    stage.to_publisher.clear()
    stage.run(500)
    assert not any(isinstance(packet, Nack) for packet in stage.to_publisher)


def test_nacks_are_answered_by_rtx_with_numbers_of_its_own() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage, seq=65_530)
    camera.send(key=True)
    for _ in range(20):
        camera.send()
    wanted = [viewer.media[index] for index in (3, 8, 30)]
    stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(packet.seq for packet in wanted)))
    assert [(int.from_bytes(packet.payload[:2], "big"), packet.payload[2:]) for packet in viewer.rtx] == [
        (packet.seq, packet.payload) for packet in wanted
    ]
    assert steps([packet.seq for packet in viewer.rtx], 16) == {1}
    assert {packet.payload_type for packet in viewer.rtx} == {OUT_RTX_PT}
    assert [packet.timestamp for packet in viewer.rtx] == [packet.timestamp for packet in wanted]
    # Too soon again is not answered, later it is; what never was is counted.
    stage.feedback(viewer, Nack(1, viewer.ssrc, (wanted[0].seq,)))
    stage.run(20)
    stage.feedback(viewer, Nack(1, viewer.ssrc, (wanted[0].seq, viewer.seqs[0] - 1 & 0xFFFF)))
    assert len(viewer.rtx) == 4
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert (stats.nacks_received, stats.retransmitted, stats.retransmit_missed) == (6, 4, 1)


def test_without_rtx_a_nack_is_answered_with_nothing() -> None:
    stage = Stage()
    viewer = stage.view(rtx=False)
    Camera(stage).send(key=True)
    stage.feedback(viewer, Nack(1, viewer.ssrc, (viewer.seqs[0],)))
    assert (len(viewer.media), viewer.rtx) == (2, [])


def test_one_nack_is_answered_with_a_bounded_burst() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for _ in range(400):
        camera.send()
    stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs)))
    assert len(viewer.rtx) == 256


def test_retransmissions_keep_to_a_share_of_the_estimate() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for number in range(100):
        payload = vp8_payload(camera.picture + 1 + number, size=1000)
        stage.publish(rtp(camera.ssrc, camera.seq + number, camera.timestamp + 3000 * number, payload))
    stage.plane.set_estimate(viewer.transport, 200_000)

    def ask() -> None:
        stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs)))
        stage.plane.pump(stage.now_us)

    stage.run(2000, ask)
    sent = sum(len(packet.payload) for packet in viewer.rtx)
    # Three tenths of the estimate for two seconds, and half a second of it at once.
    share = 0.3 * 200_000 / 8
    assert 2 * share < sent < 2.5 * share + 1500
    assert stage.plane.counters().dropped["rtx-share"]


def test_a_packet_is_not_sent_again_before_it_can_have_arrived() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.publish_rtcp(SenderReport(camera.ssrc, 0xE0000000_00000000, camera.timestamp, 2, 200))
    stage.run(1200)
    sent = next(each for each in viewer.rtcp if isinstance(each, SenderReport))
    stage.run(200)
    block = ReportBlock(viewer.ssrc, 0, 0, 7, 0, sent.ntp >> 16 & 0xFFFFFFFF, 0)
    stage.feedback(viewer, ReceiverReport(2, (block,)))
    lost = Nack(1, viewer.ssrc, (viewer.seqs[0],))
    stage.feedback(viewer, lost)
    stage.run(100)
    stage.feedback(viewer, lost)
    assert len(viewer.rtx) == 1
    stage.run(1400)
    stage.feedback(viewer, lost)
    assert len(viewer.rtx) == 2


def test_a_keyframe_that_comes_by_itself_is_not_asked_for() -> None:
    stage = Stage()
    viewer = stage.view()
    Camera(stage).send(key=True)
    assert not any(isinstance(event, KeyframeWanted) for event in stage.run(1500))
    stage.plane.set_target(viewer.key, None)
    stage.plane.set_target(viewer.key, Layer(7, 7))
    assert sum(isinstance(event, KeyframeWanted) for event in stage.run(1500)) == 2


def test_a_keyframe_whose_first_packet_comes_late_is_still_begun_with() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    first, second = camera.frame(key=True)
    following = camera.frame()
    for packet in (second, *following, first):
        stage.publish(packet)
    assert viewer.offsets() == [0, 1, 2, 3]
    assert [packet.payload for packet in viewer.media] == [p[20:] for p in (first, second, *following)]


def test_who_comes_soon_after_a_keyframe_begins_with_it() -> None:
    stage = Stage()
    early = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    sent_us = stage.now_us
    stage.run(200, camera.send)
    late = stage.view()
    events = stage.run(20)
    assert not any(isinstance(event, KeyframeWanted) for event in events)
    camera.send()
    assert [packet.payload for packet in late.media] == [packet.payload for packet in early.media]
    assert late.offsets() == early.offsets()
    assert [packet.timestamp for packet in late.media] == [packet.timestamp for packet in early.media]
    # When it was sent is told anew: an estimator by sending times must not see a queue of 200 ms.
    marks = [int.from_bytes(p.extensions[SEEN_IDS.abs_send_time], "big") for p in late.media]
    assert min(marks) > sent_us * (1 << 18) // 1_000_000 + (1 << 18) // 6


@pytest.mark.parametrize("spoilt", ["old", "long", "incomplete", "muted", "paused"])
def test_who_cannot_begin_with_the_last_keyframe_gets_another(spoilt: str) -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    late = stage.view() if spoilt == "paused" else None
    if late is not None:
        stage.run(20)
        stage.plane.set_target(late.key, None)
    for _ in range(60 if spoilt == "long" else 2):
        camera.send()
    if spoilt == "incomplete":
        camera.frame()
        camera.send()
    if spoilt == "muted":
        stage.plane.set_muted(stage.publication, True)
        camera.send(key=True)
        stage.plane.set_muted(stage.publication, False)
    if spoilt == "old":
        stage.run(600)
    before = 0
    if late is None:
        late = stage.view()
    else:
        before = len(late.media)
        stage.plane.set_target(late.key, Layer(7, 7))
    events = stage.run(40)
    assert [
        event.rid for event in events if isinstance(event, KeyframeWanted) and event.reason != "loss"
    ] == [""]
    camera.send()
    assert len(late.media) == before
    camera.send(key=True)
    assert len(late.media) == before + 2


def test_of_what_is_lost_for_good_one_keyframe_is_asked_for() -> None:
    stage = Stage()
    stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    camera.frame()
    camera.send()
    losses = [event for event in stage.run(2000) if isinstance(event, KeyframeWanted)]
    assert losses == [KeyframeWanted(stage.publication, "", "loss")]
    # An outage, from which a keyframe leads out by itself, and one from which none does.
    camera.seq += 600
    camera.send(key=True)
    assert not any(isinstance(event, KeyframeWanted) for event in stage.run(40))
    camera.seq += 600
    camera.send()
    assert KeyframeWanted(stage.publication, "", "loss") in stage.run(40)


def test_nobody_asks_for_a_keyframe_of_what_nobody_watches() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    camera.seq += 600
    camera.send()
    assert not any(isinstance(event, KeyframeWanted) for event in stage.run(40))


# --- mute and pause ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mute", "pause"])
def test_mute_and_pause_are_continuous(how: str) -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)

    def switch(off: bool) -> None:
        if how == "mute":
            stage.plane.set_muted(stage.publication, off)
        else:
            stage.plane.set_target(viewer.key, None if off else Layer(7, 7))

    camera.send(key=True)
    camera.send()
    stage.run(20)
    switch(True)
    assert CurrentLayerChanged(viewer.key, None) in stage.run(200, camera.send)
    assert len(viewer.media) == 4
    before = viewer.media[-1]
    switch(False)
    assert KeyframeWanted(stage.publication, "", "switch") in stage.run(20)
    camera.send()
    camera.send(key=True)
    camera.send()
    assert viewer.offsets() == list(range(8))
    assert steps(pictures(viewer.media), 15) == {0, 1}
    assert steps([parse_descriptor(packet.payload).tl0_pic_idx or 0 for packet in viewer.media], 8) == {0, 1}
    assert viewer.media[4].timestamp - before.timestamp == 12 * 3000
    assert CurrentLayerChanged(viewer.key, Layer(0, 0)) in stage.run(20)


def test_audio_goes_on_after_a_mute_without_a_gap_or_a_keyframe() -> None:
    stage = Stage(kind="audio")
    viewer = stage.view()

    def say(seq: int, level: int) -> None:
        extension = one_byte({SENT_IDS.mid: b"0", SENT_IDS.audio_level: bytes((0x80 | level,))})
        stage.publish(rtp(9, seq, 960 * seq, b"opus", payload_type=111, extension=extension))

    for seq, level in ((1, 40), (2, 12), (3, 60)):
        say(seq, level)
    events = stage.plane.poll_events()
    assert AudioLevel(stage.publication, 12, 3) in events
    assert not any(isinstance(event, KeyframeWanted) for event in events)
    stage.plane.set_muted(stage.publication, True)
    say(4, 5)
    assert not any(isinstance(event, AudioLevel) for event in stage.plane.poll_events())
    assert stage.plane.counters().dropped == {"muted": 1}
    stage.plane.set_muted(stage.publication, False)
    say(5, 30)
    assert viewer.offsets() == [0, 1, 2, 3]
    assert viewer.media[-1].timestamp - viewer.media[0].timestamp == 4 * 960
    assert viewer.media[0].extensions[SEEN_IDS.audio_level] == bytes((0x80 | 40,))


@pytest.mark.parametrize(
    ("payload_types", "payload_type", "payload"),
    [
        ({63: 63, 111: 111}, 63, b"\xef\x0f\x00\x03\x6foldnew"),
        ({63: 70, 111: 100}, 70, b"\xe4\x0f\x00\x03\x64oldnew"),
        ({111: 100}, 100, b"new"),
    ],
)
def test_redundant_audio_goes_to_everybody_as_they_can_take_it(
    payload_types: dict[int, int], payload_type: int, payload: bytes
) -> None:
    red = Codec(name="red", payload_type=63, clock_rate=48_000)
    opus = Codec(name="opus", payload_type=111, clock_rate=48_000)
    stage = Stage(kind="audio", codecs=(red, opus))
    viewer = stage.view()
    config = stage.subscription(viewer, rtx=False)
    stage.plane.open_subscription(viewer.key, replace(config, payload_types=payload_types))
    for seq in range(4):
        sent = b"\xef\x0f\x00\x03\x6foldnew" if seq != 2 else b"\xef\x0f\x00\x03"
        stage.publish(rtp(9, seq, 960 * seq, sent, payload_type=63, extension=one_byte({SENT_IDS.mid: b"0"})))
    assert [(packet.payload_type, packet.payload) for packet in viewer.media] == [(payload_type, payload)] * 3
    assert viewer.offsets() == [0, 1, 3]
    assert stage.plane.counters().dropped == {"red-truncated": 1}


def test_what_was_made_for_viewers_is_not_kept_with_the_packets() -> None:
    stage, low, high = simulcast()
    viewers = [stage.view() for _ in range(5)]
    for number, viewer in enumerate(viewers):
        for _ in range(number):
            stage.plane.set_target(viewer.key, Layer(0, 7))
            low.send(key=True)
            stage.plane.set_target(viewer.key, Layer(7, 7))
            high.send(key=True)
    for viewer in viewers:
        stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs[-4:])))
        assert [packet.payload[2:] for packet in viewer.rtx] == [p.payload for p in viewer.media[-4:]]
    if not isinstance(stage.plane, PythonPlane):
        return  # others keep nothing of the kind
    for encoding in stage.plane._publications[stage.publication].encodings.values():
        for seq in range(encoding.reception.highest - 50, encoding.reception.highest + 1):
            packet = encoding.cache.get(seq)
            assert packet is None or (packet.blocks, packet.payloads) == ({}, {})


# --- layers ------------------------------------------------------------------------------------


def simulcast() -> tuple[Stage, Camera, Camera]:
    stage = Stage(rids=("h", "l"))
    low = Camera(stage, ssrc=1, rid="l", width=320, seq=60_000, timestamp=1000, picture=30_000, tl0=1)
    high = Camera(stage, ssrc=2, rid="h", width=1280, seq=5, timestamp=1 << 31, picture=9, tl0=200)
    return stage, low, high


def test_the_encoding_changes_at_a_keyframe_and_every_number_goes_on() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    low.send(key=True)
    high.send(key=True)
    assert stage.plane.layers(stage.publication)[-1][:2] == (Layer(1, 0), "h")
    low.send()
    high.send()
    stage.plane.set_target(viewer.key, Layer(0, 7))
    assert KeyframeWanted(stage.publication, "l", "switch") in stage.run(20)
    for key in (False, True, False):
        stage.now_us += 33_000
        low.send(key=key)
        high.send()
    stage.plane.set_target(viewer.key, Layer(7, 7))
    stage.now_us += 33_000
    high.send(key=True)
    assert viewer.offsets() == list(range(len(viewer.media)))
    assert steps(pictures(viewer.media), 15) == {0, 1}
    assert steps([parse_descriptor(packet.payload).tl0_pic_idx or 0 for packet in viewer.media], 8) == {0, 1}
    moved = steps([packet.timestamp for packet in viewer.media], 32)
    assert max(moved) <= 6000
    stage.run(20)
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert (stats.current, stats.current_rid) == (Layer(1, 0), "h")


def test_an_overrun_path_gets_nothing_more_of_the_larger_encoding() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    for camera in (low, high):
        camera.send(key=True)
    stage.run(20)
    high.send(key=True)
    stage.run(20)
    high.send()
    before = len(viewer.media)
    assert before
    stage.plane.set_target(viewer.key, Layer(0, 7), at_once=True)
    high.send()
    low.send()
    assert len(viewer.media) == before
    assert KeyframeWanted(stage.publication, "l", "switch") in stage.run(20)
    low.send(key=True)
    assert len(viewer.media) == before + 2
    assert steps(viewer.seqs, 16) == {1}


def test_sender_reports_align_the_timestamps_of_encodings() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    low.send(key=True)
    second = 1 << 32
    stage.publish_rtcp(SenderReport(1, 50 * second, low.timestamp, 1, 1))
    high.timestamp = 777_000 - 3000
    high.lose = True
    stage.plane.set_target(viewer.key, Layer(7, 7))
    high_first = high.frame(key=True)
    # Recognised by its report once a packet of it came; the report says 40 ms after the low one.
    stage.publish(high.frame()[0])
    stage.publish_rtcp(SenderReport(2, 50 * second + second // 25, 777_000, 1, 1))
    stage.now_us += 300_000
    for packet in high_first:
        stage.publish(packet)
    assert viewer.media[2].timestamp - viewer.media[1].timestamp == pytest.approx(3600, abs=2)


def test_a_switch_to_an_encoding_that_is_behind_says_at_once_by_how_much_its_timestamps_moved() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    second = 1 << 32
    high.timestamp = 777_000 - 3000
    low.send(key=True)
    stage.publish(high.frame()[0])
    stage.publish_rtcp(SenderReport(1, 50 * second, low.timestamp, 1, 1))
    stage.publish_rtcp(SenderReport(2, 50 * second - second // 5, high.timestamp, 1, 1))
    stage.run(200)
    before = len([each for each in viewer.rtcp if isinstance(each, SenderReport)])
    stage.plane.set_target(viewer.key, Layer(7, 7))
    high.send(key=True)
    first = viewer.media[-1]
    reports = [each for each in viewer.rtcp if isinstance(each, SenderReport)]
    assert len(reports) == before + 1
    since = (first.timestamp - reports[-1].rtp_ts + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
    captured = reports[-1].ntp / second + since / 90_000
    assert captured == pytest.approx(50 - 0.2 + 3000 / 90_000, abs=1e-3)
    assert first.timestamp > viewer.media[0].timestamp


def test_a_dead_encoding_is_left_within_half_a_second() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    low.send(key=True)
    high.send(key=True)
    stage.run(2000, lambda: (low.send(), high.send()))  # type: ignore[func-returns-value]
    died_us = stage.now_us
    seen = len(viewer.media)
    wanted: list[str] = []

    def go_on() -> None:
        low.send(key=bool(wanted))
        wanted.extend(event.rid for event in stage.plane.poll_events() if isinstance(event, KeyframeWanted))

    while len(viewer.media) == seen:
        stage.now_us += 20_000
        stage.plane.tick(stage.now_us, 0)
        go_on()
        assert stage.now_us - died_us < 500_000
    assert wanted == ["l"]
    high.send(key=True)
    low.send()
    assert viewer.offsets() == list(range(len(viewer.media)))
    assert stage.plane.layers(stage.publication)[-1][1] == "h"


def test_an_encoder_that_leaves_frames_out_after_a_keyframe_is_not_dead() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    for camera in (low, high):
        camera.send(key=True)
    stage.run(20)
    high.send(key=True)
    stage.run(1200, low.send)
    assert [rid for _, rid, _ in stage.plane.layers(stage.publication)] == ["l", "h"]
    high.send()
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert stats.current_rid == "h"


def test_who_is_capped_to_an_encoding_gets_no_larger_one_when_a_smaller_one_stalls() -> None:
    stage = Stage(rids=("h", "m", "l"))
    low = Camera(stage, ssrc=1, rid="l", width=320)
    middle = Camera(stage, ssrc=2, rid="m", width=640)
    high = Camera(stage, ssrc=3, rid="h", width=1280)
    viewer = stage.view()
    stage.plane.set_target(viewer.key, Layer(1, 7))
    for camera in (low, middle, high):
        camera.send(key=True)
    stage.run(40)
    middle.send(key=True)

    def go_on() -> None:
        middle.send()
        high.send(key=True)

    stage.run(2000, go_on)
    assert [rid for _, rid, _ in stage.plane.layers(stage.publication)] == ["m", "h"]
    assert [layer.spatial for layer, _, _ in stage.plane.layers(stage.publication)] == [1, 2]
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert stats.current_rid == "m"


def test_a_still_screen_is_not_taken_for_dead_and_a_goodbye_is() -> None:
    stage = Stage()
    stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    assert not any(isinstance(event, EncodingStopped) for event in stage.run(3000))
    stage.publish_rtcp(Goodbye((camera.ssrc,)))
    assert EncodingStopped(stage.publication, "") in stage.plane.poll_events()
    assert stage.plane.layers(stage.publication) == []
    camera.send()
    assert EncodingStarted(stage.publication, "", camera.ssrc) in stage.plane.poll_events()


def test_temporal_layers_are_left_out_without_a_gap_and_come_back_at_a_sync() -> None:
    stage = Stage()
    viewer = stage.view()
    full = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.set_target(viewer.key, Layer(0, 0))

    def four(sync: bool) -> None:
        for temporal in (2, 1, 2, 0):
            camera.send(temporal=temporal, sync=sync and temporal == 1)

    four(False)
    four(False)
    assert len(viewer.media) == 2 + 2 * 2
    assert len(full.media) == 2 + 8 * 2
    stage.plane.set_target(viewer.key, Layer(0, 1))
    four(False)
    assert len(viewer.media) == 6 + 2
    four(True)
    four(False)
    assert len(viewer.media) == 8 + 4 + 4
    assert viewer.offsets() == list(range(16))
    assert steps(pictures(viewer.media), 15) == {0, 1}
    assert full.offsets() == list(range(len(full.media)))
    stage.run(600)
    assert [layer for layer, _, _ in stage.plane.layers(stage.publication)] == [
        Layer(0, 0), Layer(0, 1), Layer(0, 2),
    ]  # fmt: skip


def test_a_nack_after_layers_were_left_out_finds_its_packet() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.set_target(viewer.key, Layer(0, 0))
    for _ in range(30):
        camera.send(temporal=1)
        camera.send()
    for packet in viewer.media:
        stage.now_us += 11_000
        stage.feedback(viewer, Nack(1, viewer.ssrc, (packet.seq,)))
    assert [packet.payload[2:] for packet in viewer.rtx] == [packet.payload for packet in viewer.media]


# --- reports and feedback ----------------------------------------------------------------------


def test_sender_reports_keep_the_publishers_clock_for_lip_sync() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    ntp = 1000 << 32
    stage.publish_rtcp(SenderReport(camera.ssrc, ntp, camera.timestamp, 2, 200))
    began_us = stage.now_us
    while not viewer.rtcp:
        stage.run(20)
        assert stage.now_us - began_us <= 200_000
    report, description = viewer.rtcp[:2]
    assert isinstance(report, SenderReport)
    assert report.packet_count == 2
    assert description == SourceDescription(((viewer.ssrc, "PA_x"),))
    elapsed = (report.ntp - ntp) / (1 << 32)
    assert elapsed == pytest.approx((stage.now_us - began_us) / 1e6, abs=1e-6)
    assert report.rtp_ts - viewer.media[0].timestamp == pytest.approx(elapsed * 90_000, abs=1)
    stage.now_us += 70_000
    block = ReportBlock(viewer.ssrc, 64, 3, 7, 900, report.ntp >> 16 & 0xFFFFFFFF, 65_536 // 50)
    stage.feedback(viewer, ReceiverReport(5, (block,)))
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert stats.rtt_ms == pytest.approx(50, abs=0.1)
    assert (stats.fraction_lost, stats.lost, stats.jitter_ms) == (0.25, 3, 10)


def test_the_publisher_gets_reports_and_transport_wide_feedback() -> None:
    stage = Stage()
    for number in range(20):
        extension = one_byte({SENT_IDS.mid: b"0", SENT_IDS.transport_cc: number.to_bytes(2, "big")})
        if number != 4:
            stage.publish(rtp(1, number, 90 * number, vp8_payload(number, key=True), extension=extension))
        stage.run(20)
    stage.run(1000)
    feedback = [packet for packet in stage.to_publisher if isinstance(packet, TransportWideFeedback)]
    arrivals = {seq: arrival for packet in feedback for seq, arrival in packet.packets}
    assert sorted(arrivals) == list(range(20))
    assert [seq for seq, arrival in arrivals.items() if arrival is None] == [4]
    blocks = [
        b for packet in stage.to_publisher if isinstance(packet, ReceiverReport) for b in packet.reports
    ]
    assert blocks[-1].ssrc == 1
    assert (blocks[-1].highest_seq, blocks[-1].lost) == (19, 1)


def test_a_subscribers_feedback_is_matched_with_what_was_sent() -> None:
    stage = Stage()
    viewer = stage.view()
    Camera(stage).send(key=True)
    stage.plane.poll_events()
    stage.feedback(viewer, TransportWideFeedback(1, viewer.ssrc, 0, 0, 64_000, ((0, 64_000), (1, None))))
    (event,) = stage.plane.poll_events()
    assert isinstance(event, TransportFeedback)
    assert event.transport == viewer.transport
    assert [(result.sent_us, result.arrival_us) for result in event.results] == [
        (stage.now_us, 64_000), (stage.now_us, None),
    ]  # fmt: skip


def test_keyframe_requests_name_the_encoding_once_for_each_request() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.poll_events()
    stage.feedback(viewer, PictureLoss(1, viewer.ssrc))
    stage.feedback(viewer, FullIntraRequest(1, ((viewer.ssrc, 4),)))
    stage.feedback(viewer, FullIntraRequest(1, ((viewer.ssrc, 4),)))
    assert stage.plane.poll_events() == [
        KeyframeWanted(stage.publication, "", "pli"),
        KeyframeWanted(stage.publication, "", "fir"),
    ]
    stage.plane.request_keyframe(stage.publication, "", stage.now_us)
    assert isinstance(stage.to_publisher[-1], PictureLoss)
    assert stage.to_publisher[-1].media_ssrc == camera.ssrc


def test_a_subscription_opened_anew_uses_no_number_twice() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.open_subscription(viewer.key, stage.subscription(viewer))
    camera.send()
    stage.plane.close_subscription(viewer.key)
    stage.plane.open_subscription(viewer.key, stage.subscription(viewer))
    camera.send(key=True)
    assert viewer.offsets() == list(range(6))


def test_another_ssrc_of_the_same_m_line_begins_far_from_where_the_last_ended() -> None:
    # aiortc has one jitter buffer for each m-line: close by, it waits for the packets between.
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for _ in range(400):
        ended = viewer.seqs[-1]
        stage.plane.close_subscription(viewer.key)
        viewer.ssrc += 1
        stage.plane.open_subscription(viewer.key, stage.subscription(viewer))
        camera.send(key=True)
        first = viewer.seqs[-2]
        assert 1000 < (first - ended & 0xFFFF) < 0xFFFF - 1000
        assert first < 0x8000 + 1000


def test_keys_may_come_after_the_subscription() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    viewer = stage.view()
    late = make_plane(stage, rng=random.Random(1))
    late.open_publication(stage.publication, stage.config)
    late.open_subscription(viewer.key, stage.subscription(viewer))
    late.open_transport(stage.transport, stage.publisher.keys)
    datagram = stage.publisher.outbound.protect(camera.frame()[0])
    late.receive(stage.transport, datagram, stage.now_us)
    for _ in range(100):
        late.tick(stage.now_us, 0)
        stage.now_us += 20_000
    # Who may never connect costs the publisher no keyframe.
    assert not any(isinstance(event, KeyframeWanted) for event in late.poll_events())
    assert viewer.media == []
    late.open_transport(viewer.transport, viewer.secured.keys)
    late.tick(stage.now_us, 0)
    assert KeyframeWanted(stage.publication, "", "join") in late.poll_events()


# --- everything at once ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_no_number_is_used_twice_and_none_is_skipped_for_long(seed: int) -> None:
    """The viewer's libsrtp refuses any number it has seen: a second use would raise here."""
    rng = random.Random(seed)
    stage = Stage(rids=("h", "l"), seed=seed)
    viewer = stage.view(first_seq=65_400)
    cameras = [
        Camera(stage, ssrc=1, rid="l", width=320, seq=65_500, picture=0x7FF0),
        Camera(stage, ssrc=2, rid="h", width=1280, timestamp=1 << 31),
    ]
    in_flight: list[bytes] = []
    for round_number in range(600):
        wanted = {event.rid for event in stage.run(20) if isinstance(event, KeyframeWanted)}
        for camera in cameras:
            temporal = rng.choice((0, 1, 2))
            key = camera.rid in wanted or round_number == 0
            in_flight += camera.frame(key=key, temporal=0 if key else temporal, sync=rng.random() < 0.3)
        rng.shuffle(in_flight)
        for packet in in_flight[rng.randrange(1, 4) :]:
            if rng.random() > 0.03:
                stage.publish(packet)
            if rng.random() < 0.03:
                stage.publish(packet)
        del in_flight[rng.randrange(1, 4) :]
        choice = rng.random()
        if choice < 0.05:
            stage.plane.set_target(viewer.key, rng.choice((None, Layer(0, 0), Layer(0, 1), Layer(7, 7))))
        elif choice < 0.08:
            stage.plane.set_muted(stage.publication, choice < 0.055)
        elif choice < 0.09:
            rng.choice(cameras).ssrc += 10
        elif choice < 0.10:
            stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs[-50:])))
    assert len(viewer.media) > 200
    assert max((b - a) & 0xFFFF for a, b in pairwise(sorted(unwrapped(viewer.seqs)))) < 40
    assert len(viewer.rtx) > 0


def unwrapped(seqs: list[int]) -> list[int]:
    numbers = [seqs[0]]
    for seq in seqs[1:]:
        numbers.append(numbers[-1] + (seq - numbers[-1] + 0x8000 & 0xFFFF) - 0x8000)
    return numbers


@pytest.mark.parametrize("seed", range(3))
def test_garbage_of_a_genuine_peer_is_counted_and_harms_nobody(seed: int) -> None:
    rng = random.Random(seed)
    stage = Stage(profile="AES128_CM_SHA1_80")
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for number in range(1500):
        packet = bytearray(camera.frame()[0])
        for _ in range(rng.randrange(4)):
            packet[rng.choice((0, rng.randrange(len(packet))))] = rng.randrange(256)
        cut = bytes(packet[: rng.choice((len(packet), rng.randrange(12, len(packet))))])
        with contextlib.suppress(pylibsrtp.Error):  # libsrtp itself refuses to protect some
            stage.publish(cut)
        compound = bytes((0x80 | rng.randrange(32), rng.choice((200, 201, 202, 203, 205, 206)), 0, 2))
        body = rng.randbytes(4) + viewer.ssrc.to_bytes(4, "big")
        for peer, transport in ((stage.publisher, stage.transport), (viewer.secured, viewer.transport)):
            datagram = peer.outbound.protect_rtcp(compound + body + rng.randbytes(rng.randrange(9)))
            stage.plane.receive(transport, datagram, stage.now_us)
        if number % 50 == 0:
            stage.run(20)
    before = len(viewer.media)
    camera.ssrc += 1
    camera.send(key=True)
    camera.send()
    assert len(viewer.media) == before + 4
    assert all(
        "-" in reason or reason in ("duplicate", "padding") for reason in stage.plane.counters().dropped
    )
