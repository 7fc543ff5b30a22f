"""What flows to whom: mute, pause, and layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plane_harness import (
    MS,
    SEEN_IDS,
    SENT_IDS,
    Camera,
    Stage,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    pictures,
    rtp,
    steps,
)

from sfu.media.plane import (
    AudioLevel,
    Codec,
    CurrentLayerChanged,
    EncodingStarted,
    EncodingStopped,
    KeyframeWanted,
    Layer,
)
from sfu.media.python_plane import PythonPlane
from sfu.rtp.rtcp import (
    Goodbye,
    Nack,
    SenderReport,
)
from sfu.rtp.vp8 import parse_descriptor

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


# --- qualities and paces -----------------------------------------------------------------------


@pytest.mark.parametrize("rids", [("h", "m", "l"), ("l", "m", "h"), ("m", "h", "l")])
def test_encodings_of_one_size_are_ordered_by_what_they_send(rids: tuple[str, ...]) -> None:
    stage = Stage(rids=rids)
    cameras = {rid: Camera(stage, ssrc=number, rid=rid) for number, rid in enumerate("lmh", 1)}
    frames = {"l": 1, "m": 3, "h": 8}

    def send() -> None:
        for rid, camera in cameras.items():
            for _ in range(frames[rid]):
                camera.send()

    for camera in cameras.values():
        camera.send(key=True)
    stage.run(2_000, send)
    order = [rid for _, rid, _ in stage.plane.layers(stage.publication)]
    assert order == ["l", "m", "h"]
    # The best one is paused and comes back: it has kept its place, and nobody else has taken it.
    frames["h"] = 0
    stage.run(2_000, send)
    assert [rid for _, rid, _ in stage.plane.layers(stage.publication)] == ["l", "m"]
    frames["h"] = 2
    stage.run(2_000, send)
    assert [rid for _, rid, _ in stage.plane.layers(stage.publication)] == ["l", "m", "h"]


def test_a_keyframe_of_a_still_picture_does_not_reorder_encodings_of_one_size() -> None:
    stage = Stage(rids=("l", "h"))
    low, high = Camera(stage, ssrc=1, rid="l"), Camera(stage, ssrc=2, rid="h")
    for camera, frames in ((low, 2), (high, 60)):
        for number in range(frames):
            camera.send(key=number == 0)
    stage.run(600)
    orders = set()

    def still() -> None:
        low.send()
        high.send()
        if stage.now_us // MS % 3000 == 0:
            for _ in range(20):
                low.send(key=True)
        orders.add(tuple(rid for _, rid, _ in stage.plane.layers(stage.publication)))

    stage.run(10_000, still)
    assert orders == {("l", "h")}


@pytest.mark.parametrize("interval_ms", [100, 200, 340, 1000])
def test_a_slow_encoding_is_not_taken_for_one_that_has_stopped(interval_ms: int) -> None:
    stage, low, high = simulcast()
    for camera in (low, high):
        camera.send(key=True)

    def send() -> None:
        high.send()
        if stage.now_us // MS % interval_ms == 0:
            low.send()

    # Its pace is known after two intervals.
    stage.run(2_000 + 2 * interval_ms, send)
    events = stage.run(10_000, send)
    assert [event for event in events if isinstance(event, EncodingStopped | EncodingStarted)] == []
    # Once it falls silent, it is given up in the time of two intervals.
    stopped = stage.run(max(300, 2 * interval_ms) + 40, high.send)
    assert [event.rid for event in stopped if isinstance(event, EncodingStopped)] == ["l"]


@pytest.mark.parametrize("skew_ms", [0, 300, 900, -900, 3000])
def test_reports_that_disagree_do_not_add_up_over_switches(skew_ms: int) -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    begun_us = stage.now_us
    first = {camera.ssrc: camera.timestamp for camera in (low, high)}

    def send(key: bool = False) -> None:
        for camera in (low, high):
            elapsed = (stage.now_us - begun_us) * 90 // 1000
            camera.timestamp = (first[camera.ssrc] + elapsed - 3000) & 0xFFFFFFFF
            camera.send(key=key)

    send(key=True)
    for camera, behind_ms in ((low, 0), (high, skew_ms)):
        stage.publish_rtcp(
            SenderReport(camera.ssrc, (50_000 + behind_ms << 32) // 1000, first[camera.ssrc], 1, 1)
        )
    drift = 0.0
    for number in range(40):
        stage.plane.set_target(viewer.key, Layer(number % 2, 7))
        stage.run(20)
        send(key=True)
        stage.run(400, send)
        newest = viewer.media[-1].timestamp - viewer.media[0].timestamp & 0xFFFFFFFF
        drift = newest / 90_000 - (stage.now_us - begun_us) / 1_000_000
        assert abs(drift) < 1.1
    assert skew_ms or abs(drift) < 0.1


def test_the_rid_that_is_told_is_that_of_what_flows_after_encodings_have_changed_places() -> None:
    stage, low, high = simulcast()
    viewer = stage.view()
    stage.plane.set_target(viewer.key, Layer(0, 7))

    def told_after(*encodings: Camera) -> tuple[Layer | None, str] | None:
        for _ in range(2):
            for camera in encodings:
                camera.send(key=True)
            stage.run(40)
        stats = stage.plane.subscription_stats(viewer.key)
        return (stats.current, stats.current_rid) if stats is not None else None

    assert told_after(low, high) == (Layer(0, 0), "l")
    high.width = 160
    assert told_after(low, high) == (Layer(0, 0), "h")
    high.width = 1280
    assert told_after(low, high) == (Layer(0, 0), "l")
