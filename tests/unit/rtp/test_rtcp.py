from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    TransportWideFeedback,
    parse_compound,
    serialize,
)

u32 = st.integers(0, 0xFFFFFFFF)
u16 = st.integers(0, 0xFFFF)
reports = st.builds(
    ReportBlock,
    ssrc=u32,
    fraction_lost=st.integers(0, 255),
    lost=st.integers(-0x800000, 0x7FFFFF),
    highest_seq=u32,
    jitter=u32,
    lsr=u32,
    dlsr=u32,
)
report_lists = st.lists(reports, max_size=31).map(tuple)
cnames = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@st.composite
def nacks(draw: st.DrawFn) -> Nack:
    first = draw(u16)
    steps = draw(st.lists(st.integers(1, 40), max_size=30))
    lost = [first]
    for step in steps:
        lost.append((lost[-1] + step) & 0xFFFF)
    return Nack(draw(u32), draw(u32), tuple(lost))


packets = st.one_of(
    st.builds(
        SenderReport,
        u32,
        st.integers(0, 2**64 - 1),
        u32,
        u32,
        u32,
        report_lists,
    ),
    st.builds(ReceiverReport, u32, report_lists),
    st.builds(SourceDescription, st.lists(st.tuples(u32, cnames), max_size=31).map(tuple)),
    st.builds(Goodbye, st.lists(u32, max_size=31).map(tuple)),
    nacks(),
    st.builds(PictureLoss, u32, u32),
    st.builds(
        FullIntraRequest,
        u32,
        st.lists(st.tuples(u32, st.integers(0, 255)), min_size=1, max_size=5).map(tuple),
    ),
    st.builds(Remb, u32, st.integers(0, 2**18 - 1), st.lists(u32, max_size=9).map(tuple)),
)


@given(st.lists(packets, min_size=1, max_size=4))
def test_what_is_serialized_parses_to_the_same(given_packets: list[RtcpPacket]) -> None:
    data = serialize(given_packets)
    assert len(data) % 4 == 0
    assert parse_compound(data) == given_packets


def test_sender_report_on_the_wire() -> None:
    block = ReportBlock(0x11223344, 64, -1, 0x00010002, 5, 6, 7)
    data = serialize([SenderReport(0xDEADBEEF, 0x0102030405060708, 9, 10, 11, (block,))])
    assert data.hex() == (
        "81c8000c" "deadbeef" "0102030405060708" "00000009" "0000000a" "0000000b"
        "11223344" "40ffffff" "00010002" "00000005" "00000006" "00000007"
    )  # fmt: skip


def test_nack_is_packed_in_pid_and_mask() -> None:
    data = serialize([Nack(1, 2, (0xFFFE, 0xFFFF, 0x000E, 0x000F, 0x0010))])
    # 0xFFFE + 16 is 0x000E: it still fits the first mask, 0x000F begins a new pair.
    assert data[12:].hex() == "fffe8001000f0001"
    (parsed,) = parse_compound(data)
    assert parsed == Nack(1, 2, (0xFFFE, 0xFFFF, 0x000E, 0x000F, 0x0010))


def test_remb_from_the_draft() -> None:
    # Mantissa 0x3FFFF with exponent 5 over one source.
    data = bytes.fromhex("8fce0005000000010000000052454d420117ffff00000002")
    assert parse_compound(data) == [Remb(1, 0x3FFFF << 5, (2,))]
    assert serialize([Remb(1, 0x3FFFF << 5, (2,))]) == data


@given(st.integers(0, 10**12))
def test_remb_is_never_above_and_nearly_what_was_asked(bitrate_bps: int) -> None:
    (parsed,) = parse_compound(serialize([Remb(1, bitrate_bps, ())]))
    assert isinstance(parsed, Remb)
    assert bitrate_bps * (1 - 2**-17) <= parsed.bitrate_bps <= bitrate_bps


def test_unknown_packets_in_a_compound_are_skipped() -> None:
    xr = struct.pack("!BBHI", 0x80, 207, 1, 7)
    app = struct.pack("!BBHI4s", 0x81, 204, 2, 7, b"test")
    other_feedback = struct.pack("!BBHII", 0x80 | 11, 205, 2, 1, 2)
    other_alfb = struct.pack("!BBHII4s", 0x80 | 15, 206, 3, 1, 2, b"goog")
    pli = serialize([PictureLoss(3, 4)])
    assert parse_compound(xr + app + other_feedback + other_alfb + pli) == [PictureLoss(3, 4)]
    assert parse_compound(xr) == []


def test_profile_extension_and_padding_are_left_out() -> None:
    report = bytearray(serialize([ReceiverReport(5)])) + b"\1\2\3\4"
    report[3] += 1
    assert parse_compound(bytes(report)) == [ReceiverReport(5)]
    padded = bytearray(serialize([Nack(1, 2, (3,))])) + b"\0\0\0\4"
    padded[0] |= 0x20
    padded[3] += 1
    assert parse_compound(bytes(padded)) == [Nack(1, 2, (3,))]


def test_a_datagram_may_speak_of_so_many_packets_and_no_more() -> None:
    def lost(count: int) -> bytes:
        return serialize([TransportWideFeedback(1, 2, 0, 0, 0, tuple((seq, None) for seq in range(count)))])

    assert len(parse_compound(lost(4000) + lost(96))) == 2
    for datagram in (lost(4096) + lost(1), lost(96) * 43):
        refused: list[str] = []
        packets = parse_compound(datagram, refused.append)
        assert sum(len(each.packets) for each in packets if isinstance(each, TransportWideFeedback)) == 4096
        assert set(refused) <= {"rtcp-twcc-count"}
    assert refused == []


def test_of_a_long_report_the_newest_packets_are_read() -> None:
    head = struct.pack("!IIHHI", 1, 2, 100, 8191 + 14, 0)
    body = head + b"\x1f\xff" + b"\xbf\xff" + bytes(range(1, 15)) + bytes(2)
    (report,) = parse_compound(b"\x8f\xcd" + (len(body) // 4).to_bytes(2, "big") + body)
    assert isinstance(report, TransportWideFeedback)
    assert len(report.packets) == 4096
    assert report.packets[0] == (100 + 8191 + 14 - 4096, None)
    assert report.packets[-1] == (100 + 8191 + 13, sum(range(1, 15)) * 250)
    # And what came before what is read still moves the clock.
    deltas = bytes((7,)) * 14 + bytes(2)
    body = struct.pack("!IIHHI", 1, 2, 0, 14 + 4090, 0) + b"\xbf\xff" + b"\x0f\xfa" + deltas
    (report,) = parse_compound(b"\x8f\xcd" + (len(body) // 4).to_bytes(2, "big") + body)
    assert isinstance(report, TransportWideFeedback)
    assert report.packets[0] == (8, 9 * 7 * 250)


def test_a_malformed_packet_costs_itself_alone() -> None:
    pli = serialize([PictureLoss(3, 4)])
    refused: list[str] = []
    nack = b"\x81\xcd\x00\x02" + bytes(8)
    assert parse_compound(nack + pli + nack, refused.append) == [PictureLoss(3, 4)]
    assert refused == ["rtcp-nack", "rtcp-nack"]


def test_a_source_description_may_end_without_a_null_octet() -> None:
    # Two and ten octets fill three words.
    data = b"\x81\xca\x00\x04" + bytes(3) + b"\x09" + b"\x01\x0aabcdefghij"
    assert parse_compound(data) == [SourceDescription(((9, "abcdefghij"),))]


def test_source_description_keeps_the_cname_of_each_chunk() -> None:
    chunk = struct.pack("!I", 9) + bytes((2, 3)) + b"bob" + bytes((1, 2)) + b"cn" + b"\0"
    chunk += bytes(-len(chunk) % 4)
    data = struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
    assert parse_compound(data) == [SourceDescription(((9, "cn"),))]


def test_goodbye_with_a_reason() -> None:
    data = struct.pack("!BBHIB3s", 0x81, 203, 2, 77, 3, b"bye")
    assert parse_compound(data) == [Goodbye((77,))]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "rtcp-empty"),
        (b"\x80\xc9\x00", "rtcp-truncated"),
        (b"\x80\xc9\x00\x01", "rtcp-truncated"),
        (b"\x40\xc9\x00\x00", "rtcp-version"),
        (b"\x80\xc9\x00\x00", "rtcp-short"),
        (b"\x81\xc9\x00\x01" + bytes(4), "rtcp-short"),
        (b"\x80\xc8\x00\x01" + bytes(4), "rtcp-short"),
        (b"\x82\xcb\x00\x01" + bytes(4), "rtcp-short"),
        (b"\x81\xcd\x00\x02" + bytes(8), "rtcp-nack"),
        (b"\x81\xce\x00\x01" + bytes(4), "rtcp-short"),
        (b"\x84\xce\x00\x02" + bytes(8), "rtcp-fir"),
        (b"\x84\xce\x00\x03" + bytes(12), "rtcp-fir"),
        (b"\x8f\xce\x00\x04" + bytes(8) + b"REMB\x01\0\0\0", "rtcp-remb"),
        (b"\x81\xca\x00\x02" + bytes(4) + b"\x01\x09ab", "rtcp-short"),
        (b"\xa0\xc9\x00\x01" + bytes(4), "rtcp-padding"),
        (b"\xa0\xc9\x00\x01\0\0\0\x05", "rtcp-padding"),
        (b"\xa0\xc9\x00\x00", "rtcp-padding"),
    ],
)
def test_malformed_packets_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    assert _reason(data) == reason


def _reason(data: bytes) -> str:
    """Of a datagram that holds nothing of use."""
    refused: list[str] = []
    try:
        assert parse_compound(data, refused.append) == []
    except ParseError as error:
        refused.append(error.reason)
    (reason,) = refused
    return reason


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(1, (ReportBlock(1, 0, 0, 0, 0, 0, 0),) * 32),
        Goodbye(tuple(range(32))),
        SourceDescription(((1, "x" * 256),)),
        Nack(1, 2, ()),
    ],
)
def test_what_cannot_be_said_is_refused(packet: RtcpPacket) -> None:
    with pytest.raises(ValueError, match=r"at most|counts|at least"):
        serialize([packet])
