"""Keyframe requests through the planes: of still pictures, of impatient viewers, by PLI and by FIR."""

from __future__ import annotations

import dataclasses

import pytest
from plane_harness import (
    MS,
    Camera,
    Stage,
    Viewer,
    each_plane,  # noqa: F401 - every test runs on every plane
)

from sfu.media.plane import KeyframeWanted, Layer, PlaneEvent
from sfu.rtp.rtcp import FullIntraRequest, Goodbye, PictureLoss, RtcpPacket


def _wanted(events: list[PlaneEvent]) -> list[str]:
    return [event.rid for event in events if isinstance(event, KeyframeWanted)]


# --- still pictures ----------------------------------------------------------------------------


def test_a_still_picture_is_asked_for_when_somebody_joins() -> None:
    stage = Stage()
    early = stage.view()
    camera = Camera(stage)
    camera.send(key=True)
    stage.run(6_000)
    assert stage.plane.layers(stage.publication) == []
    late = stage.view()
    # Policy gives the smallest layer while nothing flows.
    stage.plane.set_target(late.key, Layer(0, 0))
    assert len(_wanted(stage.run(3_000))) == 3
    camera.send(key=True)
    assert len(late.media) == 2
    assert len(early.media) == 4
    assert _wanted(stage.run(200)) == []


def test_of_still_simulcast_the_largest_allowed_encoding_is_asked_for() -> None:
    stage = Stage(rids=("l", "h"))
    for ssrc, rid, width in ((1, "l", 320), (2, "h", 1280)):
        Camera(stage, ssrc=ssrc, rid=rid, width=width).send(key=True)
    stage.run(6_000)
    viewer = stage.view()
    assert set(_wanted(stage.run(100))) == {"h"}
    stage.plane.set_target(viewer.key, Layer(0, 0))
    assert set(_wanted(stage.run(1_100))) == {"l"}
    stage.plane.set_muted(stage.publication, True)
    assert _wanted(stage.run(3_000)) == []


def test_an_encoding_that_said_goodbye_is_asked_for_too() -> None:
    stage = Stage()
    Camera(stage).send(key=True)
    stage.publish_rtcp(Goodbye((0x1000,)))
    stage.run(600)
    stage.view()
    assert _wanted(stage.run(100)) == [""]


# --- impatient viewers -------------------------------------------------------------------------


def _storm(stage: Stage, camera: Camera, viewers: list[Viewer], request: object, seconds: int) -> int:
    """Requests that pass while each viewer sends ten a second, answered by the next picture."""
    passed, asked = 0, False

    def each() -> None:
        nonlocal passed, asked
        camera.send(key=asked)
        if stage.now_us // MS % 100 < 20:
            for viewer in viewers:
                stage.feedback(viewer, request(viewer))  # type: ignore[operator]
        asked = _wanted(stage.plane.poll_events()) != []
        passed += asked

    stage.run(seconds * 1000, each)
    return passed


def _pli(viewer: Viewer) -> RtcpPacket:
    return PictureLoss(1, viewer.ssrc)


def test_a_storm_of_requests_costs_four_keyframes_and_one_every_four_seconds() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    broken, fine = stage.view(), stage.view()
    stage.run(100)
    passed = _storm(stage, camera, [broken], _pli, 40)
    assert 12 <= passed <= 15
    stats = stage.plane.subscription_stats(broken.key)
    assert stats is not None
    assert stats.plis_received == 400
    # Another viewer's request is served at once.
    stage.feedback(fine, _pli(fine))
    assert _wanted(stage.plane.poll_events()) == [""]


def test_requests_that_nobody_answers_go_on() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    viewer = stage.view()
    stage.run(100)
    passed = 0
    for _ in range(30):
        stage.feedback(viewer, _pli(viewer))
        passed += len(_wanted(stage.run(100)))
    # Within a second they are the same request, which is repeated until it is answered.
    assert passed >= 25


def test_a_request_that_came_too_soon_is_served_later_unless_a_keyframe_came() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    viewer = stage.view()
    stage.run(100)
    for _ in range(4):
        stage.feedback(viewer, _pli(viewer))
        assert _wanted(stage.run(20, camera.send)) == [""]
        camera.send(key=True)
    for answered in (False, True):
        stage.feedback(viewer, _pli(viewer))
        assert _wanted(stage.run(100, camera.send)) == []
        if answered:
            camera.send(key=True)
        assert len(_wanted(stage.run(4_000, camera.send))) == (not answered)
        camera.send(key=True)


@pytest.mark.parametrize(("apart_ms", "passed"), [(500, 1), (5_000, 4)])
def test_a_fir_that_never_counts_on_is_new_after_a_while(apart_ms: int, passed: int) -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    viewer = stage.view()
    stage.run(100)
    events = []
    for _ in range(4):
        stage.feedback(viewer, FullIntraRequest(1, ((viewer.ssrc, 0),)))
        events += stage.run(apart_ms, camera.send)
        camera.send(key=True)
    assert len(_wanted(events)) == passed


def test_a_request_is_about_what_flows_until_something_smaller_is_wanted() -> None:
    stage = Stage(rids=("l", "h"))
    low = Camera(stage, ssrc=1, rid="l", width=320)
    high = Camera(stage, ssrc=2, rid="h", width=1280)
    viewer = stage.view()
    stage.plane.set_target(viewer.key, Layer(0, 7))
    for camera in (low, high):
        camera.send(key=True)
    stage.run(1_000, lambda: (low.send(), high.send()))
    stage.plane.set_target(viewer.key, Layer(1, 7))
    stage.run(40)
    stage.feedback(viewer, _pli(viewer))
    assert _wanted(stage.plane.poll_events()) == ["l"]
    high.send(key=True)
    stage.plane.set_target(viewer.key, Layer(0, 7))
    stage.run(40)
    stage.feedback(viewer, _pli(viewer))
    assert _wanted(stage.plane.poll_events()) == ["l"]


# --- towards the publisher ---------------------------------------------------------------------


def test_an_encoder_that_takes_only_fir_is_asked_by_fir() -> None:
    stage = Stage()
    camera = Camera(stage)
    camera.send(key=True)
    stage.plane.request_keyframe(stage.publication, "", stage.now_us)
    stage.plane.open_publication(stage.publication, dataclasses.replace(stage.config, fir=True))
    stage.plane.request_keyframe(stage.publication, "", stage.now_us)
    stage.plane.request_keyframe(stage.publication, "", stage.now_us)
    pli, *firs = (each for each in stage.to_publisher if isinstance(each, PictureLoss | FullIntraRequest))
    assert isinstance(pli, PictureLoss)
    assert [each.entries for each in firs if isinstance(each, FullIntraRequest)] == [
        ((camera.ssrc, 2),),
        ((camera.ssrc, 3),),
    ]
