"""The VP8 payload descriptor. Spec: RFC 7741 section 4.2."""

from __future__ import annotations

from typing import NamedTuple

from sfu.errors import ParseError


class Vp8Descriptor(NamedTuple):
    """What precedes the VP8 bytes of a packet; None (offsets: 0) where a field is absent.

    `start` is set on the first packet of a frame. `layer_sync` (Y) says that the frame depends on the base
    temporal layer alone. `header_length` is the offset of the VP8 bytes.
    """

    start: bool
    non_reference: bool
    picture_id: int | None
    picture_id_bits: int
    tl0_pic_idx: int | None
    temporal_id: int | None
    layer_sync: bool
    key_index: int | None
    header_length: int
    picture_id_offset: int
    tl0_offset: int


def parse_descriptor(payload: bytes | memoryview) -> Vp8Descriptor:
    """Raises `ParseError` where the payload ends inside the descriptor."""
    try:
        first = payload[0]
        # Partition 0 starts a frame; the start of any other partition is inside one.
        start = first & 0x17 == 0x10
        if not first & 0x80:
            return Vp8Descriptor(start, first & 0x20 != 0, None, 0, None, None, False, None, 1, 0, 0)
        present = payload[1]
        offset = 2
        picture_id = tl0_pic_idx = temporal_id = key_index = None
        bits = picture_id_offset = tl0_offset = 0
        layer_sync = False
        if present & 0x80:
            picture_id_offset = offset
            picture_id = payload[offset]
            if picture_id & 0x80:
                picture_id = (picture_id & 0x7F) << 8 | payload[offset + 1]
                bits = 15
                offset += 2
            else:
                bits = 7
                offset += 1
        if present & 0x40:
            tl0_offset = offset
            tl0_pic_idx = payload[offset]
            offset += 1
        if present & 0x30:
            layers = payload[offset]
            offset += 1
            if present & 0x20:
                temporal_id = layers >> 6
                layer_sync = layers & 0x20 != 0
            if present & 0x10:
                key_index = layers & 0x1F
    except IndexError:
        raise ParseError("vp8-truncated") from None
    return Vp8Descriptor(
        start, first & 0x20 != 0, picture_id, bits, tl0_pic_idx, temporal_id, layer_sync, key_index, offset,
        picture_id_offset, tl0_offset,
    )  # fmt: skip


def is_keyframe(payload: bytes | memoryview, descriptor: Vp8Descriptor) -> bool:
    """Whether this packet starts a keyframe (P of the frame tag is 0). Spec: RFC 6386 section 9.1."""
    offset = descriptor.header_length
    return descriptor.start and offset < len(payload) and not payload[offset] & 1


def frame_size(payload: bytes | memoryview, descriptor: Vp8Descriptor) -> tuple[int, int]:
    """Width and height in pixels told by the first packet of a keyframe, (0, 0) where it is too short.

    Spec: RFC 6386 section 9.1.
    """
    offset = descriptor.header_length + 3
    if payload[offset : offset + 3] != b"\x9d\x01\x2a" or len(payload) < offset + 7:
        return 0, 0
    width = payload[offset + 3] | (payload[offset + 4] & 0x3F) << 8
    height = payload[offset + 5] | (payload[offset + 6] & 0x3F) << 8
    return width, height
