"""What is lost, on the way to the planes and from them."""

from __future__ import annotations

import pytest
from plane_harness import (
    OUT_RTX_PT,
    SEEN_IDS,
    SENT_IDS,
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    rtp,
    steps,
    vp8_payload,
)

from sfu.media.plane import (
    KeyframeWanted,
    Layer,
)
from sfu.rtp.rtcp import (
    Nack,
    ReceiverReport,
    ReportBlock,
    SenderReport,
)


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
