"""The planes, packet by packet, through SRTP on both sides: one stream, and who is who."""

from __future__ import annotations

import dataclasses
import random

import pytest
from plane_harness import (
    OUT_PT,
    SEEN_IDS,
    SENT_IDS,
    VIDEO,
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    pictures,
    rtp,
    steps,
    two_byte,
    vp8_payload,
)

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Codec,
    CurrentLayerChanged,
    Layer,
    SrtpProfile,
)
from sfu.media.python_plane import PythonPlane

PROFILES: list[SrtpProfile] = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES128_CM_SHA1_80"]


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
    values = {SENT_IDS.mid: b"0", SENT_IDS.transport_cc: b"\x00\x01", SENT_IDS.playout_delay: b"\0\0\1"}
    for seq, write in enumerate((one_byte, two_byte)):
        extension = write(values)
        payload = vp8_payload(seq, key=True)
        stage.publish(rtp(0x1000, seq, 5 + seq, payload, extension=extension, csrcs=(7, 8), padding=5))
    for number, packet in enumerate(viewer.media):
        assert packet.extensions == {
            SEEN_IDS.mid: b"7",
            SEEN_IDS.transport_cc: number.to_bytes(2, "big"),
            SEEN_IDS.abs_send_time: ((stage.now_us << 18) // 1_000_000 & 0xFFFFFF).to_bytes(3, "big"),
            SEEN_IDS.playout_delay: b"\0\0\1",
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


# --- a publication that is opened again --------------------------------------------------------


def _reopen(stage: Stage, number: int, **changes: object) -> None:
    """Close the publication and open its m-line as another one."""
    stage.plane.close_publication(stage.publication)
    stage.publication = PublicationKey(number)
    stage.config = dataclasses.replace(stage.config, **changes)  # type: ignore[arg-type]
    stage.plane.open_publication(stage.publication, stage.config)


def _rids(stage: Stage) -> dict[str, int]:
    return {each.rid: each.ssrc for each in stage.plane.publication_stats(stage.publication)}


def test_streams_without_mid_and_rid_are_found_again_by_a_reopened_publication() -> None:
    stage = Stage(rids=("h", "l"))
    small = Camera(stage, ssrc=0x11, rid="l", width=320)
    large = Camera(stage, ssrc=0x12, rid="h", width=1280)
    for camera in (small, large):
        camera.send(key=True)
        camera.with_mid, camera.rid = False, ""
        camera.send()
    stage.plane.close_publication(stage.publication)
    large.send()
    assert stage.plane.counters().dropped == {"unknown-ssrc": 2}
    _reopen(stage, 2)
    viewer = stage.view()
    stage.plane.set_target(viewer.key, Layer(1, 0))
    for camera in (small, large):
        camera.send(key=True)
    assert _rids(stage) == {"h": 0x12, "l": 0x11}
    assert len(viewer.media) > 0


def test_retransmissions_are_found_again_by_a_reopened_publication() -> None:
    stage = Stage()
    tag = one_byte({SENT_IDS.mid: b"0"})
    stage.publish(rtp(0x11, 1, 1, vp8_payload(1, key=True), extension=tag))
    stage.publish(rtp(0x21, 1, 1, b"\0\1" + vp8_payload(1, key=True), payload_type=97, extension=tag))
    stage.plane.open_publication(PublicationKey(9), dataclasses.replace(stage.config, mid="1"))
    _reopen(stage, 2)
    stage.publish(rtp(0x11, 2, 2, vp8_payload(2, key=True)))
    stage.publish(rtp(0x11, 4, 4, vp8_payload(4)))
    stage.publish(rtp(0x21, 2, 3, b"\0\3" + vp8_payload(3), payload_type=97))
    (stats,) = stage.plane.publication_stats(stage.publication)
    assert (stats.packets, stats.recovered, stats.lost) == (3, 1, 0)


def test_an_identity_outlives_a_change_of_codec() -> None:
    other = Codec(name="h264", payload_type=98, clock_rate=90_000)
    stage = Stage(codecs=(VIDEO,))
    stage.plane.open_publication(
        PublicationKey(9), dataclasses.replace(stage.config, mid="1", codecs=(VIDEO, other))
    )
    camera = Camera(stage, ssrc=0x11)
    camera.send(key=True)
    _reopen(stage, 2, codecs=(other,))
    stage.publish(rtp(0x11, camera.seq, 9, b"\x65\x88\x84", payload_type=98))
    assert _rids(stage) == {"": 0x11}


def test_a_publisher_may_take_another_codec_at_any_time() -> None:
    """By payload type alone. A viewer that knows one of them gets that one, in a row."""
    h264 = Codec(name="h264", payload_type=98, clock_rate=90_000)
    stage = Stage(codecs=(VIDEO, h264))
    both, one = stage.view(rtx=False), stage.view(rtx=False)
    for viewer, numbers in ((both, {96: OUT_PT, 98: OUT_PT + 2}), (one, {96: OUT_PT})):
        config = dataclasses.replace(stage.subscription(viewer, rtx=False), payload_types=numbers)
        stage.plane.open_subscription(viewer.key, config)
    camera = Camera(stage)

    def h264_frame(payload: bytes) -> None:
        camera.timestamp += 3000
        packet = rtp(camera.ssrc, camera.seq, camera.timestamp, payload, payload_type=98, marker=True)
        camera.seq += 1
        stage.publish(packet)

    camera.send(key=True)
    camera.send()
    h264_frame(b"\x78\x00\x04\x67\x42\xe0\x1f\x00\x03\x65\x88\x84")  # SPS and IDR
    h264_frame(b"\x41\x9a\x02")
    camera.send(key=True)
    camera.send()
    assert [packet.payload_type for packet in both.media] == [OUT_PT] * 4 + [OUT_PT + 2] * 2 + [OUT_PT] * 4
    assert steps([packet.seq for packet in both.media], 16) == {1}
    assert [packet.payload_type for packet in one.media] == [OUT_PT] * 8
    (stats,) = stage.plane.publication_stats(stage.publication)
    assert (stats.keyframes, stats.frames, stats.lost) == (3, 6, 0)


def test_a_stream_of_a_closed_m_line_is_not_taken_for_another_of_its_codec() -> None:
    stage = Stage(mid="0")
    camera = Camera(stage, ssrc=0x11)
    camera.send(key=True)
    camera.with_mid = False
    _reopen(stage, 2, mid="1")
    camera.send()
    assert _rids(stage) == {}
    # What it says of itself counts for more than what was known of it.
    stage.publish(rtp(0x11, 200, 9, vp8_payload(9, key=True), extension=one_byte({SENT_IDS.mid: b"1"})))
    assert _rids(stage) == {"": 0x11}


def test_identities_are_bounded() -> None:
    stage = Stage()
    stray = 0x10000
    for number in range(600):
        _reopen(stage, 2 + number, mid=str(number))
        camera = Camera(stage, ssrc=stray + number)
        camera.send(key=True)
    _reopen(stage, 1000, mid="599")
    camera.with_mid = False
    camera.send(key=True)
    assert _rids(stage) == {"": stray + 599}
    if isinstance(stage.plane, PythonPlane):
        assert len(stage.plane._transports[stage.transport].demux.identities) < 300
    # The first one is forgotten: it is taken for the only stream of its codec.
    stage.publish(rtp(stray, 200, 9, vp8_payload(9, key=True)))
    assert _rids(stage) == {"": stray}
