"""RTP packets: parsing what arrives, and telling RTP from RTCP. Spec: RFC 3550 section 5.1."""

from __future__ import annotations

import struct
from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp.extensions import parse_extensions

_FIXED = struct.Struct("!BBHII")
_FIXED_BYTES = 12
_NO_EXTENSIONS: dict[int, bytes] = {}


class RtpPacket(NamedTuple):
    """One packet in the clear.

    `csrcs` is the list of contributing sources as on the wire, four bytes each. `payload` is without padding;
    it is empty in packets that carry nothing but padding. `extensions` holds values by id, empty when there
    are none.
    """

    payload_type: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: int
    csrcs: bytes
    extensions: dict[int, bytes]
    payload: bytes


def is_rtcp(datagram: bytes) -> bool:
    """Whether a datagram of a multiplexed transport is RTCP. Spec: RFC 5761 section 4.

    Any datagram of less than two bytes is not.
    """
    return len(datagram) > 1 and 192 <= datagram[1] <= 223


def parse_packet(data: bytes) -> RtpPacket:
    """Raises `ParseError` for a wrong version and for every length that does not fit."""
    size = len(data)
    if size < _FIXED_BYTES:
        raise ParseError("rtp-truncated")
    first, second, seq, timestamp, ssrc = _FIXED.unpack_from(data)
    if first >> 6 != 2:
        raise ParseError("rtp-version")
    offset = _FIXED_BYTES
    csrcs = b""
    if first & 0x0F:
        offset += 4 * (first & 0x0F)
        csrcs = data[_FIXED_BYTES:offset]
    extensions = _NO_EXTENSIONS
    if first & 0x10:
        start = offset + 4
        if start > size:
            raise ParseError("rtp-truncated")
        offset = start + 4 * (data[offset + 2] << 8 | data[offset + 3])
        if offset <= size:
            extensions = parse_extensions(data[start - 4] << 8 | data[start - 3], data[start:offset])
    end = size
    if first & 0x20:
        padding = data[-1]
        if not padding:
            raise ParseError("rtp-padding")
        end -= padding
    if offset > end:
        raise ParseError("rtp-truncated")
    return RtpPacket(second & 0x7F, second >= 0x80, seq, timestamp, ssrc, csrcs, extensions, data[offset:end])
