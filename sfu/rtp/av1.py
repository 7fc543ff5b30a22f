"""What a forwarder must know of AV1 payloads.

Spec: RTP Payload Format For AV1 (v1.0.0) section 4; AV1 bitstream specification sections 5.3 and 5.5.
"""

from __future__ import annotations

from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp.bits import BitReader

_SEQUENCE_HEADER, _FRAME_HEADER, _METADATA, _FRAME = 1, 3, 5, 6
_STARTS = frozenset({_SEQUENCE_HEADER, _FRAME_HEADER, _METADATA, _FRAME})


class Av1Payload(NamedTuple):
    """`keyframe` (N): a coded video sequence begins here. `start`: a frame's first unit is first here.

    `temporal_id` and `spatial_id` are of the first unit that tells them, else 0.
    `sequence_header` is the body of that unit where the packet holds one whole, else None.
    """

    keyframe: bool
    start: bool
    temporal_id: int
    spatial_id: int
    sequence_header: bytes | None


def parse_payload(payload: bytes | memoryview) -> Av1Payload:
    """Read the aggregation header and the first units. Raises `ParseError` where lengths do not fit."""
    if len(payload) < 2:
        raise ParseError("av1-truncated")
    head = payload[0]
    continued = head & 0x80 != 0
    elements = head >> 4 & 3
    keyframe = head & 0x08 != 0
    if keyframe and continued:
        raise ParseError("av1-aggregation")
    if continued:
        # A fragment has no unit header of its own, and what follows it is seldom a new frame.
        return Av1Payload(False, False, 0, 0, None)
    start, length = (1, len(payload) - 1) if elements == 1 else _parse_leb128(payload, 1)
    kind, temporal_id, spatial_id, body = _parse_unit(payload, start, length)
    sequence_header: bytes | None = None
    if kind == _SEQUENCE_HEADER:
        end = start + length
        sequence_header = bytes(payload[body:end])
        if end < len(payload):
            # The unit of the frame itself follows, and it is the one that tells the layer.
            follows = (end, len(payload) - end) if elements == 2 else _parse_leb128(payload, end)
            _, temporal_id, spatial_id, _ = _parse_unit(payload, *follows)
    return Av1Payload(keyframe, kind in _STARTS, temporal_id, spatial_id, sequence_header)


def frame_size(sequence_header: bytes) -> tuple[int, int]:
    """Largest width and height in pixels that a sequence header allows. Raises `ParseError`.

    Spec: AV1 bitstream specification section 5.5.1.
    """
    bits = BitReader(sequence_header, "av1-sequence-header")
    bits.read(4)  # seq_profile, still_picture
    if bits.flag():  # reduced_still_picture_header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits = bits.read(4) + 1
    height_bits = bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _parse_leb128(payload: bytes | memoryview, offset: int) -> tuple[int, int]:
    """Where an element begins and its length, from its leb128 length at `offset`."""
    value = 0
    for shift in range(0, 56, 7):
        if offset >= len(payload):
            break
        byte = payload[offset]
        value |= (byte & 0x7F) << shift
        offset += 1
        if not byte & 0x80:
            return offset, value
    raise ParseError("av1-length")


def _parse_unit(payload: bytes | memoryview, start: int, length: int) -> tuple[int, int, int, int]:
    """Type, temporal id, spatial id and offset of the body of the unit at `start`."""
    end = start + length
    if length == 0 or end > len(payload):
        raise ParseError("av1-unit")
    head = payload[start]
    if head & 0x80:
        raise ParseError("av1-unit")
    body = start + 1
    temporal_id = spatial_id = 0
    if head & 0x04:
        if body >= end:
            raise ParseError("av1-unit")
        temporal_id = payload[body] >> 5
        spatial_id = payload[body] >> 3 & 3
        body += 1
    if head & 0x02:
        # Senders should leave the unit's own size out; where it is there, it is read over.
        body, _ = _parse_leb128(payload, body)
    return head >> 3 & 0x0F, temporal_id, spatial_id, body


def _skip_operating_points(bits: BitReader) -> None:
    decoder_model = False
    delay_bits = 0
    if bits.flag():  # timing_info_present_flag
        bits.read(64)
        if bits.flag():  # equal_picture_interval
            bits.read_exp_golomb()
        decoder_model = bits.flag()
        if decoder_model:
            delay_bits = bits.read(5) + 1
            bits.read(42)
    display_delay = bits.flag()
    for _ in range(bits.read(5) + 1):
        bits.read(12)  # operating_point_idc
        if bits.read(5) > 7:
            bits.read(1)  # seq_tier
        if decoder_model and bits.flag():
            bits.read(2 * delay_bits + 1)
        if display_delay and bits.flag():
            bits.read(4)
