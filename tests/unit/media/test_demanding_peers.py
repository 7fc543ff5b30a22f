"""What peers with keys may ask too much of: each is answered, and costs others nothing."""

from __future__ import annotations

from plane_harness import (
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    rtp,
    vp8_payload,
)

from sfu.media.plane import EncodingStarted, KeyframeWanted, RembReceived, TransportFeedback
from sfu.rtp.rtcp import Nack, PictureLoss, Remb, TransportWideFeedback


def test_what_a_viewer_says_again_and_again_is_told_once_and_takes_no_others_place() -> None:
    stage = Stage()
    loud, quiet = stage.view(), stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.poll_events()
    stage.feedback(quiet, TransportWideFeedback(1, quiet.ssrc, 0, 0, 0, ((0, 0), (1, 250))))
    for _ in range(70):
        stage.feedback(loud, *[PictureLoss(1, loud.ssrc)] * 100)
        stage.feedback(loud, Remb(1, 1000, (loud.ssrc,)), Remb(1, 2000, (loud.ssrc,)))
    stats = stage.plane.subscription_stats(loud.key)
    assert stats is not None
    assert stats.plis_received == 7000
    feedback, *others = stage.plane.poll_events()
    assert isinstance(feedback, TransportFeedback)
    assert feedback.transport == quiet.transport
    assert others == [
        KeyframeWanted(stage.publication, "", "pli"),
        RembReceived(loud.transport, 2000, (loud.key,)),
    ]
    assert stage.plane.poll_events() == []


def test_reports_of_one_viewer_are_told_up_to_a_number() -> None:
    stage = Stage()
    loud, quiet = stage.view(), stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    for _ in range(50):
        camera.send()
    stage.plane.poll_events()
    for number in range(100):
        stage.feedback(loud, TransportWideFeedback(1, loud.ssrc, number, 0, 0, ((number, 0),)))
    stage.feedback(quiet, TransportWideFeedback(1, quiet.ssrc, 0, 0, 0, ((0, 0),)))
    told = [event.transport for event in stage.plane.poll_events() if isinstance(event, TransportFeedback)]
    assert told == [loud.transport] * 8 + [quiet.transport]
    assert stage.plane.counters().dropped["event-queue-full"] == 100 - 8


def test_a_publisher_that_begins_anew_with_each_packet_is_told_of_once() -> None:
    stage = Stage()
    for number in range(300):
        stage.publish(rtp(0x5000 + number, 1, 0, vp8_payload(1, key=True)))
    assert stage.plane.poll_events() == [EncodingStarted(stage.publication, "", 0x5000 + 299)]


def _clip(stage: Stage, camera: Camera, packets: int) -> None:
    """So many more packets of a kilobyte."""
    for number in range(packets):
        payload = vp8_payload(camera.picture + 1 + number, size=1000)
        stage.publish(rtp(camera.ssrc, camera.seq + number, camera.timestamp + 3000 * number, payload))
    camera.seq += packets
    camera.picture += packets
    camera.timestamp += 3000 * packets


def test_without_an_estimate_too_retransmissions_keep_to_a_share_of_what_was_sent() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    _clip(stage, camera, 500)

    def ask() -> None:
        for first in range(0, len(viewer.seqs), 200):
            stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs[first : first + 200])))

    def answered() -> int:
        return sum(len(packet.payload) for packet in viewer.rtx)

    stage.run(2000, ask)
    # What there is to begin with and 100 kbit/s: nothing is sent meanwhile.
    assert 80_000 < answered() < 64_000 + 25_000
    assert stage.plane.counters().dropped["rtx-share"]
    _clip(stage, camera, 100)
    before = answered()
    stage.run(20, ask)
    assert 30_000 - 1100 < answered() - before < 30_000 + 1100


def test_without_an_estimate_a_first_keyframe_and_ordinary_loss_are_repaired() -> None:
    stage = Stage()
    viewer = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    _clip(stage, camera, 40)
    stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs)))
    assert len(viewer.rtx) == len(viewer.media)
    # A twentieth is lost, and a twentieth of what is sent for it: 4 Mbit/s.
    for _ in range(50):
        stage.run(40, lambda: _clip(stage, camera, 10))
        stage.feedback(viewer, Nack(1, viewer.ssrc, (viewer.seqs[-1], viewer.seqs[-7])))
    assert len(viewer.rtx) == 42 + 100
    assert "rtx-share" not in stage.plane.counters().dropped
