from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.rtp.rtcp import TransportWideFeedback, parse_compound, serialize

ticks = st.one_of(st.none(), st.integers(0, 255), st.integers(-0x8000, 0x7FFF))


@st.composite
def feedbacks(draw: st.DrawFn) -> TransportWideFeedback:
    base = draw(st.integers(0, 0xFFFF))
    reference = draw(st.integers(0, 0xFFFFFF)) * 64_000
    runs = draw(st.lists(st.tuples(ticks, st.integers(1, 30)), min_size=1, max_size=12))
    packets: list[tuple[int, int | None]] = []
    arrival = reference
    for delta, length in runs:
        for _ in range(length):
            seq = (base + len(packets)) & 0xFFFF
            if delta is None:
                packets.append((seq, None))
            else:
                arrival += delta * 250
                packets.append((seq, arrival))
    return TransportWideFeedback(
        draw(st.integers(0, 0xFFFFFFFF)), 7, base, draw(st.integers(0, 255)), reference, tuple(packets)
    )


@given(feedbacks())
def test_what_is_serialized_parses_to_the_same(feedback: TransportWideFeedback) -> None:
    assert parse_compound(serialize([feedback])) == [feedback]


def test_one_bit_vector_and_small_deltas_on_the_wire() -> None:
    packets: tuple[tuple[int, int | None], ...] = ((10, 64_000), (11, None), (12, 64_500), (13, 64_750))
    data = serialize([TransportWideFeedback(1, 2, 10, 3, 64_000, packets)])
    assert data.hex() == (
        "afcd0006" "00000001" "00000002" "000a0004" "00000103"
        "ac00" "000201" "000003"
    )  # fmt: skip


def test_two_bit_vector_holds_large_and_negative_deltas() -> None:
    packets: tuple[tuple[int, int | None], ...] = ((0, 100_000), (1, None), (2, 99_750))
    data = serialize([TransportWideFeedback(1, 2, 0, 0, 0, packets)])
    assert data[20:22].hex() == f"{0b11_10_00_10_00000000:04x}"
    assert data[22:26].hex() == "0190ffff"


def test_run_length_is_used_for_long_runs() -> None:
    packets = tuple((seq, seq * 250) for seq in range(1000))
    data = serialize([TransportWideFeedback(1, 2, 0, 0, 0, packets)])
    assert data[20:22].hex() == f"{1 << 13 | 1000:04x}"


def test_steady_reception_costs_about_a_byte_a_packet() -> None:
    packets = tuple((seq, seq * 1000) for seq in range(100))
    assert len(serialize([TransportWideFeedback(1, 2, 0, 0, 0, packets)])) == 4 + 16 + 2 + 100 + 2


def test_arrivals_are_rounded_down_without_drift() -> None:
    packets = tuple((seq, seq * 333) for seq in range(60))
    (parsed,) = parse_compound(serialize([TransportWideFeedback(1, 2, 0, 0, 0, packets)]))
    assert isinstance(parsed, TransportWideFeedback)
    for (_, exact), (_, rounded) in zip(packets, parsed.packets, strict=True):
        assert rounded is not None
        assert 0 <= exact - rounded < 250


def body(*, count: int, chunks: str, deltas: str = "") -> bytes:
    fci = bytes.fromhex("0000000100000002" + "0000" + f"{count:04x}" + "00000000" + chunks + deltas)
    padding = -len(fci) % 4
    first = 0xAF if padding else 0x8F
    fci += bytes(padding - 1) + bytes((padding,)) if padding else b""
    return bytes((first, 205)) + (len(fci) // 4).to_bytes(2, "big") + fci


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x8f\xcd\x00\x02" + bytes(8), "rtcp-twcc-truncated"),
        (body(count=0, chunks=""), "rtcp-twcc-count"),
        (body(count=65535, chunks="1fff" * 7), "rtcp-twcc-chunks"),
        (body(count=8191, chunks="3fff", deltas="01" * 1400), "rtcp-twcc-deltas"),
        (body(count=3, chunks=""), "rtcp-twcc-chunks"),
        (body(count=15, chunks="8000"), "rtcp-twcc-chunks"),
        (body(count=3, chunks="2003", deltas="0101"), "rtcp-twcc-deltas"),
        (body(count=1, chunks="4001", deltas="01"), "rtcp-twcc-deltas"),
        (body(count=1, chunks="6001", deltas="0101"), "rtcp-twcc-symbol"),
        (body(count=1, chunks="f000", deltas="0101"), "rtcp-twcc-symbol"),
    ],
)
def test_malformed_feedback_is_refused(data: bytes, reason: str) -> None:
    refused: list[str] = []
    assert parse_compound(data, refused.append) == []
    assert refused == [reason]


@pytest.mark.parametrize(
    ("packets", "message"),
    [
        ((), "1 to 4096"),
        (((0, 1), (2, 1)), "dense"),
        (((0, 0), (1, 9_000_000)), "does not fit"),
    ],
)
def test_what_cannot_be_said_is_refused(packets: tuple[tuple[int, int], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        serialize([TransportWideFeedback(1, 2, 0, 0, 0, packets)])
