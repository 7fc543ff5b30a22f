"""Picture ids of both widths and both codecs go on over switches and wraps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from plane_harness import (
    SENT_IDS,
    Stage,
    Viewer,
    each_plane,  # noqa: F401 - every test runs on every plane
    one_byte,
    rtp,
)

from sfu.media.plane import Codec, Layer
from sfu.rtp import vp8, vp9
from sfu.rtp.sequence import PictureNumbers

CODECS = {name: Codec(name=name, payload_type=96, clock_rate=90_000) for name in ("vp8", "vp9")}


def picture_field(picture: int, bits: int) -> bytes:
    return bytes((picture & 0x7F,)) if bits == 7 else (0x8000 | picture & 0x7FFF).to_bytes(2, "big")


def vp8_frame(picture: int, bits: int, key: bool) -> bytes:
    """One packet, one frame, without TL0PICIDX. Spec: RFC 7741 section 4.2."""
    start = bytes.fromhex("d0c3009d012a80026801") if key else b"\xb1\x01\x00"
    return b"\x90\x80" + picture_field(picture, bits) + start


def vp9_frame(picture: int, bits: int, key: bool) -> bytes:
    """One packet, one frame, neither layers nor flexible mode. Spec: RFC 9628 section 4.2."""
    return bytes((0x8C if key else 0xCC,)) + picture_field(picture, bits) + bytes(20)


def picture_of(codec: str, payload: bytes) -> int:
    found = vp8.parse_descriptor(payload) if codec == "vp8" else vp9.parse_descriptor(payload)
    assert found.picture_id is not None
    return found.picture_id


@pytest.mark.parametrize("bits", [7, 15])
@pytest.mark.parametrize("codec", ["vp8", "vp9"])
def test_picture_ids_go_on_over_switches_and_wraps(codec: str, bits: int) -> None:
    stage = Stage(codecs=(CODECS[codec],), rids=("l", "h"))
    viewer = stage.view()
    frame = vp8_frame if codec == "vp8" else vp9_frame
    first = {"l": (1 << bits) - 10, "h": 3}
    for number in range(200):
        if number % 20 == 0:
            stage.plane.set_target(viewer.key, Layer(number // 20 % 2, 7))
        for ssrc, rid in enumerate(first, 1):
            extension = one_byte({SENT_IDS.mid: b"0", SENT_IDS.rid: rid.encode()})
            payload = frame(first[rid] + number, bits, number % 10 == 0)
            stage.publish(rtp(ssrc, number, 3000 * number, payload, marker=True, extension=extension))
        stage.run(20)
    assert viewer.offsets() == list(range(len(viewer.media)))
    assert len(viewer.media) > 190
    ids = [picture_of(codec, packet.payload) for packet in viewer.media]
    assert {(later - earlier) % (1 << bits) for earlier, later in pairwise(ids)} == {1}
    assert {len(packet.payload) for packet in viewer.media} == {
        len(frame(0, bits, True)),
        len(frame(0, bits, False)),
    }


@pytest.mark.parametrize("bits", [7, 15])
def test_a_lost_picture_leaves_its_number_free(bits: int) -> None:
    stage = Stage(codecs=(CODECS["vp8"],))
    viewer = stage.view()
    extension = one_byte({SENT_IDS.mid: b"0"})
    order = [0, 1, 2, 5, 6, 4, 9]
    for number in order:
        payload = vp8_frame(126 + number, bits, number == 0)
        stage.publish(rtp(1, number, 3000 * number, payload, marker=True, extension=extension))
    seen = [picture_of("vp8", packet.payload) for packet in viewer.media]
    assert [(picture - seen[0]) % (1 << bits) for picture in seen] == order
    assert viewer.offsets() == order


class Source:
    """One VP8 stream whose picture ids go where a test sends them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.number = 0

    def packet(self, picture: int, bits: int = 15, *, key: bool = False, number: int = -1) -> bytes:
        if number < 0:
            number, self.number = self.number, self.number + 1
        extension = one_byte({SENT_IDS.mid: b"0"})
        payload = vp8_frame(picture, bits, key)
        return rtp(1, number, 3000 * number, payload, marker=True, extension=extension)

    def send(self, picture: int, bits: int = 15, *, key: bool = False, number: int = -1) -> None:
        self.stage.publish(self.packet(picture, bits, key=key, number=number))


def _seen(viewer: Viewer) -> list[int]:
    ids = [picture_of("vp8", packet.payload) for packet in viewer.media]
    return [(picture - ids[0]) % (1 << 15) for picture in ids]


def test_picture_ids_that_widen_go_on() -> None:
    stage = Stage(codecs=(CODECS["vp8"],))
    viewer = stage.view()
    source = Source(stage)
    for picture in range(100, 300):
        source.send(picture, 7 if picture < 128 else 15, key=picture == 100)
    assert _seen(viewer) == list(range(200))


@pytest.mark.parametrize("restart", [0, 90, 4000, 4990, 5030, 8700, 20_000, 32_000])
@pytest.mark.parametrize("key", [True, False])
def test_picture_ids_that_start_anew_go_on(restart: int, key: bool) -> None:
    stage = Stage(codecs=(CODECS["vp8"],))
    viewer = stage.view()
    source = Source(stage)
    for picture in range(5000, 5030):
        source.send(picture, key=picture == 5000)
    for picture in range(restart, restart + 30):
        source.send(picture, key=key and picture == restart)
    assert _seen(viewer) == list(range(60))
    assert stage.plane.counters().dropped == {}


def test_late_packets_of_before_and_after_a_restart_find_their_pictures() -> None:
    stage = Stage(codecs=(CODECS["vp8"],))
    viewer = stage.view()
    source = Source(stage)
    order = [0, 1, 2, 3, 5, 7, 8, 11, 6, 4, 10, 9]
    for number in order:
        picture = 5000 + number if number < 8 else 70 + number
        source.send(picture, key=number in (0, 8), number=number)
    assert _seen(viewer) == order
    assert viewer.offsets() == order


def test_packets_that_have_no_number_are_counted() -> None:
    stage = Stage(codecs=(CODECS["vp8"],))
    viewer = stage.view()
    source = Source(stage)
    source.number = 1
    early = source.packet(4999, number=0)
    source.send(5000, key=True)
    stage.publish(early)
    assert len(viewer.media) == 1
    assert sum(stage.plane.counters().dropped.values()) == 1


def test_a_picture_from_before_the_first_one_has_the_number_before() -> None:
    numbers = PictureNumbers()
    first = numbers.number(100, 15, 1000, 9000, newest=True)
    assert numbers.number(99, 15, 998, 6000, newest=False) == first - 1
