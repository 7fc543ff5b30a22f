from __future__ import annotations

import pytest

from sfu.errors import ParseError
from sfu.rtp import payload as payloads
from sfu.rtp.h264 import frame_size, parse_payload

SPS = bytes.fromhex("6764001facb200a00b7420000003002000000791e30649")
PPS = bytes.fromhex("68ebc3cb22c0")
IDR = bytes.fromhex("65888404") + bytes(20)
SLICE = bytes.fromhex("419a2211") + bytes(20)


def aggregate(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


@pytest.mark.parametrize(
    ("hexadecimal", "size"),
    [
        ("6764000dacb202833f3c20000003002000000791e28549", (320, 180)),
        ("6764001facb200a00b7420000003002000000791e30649", (1280, 720)),
        ("6764001eacb201485fc44908000003000800000301e478b17240", (642, 362)),
        ("6742c028d900780227e584000003000400000300f23c60c920", (1920, 1080)),
        ("674d4028d900780227e584000003000400000300f23c60c920", (1920, 1080)),
        ("67640028acb200f0044fcb08000003000800000301e478c19240", (1920, 1080)),
    ],
)
def test_frame_size_of_x264_streams(hexadecimal: str, size: tuple[int, int]) -> None:
    assert frame_size(bytes.fromhex(hexadecimal)) == size


class Bits:
    """Writes the fields of a parameter set."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, width: int, value: int) -> Bits:
        self.text += f"{value:0{width}b}" if width else ""
        return self

    def ue(self, *values: int) -> Bits:
        for value in values:
            self.text += "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"
        return self

    def data(self) -> bytes:
        text = self.text + "1"
        return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def test_interlaced_4_4_4_with_scaling_lists_and_picture_order_type_1() -> None:
    bits = Bits().u(8, 244).u(16, 40).ue(0, 3).u(1, 0).ue(0, 0).u(1, 0).u(1, 1)
    # The first list has one delta that ends it (se -8 from 8), the second is whole, the others are absent.
    bits.u(1, 1).ue(16).u(1, 1)
    for _ in range(16):
        bits.ue(0)
    for _ in range(10):
        bits.u(1, 0)
    bits.ue(0, 1).u(1, 0).ue(0, 0, 2, 5, 6)
    bits.ue(4).u(1, 0).ue(39, 16).u(1, 0).u(1, 0).u(1, 1).u(1, 1).ue(1, 2, 3, 4)
    assert frame_size(b"\x67" + bits.data()) == (640 - 3, 544 - 14)


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_short_parameter_set_is_refused_and_leaves_the_size_unknown(cut: int) -> None:
    with pytest.raises(ParseError):
        frame_size(SPS[:cut])
    info = payloads.inspect("h264", SPS[:cut])
    assert (info.keyframe, info.width, info.height) == (True, 0, 0)


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    bits = Bits().u(8, 66).u(16, 40).ue(0, 0, 2, 1).u(1, 0).ue(1, 1).u(3, 7).ue(20, 20, 0, 0)
    with pytest.raises(ParseError):
        frame_size(b"\x67" + bits.data())


def test_a_single_unit_packet() -> None:
    assert parse_payload(SPS) == (True, True, SPS)
    assert parse_payload(PPS) == (False, False, None)
    assert parse_payload(IDR) == (False, True, None)
    assert parse_payload(SLICE) == (False, True, None)
    second_slice = SLICE[:1] + b"\x40" + SLICE[2:]
    assert parse_payload(second_slice) == (False, False, None)
    assert parse_payload(b"\x41") == (False, False, None)


def test_an_aggregate_with_parameter_sets_is_a_keyframe() -> None:
    info = payloads.inspect("h264", aggregate(SPS, PPS, IDR))
    assert (info.keyframe, info.start_of_frame, info.width, info.height) == (True, True, 1280, 720)
    assert parse_payload(aggregate(SLICE, SLICE)) == (False, True, None)
    assert parse_payload(aggregate(b"\x09\x10", PPS)) == (False, True, None)


def test_fragments() -> None:
    assert parse_payload(bytes((0x7C, 0x85)) + IDR[1:]) == (False, True, None)
    assert parse_payload(bytes((0x7C, 0x05)) + IDR[1:]) == (False, False, None)
    assert parse_payload(bytes((0x7C, 0x87)) + SPS[1:]) == (True, True, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7c",
        b"\x78\x00",
        b"\x78\x00\x01",
        b"\x78\x00\x00\x67",
        b"\x78\x00\x09\x67\x01",
        aggregate(SPS) + b"\0",
    ],
)
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_payload(data)
