"""Every parser of what a peer sends accepts, or raises `ParseError`: never anything else, never for long."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_peers import Rtp

from sfu.errors import ParseError
from sfu.rtp import av1, dependency_descriptor, h264, payload, rtcp, vp8, vp9
from sfu.rtp.extensions import parse_extensions
from sfu.rtp.packet import parse_packet
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    TransportWideFeedback,
)

BLOCK = ReportBlock(1, 2, 3, 4, 5, 6, 7)
FEEDBACK = TransportWideFeedback(
    1,
    2,
    65530,
    1,
    64_000,
    tuple(((65530 + i) & 0xFFFF, None if i % 5 == 0 else 64_000 + i * 777) for i in range(60)),
)
COMPOUNDS = [
    rtcp.serialize([packet])
    for packet in (
        SenderReport(1, 2, 3, 4, 5, (BLOCK, BLOCK)),
        ReceiverReport(1, (BLOCK,)),
        SourceDescription(((1, "cname"), (2, ""))),
        Goodbye((1, 2)),
        Nack(1, 2, (1, 2, 40)),
        PictureLoss(1, 2),
        FullIntraRequest(1, ((2, 3),)),
        Remb(1, 10**6, (1, 2)),
        FEEDBACK,
    )
]
PAYLOADS = {
    "vp8": ["90f0812c0722d0c3009d012a0005d0020047"],
    "vp9": [
        "ac812c200582498342004ff02cf60038241c184a18",
        "8a0558014000b402800168050002d00204054082498342004ff02c",
    ],
    "h264": ["6764001facb200a00b7420000003002000000791e30649", "7800056764001fac000368ebc3", "7c85888404"],
    "av1": ["280c080000002d4cffb3c6af98043010008e808208", "1030a1b2"],
}

Parser = Callable[[bytes], Any]


def _with_structure(data: bytes) -> Any:
    """A descriptor after one that attached a structure, as a stream of a hostile peer would do it."""
    first = dependency_descriptor.parse(data, None)
    return dependency_descriptor.parse(data[::-1], first.structure)


PARSERS: dict[str, Parser] = {
    "rtp": parse_packet,
    "rtp-extended": lambda data: parse_packet(b"\xb3" + data),
    "extensions-one-byte": partial(parse_extensions, 0xBEDE),
    "extensions-two-byte": partial(parse_extensions, 0x1000),
    "rtcp": rtcp.parse_compound,
    "vp8": vp8.parse_descriptor,
    "vp9": vp9.parse_descriptor,
    "h264": h264.parse_payload,
    "h264-sps": h264.frame_size,
    "av1": av1.parse_payload,
    "av1-sequence": av1.frame_size,
    "dependency-descriptor": lambda data: dependency_descriptor.parse(data, None),
    "dependency-descriptors": _with_structure,
    **{f"inspect-{name}": partial(payload.inspect, name) for name in PAYLOADS},
}


def survive(parser: Parser, data: bytes) -> Any:
    """What the parser made of it, None where it refused."""
    try:
        return parser(data)
    except ParseError:
        return None


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=200))
@settings(max_examples=150)
def test_any_bytes(name: str, data: bytes) -> None:
    survive(PARSERS[name], data)


@pytest.mark.parametrize("name", PAYLOADS)
@given(data=st.binary(max_size=60), picture_id=st.integers(0, 0xFFFF), tl0=st.integers(0, 0xFFFF))
@settings(max_examples=150)
def test_whatever_is_accepted_can_be_rewritten(name: str, data: bytes, picture_id: int, tl0: int) -> None:
    info = survive(partial(payload.inspect, name), data)
    if info is not None:
        changed = payload.rewrite(data, info, picture_id, tl0)
        assert len(changed) == len(data)
        again = payload.inspect(name, changed)
        width = (1 << info.picture_id_bits) - 1
        assert again == info._replace(
            picture_id=picture_id & width if info.picture_id_offset else -1,
            tl0_pic_idx=tl0 & 0xFF if info.tl0_offset else -1,
        )


@given(
    st.binary(min_size=1, max_size=200), st.sampled_from([200, 201, 202, 203, 205, 206]), st.integers(0, 31)
)
@settings(max_examples=400)
def test_any_body_under_a_valid_rtcp_header(body: bytes, packet_type: int, count: int) -> None:
    body += bytes(-len(body) % 4)
    head = bytes((0x80 | count, packet_type)) + (len(body) // 4).to_bytes(2, "big")
    packets = survive(rtcp.parse_compound, head + body)
    # Bytes of a CNAME that are no UTF-8 are replaced by longer ones.
    if packets and not any(isinstance(packet, SourceDescription) for packet in packets):
        again = rtcp.serialize(packets)
        assert rtcp.parse_compound(again) == rtcp.parse_compound(rtcp.serialize(rtcp.parse_compound(again)))


def mutations(seed: bytes, rng: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.randrange(1, 5)):
        match rng.randrange(4):
            case 0 if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            case 1 if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 2:
                del data[rng.randrange(len(data) + 1) :]
            case _:
                position = rng.randrange(len(data) + 1)
                data[position:position] = rng.randbytes(rng.randrange(1, 5))
    return bytes(data)


def test_mutations_of_valid_rtp() -> None:
    rng = random.Random(10)
    seeds = [
        Rtp(96, 1, 2, 3, bytes(40), True, {1: b"a", 3: b"\0\1", 14: bytes(16)}).pack(),
        Rtp(111, 65535, 2, 3, bytes(4)).pack(),
    ]
    accepted = 0
    for _ in range(4000):
        packet = survive(parse_packet, mutations(rng.choice(seeds), rng))
        if packet is not None:
            accepted += 1
            assert len(packet.csrcs) % 4 == 0
            assert all(0 < identifier <= 255 for identifier in packet.extensions)
    assert accepted > 300


def test_mutations_of_valid_rtcp() -> None:
    rng = random.Random(11)
    accepted = 0
    for _ in range(6000):
        data = mutations(b"".join(rng.choices(COMPOUNDS, k=rng.randrange(1, 4))), rng)
        accepted += survive(rtcp.parse_compound, data) is not None
    # A fuzz run that only ever hits the first check tests nothing.
    assert accepted > 300


@pytest.mark.parametrize("name", PAYLOADS)
def test_mutations_of_valid_payloads(name: str) -> None:
    rng = random.Random(12)
    seeds = [bytes.fromhex(text) for text in PAYLOADS[name]]
    assert all(payload.inspect(name, seed) for seed in seeds)
    accepted = sum(
        survive(partial(payload.inspect, name), mutations(rng.choice(seeds), rng)) is not None
        for _ in range(3000)
    )
    assert accepted > 300


def test_a_small_datagram_cannot_claim_a_huge_report() -> None:
    claims = bytes.fromhex("00000001000000020000ffff00000000") + b"\x1f\xff" * 10
    data = b"\x8f\xcd" + (len(claims) // 4).to_bytes(2, "big") + claims
    (report,) = rtcp.parse_compound(data * 20)
    assert isinstance(report, rtcp.TransportWideFeedback)
    assert len(report.packets) == 4096
