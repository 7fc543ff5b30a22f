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
from sfu.rtp.rtcp import PictureLoss, Remb, TransportWideFeedback


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
    assert told == [loud.transport] * 32 + [quiet.transport]
    assert stage.plane.counters().dropped["event-queue-full"] == 100 - 32


def test_a_publisher_that_begins_anew_with_each_packet_is_told_of_once() -> None:
    stage = Stage()
    for number in range(300):
        stage.publish(rtp(0x5000 + number, 1, 0, vp8_payload(1, key=True)))
    assert stage.plane.poll_events() == [EncodingStarted(stage.publication, "", 0x5000 + 299)]
