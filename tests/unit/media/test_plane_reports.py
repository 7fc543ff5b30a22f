"""The planes' reports and feedback, and everything at once."""

from __future__ import annotations

import contextlib
import random
from itertools import pairwise

import pylibsrtp
import pytest
from plane_harness import (
    SENT_IDS,
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    make_plane,
    one_byte,
    rtp,
    vp8_payload,
)

from sfu.media.plane import (
    KeyframeWanted,
    Layer,
    TransportFeedback,
)
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportWideFeedback,
)

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
