"""The body of a transport-wide congestion control feedback packet.

Spec: draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sfu.errors import ParseError

DELTA_US = 250
"""One tick of a receive delta."""
REFERENCE_US = 64_000
"""One tick of the reference time."""
REFERENCE_SPAN_US = REFERENCE_US << 24
"""The reference time has 24 bits: arrival times start anew after this long (12.4 days)."""
MAX_DELTA_TICKS = 0x7FFF
MIN_DELTA_TICKS = -0x8000
MAX_STATUSES = 4096
"""Most packets that are read from all reports of one datagram, of each report the newest. A chunk can claim
8191 lost packets, and a short datagram could otherwise make half a million of them; a receiver reports some
hundreds, after an outage more, and of those nobody remembers when they were sent."""

_LOST, _SMALL, _LARGE = 0, 1, 2
_FIXED = struct.Struct("!IIHHI")
_RUN_LIMIT = 0x1FFF


@dataclass(frozen=True, slots=True)
class TransportWideFeedback:
    """When the packets of a run of transport-wide sequence numbers arrived.

    `packets` is dense: one `(seq, arrival_us)` for `base_seq` and each number after it (modulo 2^16),
    `arrival_us` None where the packet had not arrived. Arrival times are on the receiver's own clock, in
    steps of 250 us, and wrap with `reference_time_us`, which is in 0..REFERENCE_SPAN_US.
    """

    sender_ssrc: int
    media_ssrc: int
    base_seq: int
    feedback_count: int
    reference_time_us: int
    packets: tuple[tuple[int, int | None], ...]


def parse_feedback(body: bytes, most: int = MAX_STATUSES) -> TransportWideFeedback:
    """Parse what follows the four-byte RTCP header, without padding. Raises `ParseError`.

    Of a report on more than `most` packets the newest are read.
    """
    if len(body) < _FIXED.size:
        raise ParseError("rtcp-twcc-truncated")
    sender_ssrc, media_ssrc, base_seq, count, tail = _FIXED.unpack_from(body)
    if not count or most <= 0:
        raise ParseError("rtcp-twcc-count")
    symbols, offset = _parse_chunks(body, count)
    reference_us = (tail >> 8) * REFERENCE_US
    arrival_us = reference_us
    passed = max(0, count - most)
    for symbol in symbols[:passed].replace(b"\0", b""):
        arrival_us += _delta_us(body, offset, symbol)
        offset += symbol
    packets: list[tuple[int, int | None]] = []
    base_seq = seq = (base_seq + passed) & 0xFFFF
    for symbol in symbols[passed:]:
        if symbol == _LOST:
            packets.append((seq, None))
        else:
            arrival_us += _delta_us(body, offset, symbol)
            offset += symbol
            packets.append((seq, arrival_us))
        seq = (seq + 1) & 0xFFFF
    return TransportWideFeedback(sender_ssrc, media_ssrc, base_seq, tail & 0xFF, reference_us, tuple(packets))


def _delta_us(body: bytes, offset: int, symbol: int) -> int:
    """The receive delta at `offset`, of as many bytes as its symbol says."""
    if offset + symbol > len(body):
        raise ParseError("rtcp-twcc-deltas")
    if symbol == _SMALL:
        return body[offset] * DELTA_US
    delta = body[offset] << 8 | body[offset + 1]
    return (delta - 0x10000 if delta & 0x8000 else delta) * DELTA_US


def serialize_feedback(feedback: TransportWideFeedback) -> bytes:
    """The body of `feedback`, not padded to 32 bits.

    Arrival times are rounded down to 250 us. Raises `ValueError` where `packets` is empty, has holes, or
    two arrivals are further apart than a delta can say (8.19 s): such a report must be split.
    """
    if not 0 < len(feedback.packets) <= MAX_STATUSES:
        raise ValueError(f"a report speaks of 1 to {MAX_STATUSES} packets")
    symbols = bytearray()
    deltas = bytearray()
    last_ticks = 0
    for index, (seq, arrival_us) in enumerate(feedback.packets):
        if seq != (feedback.base_seq + index) & 0xFFFF:
            raise ValueError("packets are not dense")
        if arrival_us is None:
            symbols.append(_LOST)
            continue
        ticks = (arrival_us - feedback.reference_time_us) // DELTA_US
        delta = ticks - last_ticks
        last_ticks = ticks
        if 0 <= delta <= 0xFF:
            symbols.append(_SMALL)
            deltas.append(delta)
        elif MIN_DELTA_TICKS <= delta <= MAX_DELTA_TICKS:
            symbols.append(_LARGE)
            deltas += (delta & 0xFFFF).to_bytes(2, "big")
        else:
            raise ValueError("a delta does not fit")
    reference = (feedback.reference_time_us // REFERENCE_US) & 0xFFFFFF
    fixed = _FIXED.pack(
        feedback.sender_ssrc,
        feedback.media_ssrc,
        feedback.base_seq,
        len(feedback.packets),
        reference << 8 | feedback.feedback_count & 0xFF,
    )
    return fixed + _pack_chunks(symbols) + bytes(deltas)


def _parse_chunks(body: bytes, count: int) -> tuple[bytearray, int]:
    """The status of `count` packets, and the offset of the first delta."""
    symbols = bytearray()
    offset = _FIXED.size
    size = len(body)
    while len(symbols) < count:
        if offset + 2 > size:
            raise ParseError("rtcp-twcc-chunks")
        chunk = body[offset] << 8 | body[offset + 1]
        offset += 2
        if not chunk & 0x8000:
            run = min(chunk & _RUN_LIMIT, count - len(symbols))
            symbols += bytes((chunk >> 13 & 3,)) * run
        elif chunk & 0x4000:
            symbols += bytes(chunk >> shift & 3 for shift in range(12, -1, -2))
        else:
            symbols += bytes(chunk >> shift & 1 for shift in range(13, -1, -1))
    del symbols[count:]
    if symbols and max(symbols) > _LARGE:
        raise ParseError("rtcp-twcc-symbol")
    return symbols, offset


def _pack_chunks(symbols: bytearray) -> bytes:
    """Greedy: a run where it covers at least what a vector would, else the widest vector that can say it."""
    chunks = bytearray()
    index = 0
    total = len(symbols)
    while index < total:
        symbol = symbols[index]
        end = index + 1
        limit = min(total, index + _RUN_LIMIT)
        while end < limit and symbols[end] == symbol:
            end += 1
        wide = symbols[index : index + 14]
        capacity = 7 if _LARGE in wide else 14
        if end - index >= min(capacity, total - index):
            chunk = symbol << 13 | end - index
            index = end
        elif capacity == 14:
            chunk = 0x8000 | _vector(wide, 14, 1)
            index += 14
        else:
            chunk = 0xC000 | _vector(wide[:7], 7, 2)
            index += 7
        chunks += chunk.to_bytes(2, "big")
    return bytes(chunks)


def _vector(symbols: bytearray, capacity: int, bits: int) -> int:
    value = 0
    for symbol in symbols:
        value = value << bits | symbol
    return value << bits * (capacity - len(symbols))
