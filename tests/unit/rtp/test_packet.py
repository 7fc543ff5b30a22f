"""RTP headers as they come, extensions both ways, and numbers carried over."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_harness import one_byte, rtp, two_byte

from sfu.errors import ParseError
from sfu.rtp.extensions import Carried, ExtensionLayout, mid_elements, parse_extensions
from sfu.rtp.packet import is_rtcp, parse_packet
from sfu.rtp.parameters import ExtensionIds
from sfu.rtp.sequence import SequenceMap, difference, unwrap


def test_a_plain_packet() -> None:
    packet = parse_packet(rtp(7, 65535, 0xFFFFFFFF, b"abc", payload_type=127, marker=True))
    assert (packet.ssrc, packet.seq, packet.timestamp) == (7, 65535, 0xFFFFFFFF)
    assert (packet.payload_type, packet.marker, packet.payload) == (127, True, b"abc")
    assert (packet.csrcs, packet.extensions) == (b"", {})


@pytest.mark.parametrize("write", [one_byte, two_byte])
def test_csrcs_extensions_and_padding_together(write: object) -> None:
    values = {1: b"\x01", 5: b"abcd", 14: bytes(range(16))}
    packet = parse_packet(
        rtp(7, 1, 2, b"xyz", extension=write(values), csrcs=(0x01020304, 5), padding=9)  # type: ignore[operator]
    )
    assert packet.csrcs == bytes.fromhex("0102030400000005")
    assert packet.extensions == values
    assert packet.payload == b"xyz"


def test_padding_alone_is_an_empty_payload() -> None:
    assert parse_packet(rtp(7, 1, 2, b"", padding=255)).payload == b""


def test_two_byte_extensions_hold_long_and_empty_values_and_high_ids() -> None:
    values = {1: b"", 200: bytes(100)}
    assert parse_packet(rtp(7, 1, 2, b"", extension=two_byte(values))).extensions == values


def test_of_the_one_byte_form_padding_is_skipped_and_id_15_ends_it() -> None:
    assert parse_extensions(0xBEDE, bytes.fromhex("00100500" + "f0ff2001")) == {1: b"\x05"}
    assert parse_extensions(0x1234, b"anything") == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "rtp-truncated"),
        (rtp(1, 2, 3, b"")[:11], "rtp-truncated"),
        (b"\x40" + rtp(1, 2, 3, b"")[1:], "rtp-version"),
        (b"\x82" + rtp(1, 2, 3, b"1234567")[1:], "rtp-truncated"),
        (b"\x90" + rtp(1, 2, 3, b"\xbe\xde")[1:], "rtp-truncated"),
        (b"\x90" + rtp(1, 2, 3, b"\xbe\xde\x00\x02\x00\x00\x00\x00")[1:], "rtp-truncated"),
        (b"\x90" + rtp(1, 2, 3, b"\xbe\xde\x00\x01\x1f\x00\x00\x00")[1:], "rtp-extension"),
        (b"\x90" + rtp(1, 2, 3, b"\x10\x00\x00\x01\x01\x09\x00\x00")[1:], "rtp-extension"),
        (b"\xa0" + rtp(1, 2, 3, b"ab\x00")[1:], "rtp-padding"),
        (b"\xa0" + rtp(1, 2, 3, b"ab\x04")[1:], "rtp-truncated"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_packet(data)
    assert caught.value.reason == reason


@given(st.binary(max_size=80), st.integers(0x80, 0xBF))
@settings(max_examples=400)
def test_any_bytes_parse_or_are_refused(data: bytes, first: int) -> None:
    for candidate in (data, bytes((first,)) + data):
        with contextlib.suppress(ParseError):
            assert len(parse_packet(candidate).payload) < len(candidate)


def test_rtcp_is_told_from_rtp() -> None:
    assert is_rtcp(b"\x80\xc8")
    assert is_rtcp(b"\x81\xce")
    assert not is_rtcp(b"\x80\x60")
    assert not is_rtcp(b"\x80\xe0")
    assert not is_rtcp(b"\x80")


@pytest.mark.parametrize(
    "ids",
    [
        ExtensionIds(mid=1, transport_cc=2, abs_send_time=3, audio_level=4),
        ExtensionIds(mid=1, transport_cc=20, abs_send_time=3, audio_level=4),
        ExtensionIds(mid=1, abs_send_time=3, audio_level=40),
        ExtensionIds(transport_cc=9),
        ExtensionIds(),
    ],
)
@pytest.mark.parametrize("mid", ["0", "a-mid-of-twenty-bytes"])
def test_what_a_layout_writes_is_read_back(ids: ExtensionIds, mid: str) -> None:
    layout = ExtensionLayout(ids, len(mid))
    block = layout.encode(Carried(audio_level=b"\x7f", playout_delay=b"abc"), 1_500_000)
    data = mid_elements(ids, mid)[block.two_byte] + block.tail
    if block.transport_cc:
        width = 2 if block.two_byte else 1
        data = block.transport_cc.to_bytes(width, "big") + b"\x12\x34" + data
    if block.size:
        data = block.word.to_bytes(4, "big") + data
    assert len(data) == block.size
    assert len(data) % 4 == 0
    packet = parse_packet(rtp(7, 1, 2, b"payload", extension=data))
    expected = {
        ids.mid: mid.encode(),
        ids.transport_cc: b"\x12\x34",
        ids.abs_send_time: (3 << 17).to_bytes(3, "big"),
        ids.audio_level: b"\x7f",
    }
    expected.pop(0, None)
    assert packet.extensions == expected
    assert packet.payload == b"payload"


def test_counters_unwrap_the_shorter_way() -> None:
    assert difference(2, 65534) == 4
    assert difference(65534, 2) == -4
    assert unwrap(3, 0x2FFFE) == 0x30003
    assert unwrap(0x7F, 0x180, 7) == 0x17F


def test_a_map_closes_up_what_was_dropped_and_keeps_what_was_lost() -> None:
    carried = SequenceMap(100, 7)
    assert carried.map(100) == 7
    assert carried.map(103) == 10  # 101 and 102 are late
    assert carried.drop(104)
    assert carried.map(105) == 11
    assert carried.map(101) == 8
    assert carried.map(104) is None
    assert not carried.drop(102)
    assert carried.map(99) is None
    assert [carried.source_of(out) for out in (6, 7, 8, 10, 11, 12)] == [None, 100, 101, 103, 105, None]


def test_a_map_does_not_jump_when_its_source_begins_anew() -> None:
    carried = SequenceMap(100, 7)
    carried.map(100)
    assert carried.map(90_000) == 8
    assert carried.map(50_000) is None
    assert carried.drop(200_000)
    assert carried.map(200_001) == 9


@pytest.mark.parametrize("seed", range(5))
def test_a_map_never_gives_a_number_twice(seed: int) -> None:
    rng = random.Random(seed)
    carried = SequenceMap(0, 1000)
    order = sorted(range(3000), key=lambda number: number + rng.random() * 12)
    given: dict[int, int] = {}
    for number in order:
        if rng.random() < 0.05:
            continue
        if rng.random() < 0.3 and carried.drop(number):
            continue
        out = carried.map(number)
        if out is not None:
            given[number] = out
    assert len(set(given.values())) == len(given)
    assert sorted(given, key=given.__getitem__) == sorted(given)
    for number, out in list(given.items())[-200:]:
        assert carried.source_of(out) == number
