from __future__ import annotations

import pytest

from sfu.errors import ParseError
from sfu.rtp import payload as payloads
from sfu.rtp.av1 import Av1Payload, frame_size, parse_payload

SEQUENCE = bytes.fromhex("0000002d4cffb3c6af9804")  # SVT-AV1, 1280x720
FRAME = bytes.fromhex("10008e80820810")


def unit(kind: int, body: bytes, *, layer: tuple[int, int] | None = None, sized: bool = False) -> bytes:
    head = kind << 3 | 0x04 * (layer is not None) | 0x02 * sized
    extension = bytes((layer[0] << 5 | layer[1] << 3,)) if layer is not None else b""
    return bytes((head,)) + extension + (bytes((len(body),)) if sized else b"") + body


def packet(*units: bytes, new: bool = False, continued: bool = False, count: int | None = None) -> bytes:
    """An aggregation header and the units; `count` 0 gives every unit a length."""
    count = len(units) if count is None else count
    body = b"".join(
        data if index + 1 == count else bytes((len(data),)) + data for index, data in enumerate(units)
    )
    return bytes((0x80 * continued | count << 4 | 0x08 * new,)) + body


@pytest.mark.parametrize(
    ("hexadecimal", "size"),
    [
        ("000000043cfecc6af98040", (320, 180)),
        ("0000002d4cffb3c6af9804", (1280, 720)),
        ("0000000cc503691abe6010", (642, 362)),
    ],
)
def test_frame_size_of_svt_streams(hexadecimal: str, size: tuple[int, int]) -> None:
    assert frame_size(bytes.fromhex(hexadecimal)) == size


def header(*fields: tuple[int, int]) -> bytes:
    text = "".join(f"{value:0{width}b}" for width, value in fields)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def test_timing_decoder_model_and_operating_points_are_read_over() -> None:
    fields = [(3, 0), (1, 0), (1, 0), (1, 1), (32, 1), (32, 30), (1, 1), (5, 0b00110), (1, 1)]
    fields += [(5, 9), (32, 1), (5, 1), (5, 1), (1, 1), (5, 1)]
    fields += [(12, 0x103), (5, 8), (1, 0), (1, 1), (21, 5), (1, 1), (4, 3)]
    fields += [(12, 0x101), (5, 4), (1, 0), (1, 0)]
    fields += [(4, 10), (4, 10), (11, 1919), (11, 1079)]
    assert frame_size(header(*fields)) == (1920, 1080)


def test_a_reduced_still_picture_header() -> None:
    assert frame_size(header((3, 0), (1, 1), (1, 1), (5, 4), (4, 7), (4, 6), (8, 199), (7, 99))) == (200, 100)


def test_a_new_sequence_is_a_keyframe_with_its_size() -> None:
    data = packet(unit(1, SEQUENCE), unit(6, FRAME), new=True)
    info = payloads.inspect("av1", data)
    assert (info.keyframe, info.start_of_frame, info.width, info.height) == (True, True, 1280, 720)
    for count in (0, 2):
        data = packet(unit(1, SEQUENCE, sized=True), unit(6, FRAME, layer=(1, 2)), new=True, count=count)
        assert parse_payload(data) == Av1Payload(True, True, 1, 2, SEQUENCE)


def test_frames_fragments_and_tiles() -> None:
    assert parse_payload(packet(unit(6, FRAME, layer=(2, 1)))) == (False, True, 2, 1, None)
    assert parse_payload(packet(unit(4, FRAME))) == (False, False, 0, 0, None)
    assert parse_payload(packet(FRAME, continued=True)) == (False, False, 0, 0, None)
    assert parse_payload(packet(unit(1, SEQUENCE), new=True)) == (True, True, 0, 0, SEQUENCE)


def test_an_unreadable_sequence_header_leaves_the_size_unknown() -> None:
    info = payloads.inspect("av1", packet(unit(1, b"\0\0"), new=True))
    assert (info.keyframe, info.width, info.height) == (True, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x10",
        packet(unit(6, FRAME), new=True, continued=True),
        b"\x20\x05\x30",
        b"\x20\x00\x30",
        b"\x00" + b"\xff" * 9,
        b"\x00\x80",
        b"\x10\xb0\x00",
        b"\x10\x34",
        b"\x20\x01\x08\x80",
    ],
)
def test_lengths_that_do_not_fit_are_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_payload(data)
