"""RTCP packets: parse and serialize. Spec: RFC 3550 section 6, RFC 4585, RFC 5104, RFC 5506.

Reduced-size RTCP is accepted: a datagram may begin with any packet type. Packets of an unknown type or
feedback format are skipped. A fault in any packet rejects the datagram as a whole, because its lengths
cannot be believed any more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sfu.errors import ParseError
from sfu.rtp.transport_cc import (
    MAX_STATUSES,
    TransportWideFeedback,
    parse_feedback,
    serialize_feedback,
)

__all__ = [
    "FullIntraRequest",
    "Goodbye",
    "Nack",
    "PictureLoss",
    "ReceiverReport",
    "Remb",
    "ReportBlock",
    "RtcpPacket",
    "SenderReport",
    "SourceDescription",
    "TransportWideFeedback",
    "parse_compound",
    "serialize",
]

_SR, _RR, _SDES, _BYE, _RTPFB, _PSFB = 200, 201, 202, 203, 205, 206
_FMT_NACK, _FMT_TWCC = 1, 15
_FMT_PLI, _FMT_FIR, _FMT_ALFB = 1, 4, 15
_SDES_CNAME = 1
_MAX_COUNT = 31

_REPORT = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IQIII")
_PAIR = struct.Struct("!II")
_FIR_ENTRY = struct.Struct("!IBxxx")


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """Reception quality of one source. Spec: RFC 3550 section 6.4.1.

    `fraction_lost` is in 1/256 since the last report, `lost` is cumulative (signed 24 bit), `highest_seq`
    the extended highest sequence number, `jitter` in RTP timestamp units, `lsr` the middle 32 bits of the
    NTP time of the last sender report (0: none yet), `dlsr` the time since it in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest_seq: int
    jitter: int
    lsr: int
    dlsr: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What a source has sent, and the NTP time (64 bit) of an RTP timestamp. Spec: RFC 3550 section 6.4.1."""

    ssrc: int
    ntp: int
    rtp_ts: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """Reception quality from a participant that does not send. Spec: RFC 3550 section 6.4.2."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """`(ssrc, cname)` of each source, cname empty where a chunk has none. Spec: RFC 3550 section 6.5."""

    chunks: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Sources that have ended. Spec: RFC 3550 section 6.6."""

    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    """Lost packets of one source, as 16-bit sequence numbers. Spec: RFC 4585 section 6.2.1."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """Asks one source for a keyframe, because a picture cannot be decoded. Spec: RFC 4585 section 6.3.1."""

    sender_ssrc: int
    media_ssrc: int


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """`(ssrc, seq_nr)` of each source asked for a keyframe; a repeat keeps `seq_nr`.

    Spec: RFC 5104 section 4.3.1.
    """

    sender_ssrc: int
    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Remb:
    """Receiver estimated maximum bitrate over the named sources. Spec: draft-alvestrand-rmcat-remb-03."""

    sender_ssrc: int
    bitrate_bps: int
    ssrcs: tuple[int, ...]


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Nack
    | PictureLoss
    | FullIntraRequest
    | Remb
    | TransportWideFeedback
)


def parse_compound(data: bytes, refused: Callable[[str], object] = lambda reason: None) -> list[RtcpPacket]:
    """The known packets of one RTCP datagram, in order; empty when it holds only unknown types.

    A packet that is malformed inside costs itself alone: `refused` is told the reason. Raises `ParseError`
    where the lengths that part the packets cannot be believed: an empty datagram, a wrong version, a packet
    that is longer than the datagram.
    """
    packets: list[RtcpPacket] = []
    statuses = MAX_STATUSES
    for packet_type, first, body in _framed(data):
        try:
            unpadded = _without_padding(body) if first & 0x20 else body
            packet = _parse_one(packet_type, first & 0x1F, unpadded, statuses)
        except ParseError as error:
            refused(error.reason)
            continue
        if isinstance(packet, TransportWideFeedback):
            statuses -= len(packet.packets)
        if packet is not None:
            packets.append(packet)
    return packets


def _framed(data: bytes) -> list[tuple[int, int, bytes]]:
    """Type, first octet and body of each packet."""
    if not data:
        raise ParseError("rtcp-empty")
    packets: list[tuple[int, int, bytes]] = []
    offset = 0
    size = len(data)
    while offset < size:
        if size - offset < 4:
            raise ParseError("rtcp-truncated")
        first = data[offset]
        if first >> 6 != 2:
            raise ParseError("rtcp-version")
        end = offset + 4 + 4 * (data[offset + 2] << 8 | data[offset + 3])
        if end > size:
            raise ParseError("rtcp-truncated")
        packets.append((data[offset + 1], first, data[offset + 4 : end]))
        offset = end
    return packets


def serialize(packets: Iterable[RtcpPacket]) -> bytes:
    """The packets as one datagram, in the order given.

    The caller orders them (a compound begins with a report, RFC 3550 section 6.1) and keeps the whole under
    the path MTU. Raises `ValueError` for what a packet cannot say: more than 31 reports or sources, a CNAME
    over 255 bytes, an empty NACK, a feedback with holes.
    """
    return b"".join([_serialize_one(packet) for packet in packets])


# --- parsing -----------------------------------------------------------------------------------


def _without_padding(body: bytes) -> bytes:
    padding = body[-1] if body else 0
    if not 0 < padding <= len(body):
        raise ParseError("rtcp-padding")
    return body[:-padding]


def _parse_one(packet_type: int, count: int, body: bytes, statuses: int) -> RtcpPacket | None:
    if packet_type == _SR:
        return _parse_sender_report(count, body)
    if packet_type == _RR:
        _need(body, 4)
        return ReceiverReport(int.from_bytes(body[:4], "big"), _parse_reports(count, body, 4))
    if packet_type == _RTPFB and count == _FMT_TWCC:
        _need(body, 8)
        return parse_feedback(body, statuses)
    if packet_type in (_RTPFB, _PSFB):
        parse = _FEEDBACK.get((packet_type, count))
        if parse is None:
            return None
        _need(body, 8)
        return parse(body)
    if packet_type == _SDES:
        return _parse_source_description(count, body)
    if packet_type == _BYE:
        _need(body, 4 * count)
        return Goodbye(struct.unpack_from(f"!{count}I", body))
    return None


def _need(body: bytes, size: int) -> None:
    if len(body) < size:
        raise ParseError("rtcp-short")


def _parse_sender_report(count: int, body: bytes) -> SenderReport:
    _need(body, _SENDER.size)
    ssrc, ntp, rtp_ts, packets, octets = _SENDER.unpack_from(body)
    return SenderReport(ssrc, ntp, rtp_ts, packets, octets, _parse_reports(count, body, _SENDER.size))


def _parse_reports(count: int, body: bytes, offset: int) -> tuple[ReportBlock, ...]:
    # Whatever follows the report blocks is a profile-specific extension: skipped.
    _need(body, offset + count * _REPORT.size)
    reports = []
    for position in range(offset, offset + count * _REPORT.size, _REPORT.size):
        ssrc, loss, highest_seq, jitter, lsr, dlsr = _REPORT.unpack_from(body, position)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        reports.append(ReportBlock(ssrc, loss >> 24, lost, highest_seq, jitter, lsr, dlsr))
    return tuple(reports)


def _parse_source_description(count: int, body: bytes) -> SourceDescription:
    chunks = []
    offset = 0
    for _ in range(count):
        _need(body, offset + 4)
        ssrc = int.from_bytes(body[offset : offset + 4], "big")
        offset += 4
        cname = ""
        while offset < len(body):
            # Some leave the null octet out where the list fills its last word.
            item = body[offset]
            if item == 0:
                # The list ends with a null octet and is filled up to the next 32-bit boundary.
                offset += 4 - offset % 4
                break
            _need(body, offset + 2)
            end = offset + 2 + body[offset + 1]
            _need(body, end)
            if item == _SDES_CNAME:
                cname = body[offset + 2 : end].decode("utf-8", "replace")
            offset = end
        chunks.append((ssrc, cname))
    return SourceDescription(tuple(chunks))


def _parse_nack(body: bytes) -> Nack:
    if len(body) < 12 or len(body) % 4:
        raise ParseError("rtcp-nack")
    words = struct.unpack_from(f"!{(len(body) - 8) // 2}H", body, 8)
    lost: list[int] = []
    for pid, mask in zip(words[::2], words[1::2], strict=True):
        lost.append(pid)
        while mask:
            lowest = mask & -mask
            lost.append((pid + lowest.bit_length()) & 0xFFFF)
            mask ^= lowest
    sender_ssrc, media_ssrc = _PAIR.unpack_from(body)
    return Nack(sender_ssrc, media_ssrc, tuple(lost))


def _parse_picture_loss(body: bytes) -> PictureLoss:
    return PictureLoss(*_PAIR.unpack_from(body))


def _parse_full_intra_request(body: bytes) -> FullIntraRequest:
    if len(body) < 16 or len(body) % 8:
        raise ParseError("rtcp-fir")
    return FullIntraRequest(int.from_bytes(body[:4], "big"), tuple(_FIR_ENTRY.iter_unpack(body[8:])))


def _parse_application_feedback(body: bytes) -> Remb | None:
    if body[8:12] != b"REMB":
        return None
    _need(body, 16)
    count = body[12]
    if len(body) != 16 + 4 * count:
        raise ParseError("rtcp-remb")
    exponent = body[13] >> 2
    mantissa = (body[13] & 3) << 16 | body[14] << 8 | body[15]
    ssrcs = struct.unpack_from(f"!{count}I", body, 16)
    return Remb(int.from_bytes(body[:4], "big"), mantissa << exponent, ssrcs)


_FEEDBACK: dict[tuple[int, int], Callable[[bytes], RtcpPacket | None]] = {
    (_RTPFB, _FMT_NACK): _parse_nack,
    (_PSFB, _FMT_PLI): _parse_picture_loss,
    (_PSFB, _FMT_FIR): _parse_full_intra_request,
    (_PSFB, _FMT_ALFB): _parse_application_feedback,
}


# --- serializing -------------------------------------------------------------------------------


def _serialize_one(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            fixed = _SENDER.pack(
                packet.ssrc, packet.ntp, packet.rtp_ts, packet.packet_count, packet.octet_count
            )
            return _frame(_SR, len(packet.reports), fixed + _pack_reports(packet.reports))
        case ReceiverReport():
            body = packet.ssrc.to_bytes(4, "big") + _pack_reports(packet.reports)
            return _frame(_RR, len(packet.reports), body)
        case Nack():
            body = _PAIR.pack(packet.sender_ssrc, packet.media_ssrc) + _pack_lost(packet.lost)
            return _frame(_RTPFB, _FMT_NACK, body)
        case TransportWideFeedback():
            return _frame(_RTPFB, _FMT_TWCC, serialize_feedback(packet))
        case PictureLoss():
            return _frame(_PSFB, _FMT_PLI, _PAIR.pack(packet.sender_ssrc, packet.media_ssrc))
        case FullIntraRequest():
            entries = b"".join([_FIR_ENTRY.pack(ssrc, seq_nr & 0xFF) for ssrc, seq_nr in packet.entries])
            return _frame(_PSFB, _FMT_FIR, _PAIR.pack(packet.sender_ssrc, 0) + entries)
        case Remb():
            return _frame(_PSFB, _FMT_ALFB, _pack_remb(packet))
        case SourceDescription():
            chunks = b"".join([_pack_chunk(ssrc, cname) for ssrc, cname in packet.chunks])
            return _frame(_SDES, len(packet.chunks), chunks)
        case Goodbye():
            return _frame(_BYE, len(packet.ssrcs), struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs))


def _frame(packet_type: int, count: int, body: bytes) -> bytes:
    if count > _MAX_COUNT:
        raise ValueError("an RTCP packet counts to 31")
    first = 0x80 | count
    padding = -len(body) % 4
    if padding:
        first |= 0x20
        body += bytes(padding - 1) + bytes((padding,))
    return struct.pack("!BBH", first, packet_type, len(body) // 4) + body


def _pack_reports(reports: Sequence[ReportBlock]) -> bytes:
    return b"".join(
        [
            _REPORT.pack(
                report.ssrc,
                (report.fraction_lost & 0xFF) << 24 | max(-0x800000, min(0x7FFFFF, report.lost)) & 0xFFFFFF,
                report.highest_seq,
                report.jitter,
                report.lsr,
                report.dlsr,
            )
            for report in reports
        ]
    )


def _pack_lost(lost: Sequence[int]) -> bytes:
    """PID and bitmask pairs; ascending numbers (modulo 2^16) share a pair when 16 or less apart."""
    if not lost:
        raise ValueError("a NACK names at least one packet")
    pairs = bytearray()
    pid = lost[0]
    mask = 0
    for seq in lost[1:]:
        ahead = (seq - pid) & 0xFFFF
        if ahead == 0:
            continue
        if ahead <= 16:
            mask |= 1 << (ahead - 1)
        else:
            pairs += struct.pack("!HH", pid, mask)
            pid, mask = seq, 0
    return bytes(pairs) + struct.pack("!HH", pid, mask)


def _pack_remb(packet: Remb) -> bytes:
    exponent = max(0, packet.bitrate_bps.bit_length() - 18)
    mantissa = packet.bitrate_bps >> exponent
    rate = exponent << 18 | mantissa
    body = _PAIR.pack(packet.sender_ssrc, 0) + b"REMB" + bytes((len(packet.ssrcs),)) + rate.to_bytes(3, "big")
    return body + struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)


def _pack_chunk(ssrc: int, cname: str) -> bytes:
    text = cname.encode()
    if len(text) > 0xFF:
        raise ValueError("a CNAME has at most 255 bytes")
    item = bytes((_SDES_CNAME, len(text))) + text if text else b""
    return ssrc.to_bytes(4, "big") + item + bytes(4 - len(item) % 4)
