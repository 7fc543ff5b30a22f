"""Scalable streams: layers dropped at the server, what is left decodes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from plane_harness import SENT_IDS, Stage, Viewer, each_plane  # noqa: F401 - every test runs on every plane
from svc_camera import AV1, VP9, Decoded, SvcCamera, decode

from sfu.media.plane import Codec, CurrentLayerChanged, KeyframeWanted, Layer
from sfu.rtp.rtcp import Nack

MODES = [
    pytest.param({"codec": VP9, "key_mode": True}, id="vp9-key"),
    pytest.param({"codec": VP9, "key_mode": False}, id="vp9-full"),
    pytest.param({"codec": VP9, "key_mode": True, "flexible": True}, id="vp9-flexible"),
    pytest.param({"codec": AV1, "key_mode": True}, id="av1-key"),
    pytest.param({"codec": AV1, "key_mode": False}, id="av1-full"),
]


def made(codec: Codec = VP9, **options: object) -> tuple[Stage, SvcCamera, Viewer]:
    stage = Stage(codecs=(codec,))
    return stage, SvcCamera(stage, codec, **options), stage.view()  # type: ignore[arg-type]


def show(stage: Stage, camera: SvcCamera, pictures: int, *, key: bool = False) -> None:
    """That many pictures, 40 ms apart."""
    for number in range(pictures):
        camera.send(key=key and not number)
        stage.run(40)


def watched(viewer: Viewer) -> Decoded:
    """What the viewer decodes; its numbers must be without gaps."""
    assert {later - earlier for earlier, later in pairwise(viewer.offsets())} <= {1}
    return decode([packet for packet in viewer.media if packet.payload])


@pytest.mark.parametrize("mode", MODES)
def test_everybody_gets_all_layers_unless_capped(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 8, key=True)
    assert watched(viewer).pictures == [(0, 1, 2)] * 8
    layers = stage.plane.layers(stage.publication)
    assert [layer for layer, _, _ in layers] == [Layer(s, t) for s in range(3) for t in range(3)]


@pytest.mark.parametrize("mode", MODES)
def test_rates_of_layers_include_what_they_depend_on(mode: dict[str, object]) -> None:
    stage, camera, _ = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 60, key=True)
    rates = {layer: bps for layer, _, bps in stage.plane.layers(stage.publication)}
    top = rates[Layer(2, 2)]
    assert rates[Layer(0, 2)] == pytest.approx(top / 3, rel=0.1)
    assert rates[Layer(1, 2)] == pytest.approx(top * 2 / 3, rel=0.1)
    assert rates[Layer(2, 0)] == pytest.approx(top / 4, rel=0.2)
    (stats,) = stage.plane.publication_stats(stage.publication)
    assert stats.bitrate_bps == top


@pytest.mark.parametrize("mode", MODES)
def test_a_smaller_picture_begins_with_the_next_one_and_a_larger_with_a_keyframe(
    mode: dict[str, object],
) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 4, key=True)
    stage.plane.set_target(viewer.key, Layer(0, 7))
    show(stage, camera, 4)
    stage.plane.set_target(viewer.key, Layer(1, 7))
    show(stage, camera, 4)
    show(stage, camera, 4, key=True)
    stage.plane.set_target(viewer.key, Layer(2, 7))
    show(stage, camera, 4, key=True)
    shown = watched(viewer).pictures
    assert shown == [(0, 1, 2)] * 4 + [(0,)] * 8 + [(0, 1)] * 4 + [(0, 1, 2)] * 4


@pytest.mark.parametrize("mode", MODES)
def test_fewer_frames_at_once_and_more_where_the_codec_allows(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 8, key=True)
    stage.plane.set_target(viewer.key, Layer(1, 0))
    show(stage, camera, 8, key=True)
    stage.plane.set_target(viewer.key, Layer(1, 1))
    show(stage, camera, 8)
    stage.plane.set_target(viewer.key, Layer(1, 2))
    show(stage, camera, 8)
    decoded = watched(viewer)
    assert decoded.ids == [*range(1, 9), 9, 13, 17, 19, 21, 23, *range(25, 33)]
    assert set(decoded.pictures[8:]) == {(0, 1)}


def test_picture_ids_of_vp9_keep_their_distances() -> None:
    stage, camera, viewer = made()
    stage.plane.set_target(viewer.key, Layer(0, 1))
    show(stage, camera, 60, key=True)
    ids = watched(viewer).picture_ids
    assert {(later - earlier) % 0x8000 for earlier, later in pairwise(ids)} == {2}


def test_what_flows_is_told_by_layer() -> None:
    stage, camera, viewer = made()
    stage.plane.set_target(viewer.key, Layer(1, 7))
    show(stage, camera, 8, key=True)
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert stats.current == Layer(1, 2)
    stage.plane.set_target(viewer.key, Layer(0, 7))
    camera.send()
    changed = [event for event in stage.run(200) if isinstance(event, CurrentLayerChanged)]
    assert changed[-1].layer == Layer(0, 2)
    assert len(viewer.media) == 8 * 4 + 2


@pytest.mark.parametrize("mode", MODES)
def test_a_keyframe_is_asked_for_to_climb_and_only_then(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    stage.plane.set_target(viewer.key, Layer(0, 7))
    show(stage, camera, 8, key=True)

    def wanted(events: list[object]) -> list[str]:
        return [event.reason for event in events if isinstance(event, KeyframeWanted)]

    stage.plane.poll_events()
    assert wanted(list(stage.run(500, camera.send))) == []
    stage.plane.set_target(viewer.key, Layer(2, 7))
    assert wanted(list(stage.run(100, camera.send))) == ["switch"]
    camera.send(key=True)
    assert wanted(list(stage.run(2000, camera.send))) == []
    assert watched(viewer).pictures[-1] == (0, 1, 2)


def test_a_layer_that_comes_no_more_is_left_and_not_waited_for() -> None:
    stage, camera, viewer = made()
    show(stage, camera, 8, key=True)
    stage.run(480, lambda: camera.send(layers=2))
    assert [layer.spatial for layer, _, _ in stage.plane.layers(stage.publication)][-1] == 1
    stats = stage.plane.subscription_stats(viewer.key)
    assert stats is not None
    assert stats.current is not None
    assert stats.current.spatial == 1
    stage.plane.set_target(viewer.key, Layer(0, 7))
    stage.run(40, lambda: camera.send(layers=2))
    stage.plane.set_target(viewer.key, Layer(2, 7))
    camera.send(key=True, layers=2)
    events = stage.run(1500, lambda: camera.send(layers=2))
    assert not [event for event in events if isinstance(event, KeyframeWanted)]
    assert watched(viewer).pictures[-1] == (0, 1)
    camera.send(key=True)
    stage.run(40)
    assert watched(viewer).pictures[-1] == (0, 1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_a_retransmission_bears_the_marker_as_the_packet_did(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    stage.plane.set_target(viewer.key, Layer(1, 7))
    show(stage, camera, 4, key=True)
    stage.feedback(viewer, Nack(1, viewer.ssrc, tuple(viewer.seqs)))
    again = {int.from_bytes(packet.payload[:2], "big"): packet for packet in viewer.rtx}
    assert {seq: packet.marker for seq, packet in again.items()} == {
        packet.seq: packet.marker for packet in viewer.media
    }
    assert all(again[packet.seq].payload[2:] == packet.payload for packet in viewer.media)


@pytest.mark.parametrize("mode", MODES)
def test_a_newcomer_begins_with_a_recent_keyframe_at_its_own_layer(mode: dict[str, object]) -> None:
    stage, camera, _ = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 4, key=True)
    late = stage.view()
    stage.plane.set_target(late.key, Layer(1, 7))
    show(stage, camera, 4)
    assert watched(late).pictures == [(0, 1)] * 8


@pytest.mark.parametrize("mode", MODES)
def test_reordered_packets_find_their_place(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    stage.plane.set_target(viewer.key, Layer(1, 7))
    for number in range(12):
        packets = camera.frame(key=not number)
        # The last of the wanted layer comes after one that nobody gets.
        packets[3], packets[4] = packets[4], packets[3]
        for packet in packets:
            stage.publish(packet)
        stage.run(40)
    first = viewer.seqs[0]
    viewer.media.sort(key=lambda packet: (packet.seq - first) & 0xFFFF)
    decoded = decode([packet for packet in viewer.media if packet.payload])
    assert decoded.pictures == [(0, 1)] * 12


@pytest.mark.parametrize("top", [1, 2])
@pytest.mark.parametrize("mode", MODES)
def test_a_late_packet_of_a_layer_just_left_completes_its_picture(mode: dict[str, object], top: int) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    stage.plane.set_target(viewer.key, Layer(top, 7))
    show(stage, camera, 4, key=True)
    packets = camera.frame()
    late = packets.pop(2 * top + 1)
    for packet in packets:
        stage.publish(packet)
    stage.plane.set_target(viewer.key, Layer(0, 7))
    show(stage, camera, 2)
    stage.publish(late)
    first = viewer.seqs[0]
    viewer.media.sort(key=lambda packet: (packet.seq - first) & 0xFFFF)
    assert watched(viewer).pictures == [tuple(range(top + 1))] * 5 + [(0,)] * 2


def test_sizes_are_told_for_each_layer() -> None:
    stage, camera, _ = made()
    show(stage, camera, 1, key=True)
    (stats,) = stage.plane.publication_stats(stage.publication)
    assert stats.sizes == camera.sizes
    assert (stats.width, stats.height) == (1280, 720)


def test_av1_without_a_descriptor_is_never_cut() -> None:
    stage, camera, viewer = made(AV1)
    ids = replace(SENT_IDS, dependency_descriptor=0)
    stage.plane.open_publication(stage.publication, replace(stage.config, extensions=ids))
    stage.plane.set_target(viewer.key, Layer(0, 0))
    show(stage, camera, 4, key=True)
    assert watched(viewer).pictures == [(0, 1, 2)] * 4


SIMULCAST = [
    pytest.param({"codec": VP9, "simulcast": True}, id="vp9"),
    pytest.param({"codec": VP9, "simulcast": True, "flexible": True}, id="vp9-flexible"),
    pytest.param({"codec": AV1, "simulcast": True}, id="av1"),
]


@pytest.mark.parametrize("mode", SIMULCAST)
def test_of_simulcast_within_a_stream_each_viewer_gets_one_layer(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    middle = stage.view()
    stage.plane.set_target(middle.key, Layer(1, 7))
    show(stage, camera, 8, key=True)
    assert watched(viewer).pictures == [(0, 1, 2)] + [(2,)] * 7
    assert watched(middle).pictures == [(0, 1)] + [(1,)] * 7


@pytest.mark.parametrize("mode", SIMULCAST)
def test_of_simulcast_within_a_stream_another_layer_begins_with_a_keyframe(mode: dict[str, object]) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 4, key=True)
    stage.plane.poll_events()
    shown = [(0, 1, 2)] + [(2,)] * 3
    for spatial in (0, 1, 2):
        stage.plane.set_target(viewer.key, Layer(spatial, 7))
        events = stage.run(40, camera.send)
        assert [event.reason for event in events if isinstance(event, KeyframeWanted)] == ["switch"]
        show(stage, camera, 3, key=True)
        shown += [shown[-1][-1:]] * 2 + [tuple(range(spatial + 1))] + [(spatial,)] * 2
        events = stage.run(1020, camera.send)
        assert not [event for event in events if isinstance(event, KeyframeWanted)]
        shown += [(spatial,)] * 51
    assert watched(viewer).pictures == shown


@pytest.mark.parametrize("mode", SIMULCAST)
def test_of_simulcast_within_a_stream_a_layer_costs_what_it_sends(mode: dict[str, object]) -> None:
    stage, camera, _ = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 60, key=True)
    rates = {layer: bps for layer, _, bps in stage.plane.layers(stage.publication)}
    (stats,) = stage.plane.publication_stats(stage.publication)
    for spatial in range(3):
        assert rates[Layer(spatial, 2)] == pytest.approx(stats.bitrate_bps / 3, rel=0.1)


@pytest.mark.parametrize("mode", SIMULCAST)
def test_of_simulcast_within_a_stream_a_layer_that_ends_is_left_with_a_keyframe(
    mode: dict[str, object],
) -> None:
    stage, camera, viewer = made(**mode)  # type: ignore[arg-type]
    show(stage, camera, 8, key=True)
    events = stage.run(600, lambda: camera.send(layers=2))
    assert "switch" in [event.reason for event in events if isinstance(event, KeyframeWanted)]
    camera.send(key=True, layers=2)
    stage.run(100, lambda: camera.send(layers=2))
    assert watched(viewer).pictures[-2:] == [(1,)] * 2
