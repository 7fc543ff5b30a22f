"""The VP9 payload descriptor. Spec: RFC 9628 section 4.2."""

from __future__ import annotations

from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp.bits import BitReader


class Vp9Descriptor(NamedTuple):
    """What precedes the VP9 bytes of a packet; None (offsets: 0) where a field is absent.

    `start` and `end` are of the layer frame (B, E). `inter_predicted` (P): refers to earlier pictures.
    `switching_up` (U): higher temporal layers may begin after this picture. `inter_layer` (D): refers to the
    spatial layer below. `sizes` is width and height of each spatial layer, lowest first, empty where the
    packet tells none. `layered` (L): layer indices are there. `header_length` is the offset of the VP9 bytes.
    """

    start: bool
    end: bool
    inter_predicted: bool
    flexible: bool
    not_reference_for_upper: bool
    picture_id: int | None
    picture_id_bits: int
    tl0_pic_idx: int | None
    temporal_id: int
    spatial_id: int
    switching_up: bool
    inter_layer: bool
    layered: bool
    sizes: tuple[tuple[int, int], ...]
    header_length: int
    picture_id_offset: int
    tl0_offset: int


def parse_descriptor(payload: bytes | memoryview) -> Vp9Descriptor:
    """Raises `ParseError` where the payload ends inside the descriptor, or names too many references."""
    try:
        first = payload[0]
        offset = 1
        picture_id = tl0_pic_idx = None
        bits = picture_id_offset = tl0_offset = layer = 0
        if first & 0x80:
            picture_id_offset = offset
            picture_id = payload[offset]
            if picture_id & 0x80:
                picture_id = (picture_id & 0x7F) << 8 | payload[offset + 1]
                bits = 15
                offset += 2
            else:
                bits = 7
                offset += 1
        if first & 0x20:
            layer = payload[offset]
            offset += 1
            if not first & 0x10:
                tl0_offset = offset
                tl0_pic_idx = payload[offset]
                offset += 1
        if first & 0x50 == 0x50:
            offset = _skip_references(payload, offset)
        sizes: tuple[tuple[int, int], ...] = ()
        if first & 0x02:
            sizes, offset = _parse_structure(payload, offset)
    except IndexError:
        raise ParseError("vp9-truncated") from None
    return Vp9Descriptor(
        first & 0x08 != 0, first & 0x04 != 0, first & 0x40 != 0, first & 0x10 != 0, first & 0x01 != 0,
        picture_id, bits, tl0_pic_idx, layer >> 5, layer >> 1 & 7, layer & 0x10 != 0, layer & 1 != 0,
        first & 0x20 != 0,
        sizes, offset, picture_id_offset, tl0_offset,
    )  # fmt: skip


def is_keyframe(descriptor: Vp9Descriptor) -> bool:
    """Whether this packet starts a keyframe: the base layer, without reference to earlier pictures."""
    return descriptor.start and not descriptor.inter_predicted and descriptor.spatial_id == 0


def frame_size(payload: bytes | memoryview, descriptor: Vp9Descriptor) -> tuple[int, int]:
    """Width and height in pixels of the largest layer a keyframe's first packet tells, (0, 0) for none.

    The scalability structure is believed first, else the frame's own header is read.
    Spec: RFC 9628 section 4.2.1; VP9 bitstream specification section 6.2.
    """
    if descriptor.sizes:
        return max(descriptor.sizes)
    offset = descriptor.header_length
    try:
        return _parse_frame_header(payload[offset : offset + 16])
    except ParseError:
        return 0, 0


def _skip_references(payload: bytes | memoryview, offset: int) -> int:
    for _ in range(3):
        more = payload[offset] & 1
        offset += 1
        if not more:
            return offset
    raise ParseError("vp9-references")


def _parse_structure(payload: bytes | memoryview, offset: int) -> tuple[tuple[tuple[int, int], ...], int]:
    head = payload[offset]
    offset += 1
    sizes: list[tuple[int, int]] = []
    if head & 0x10:
        for _ in range((head >> 5) + 1):
            width = payload[offset] << 8 | payload[offset + 1]
            height = payload[offset + 2] << 8 | payload[offset + 3]
            sizes.append((width, height))
            offset += 4
    if head & 0x08:
        pictures = payload[offset]
        offset += 1
        for _ in range(pictures):
            offset += 1 + (payload[offset] >> 2 & 3)
        if offset > len(payload):
            raise ParseError("vp9-truncated")
    return tuple(sizes), offset


def _parse_frame_header(data: bytes | memoryview) -> tuple[int, int]:
    bits = BitReader(data, "vp9-frame-header")
    if bits.read(2) != 2:
        raise ParseError("vp9-frame-header")
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3 and bits.flag():
        raise ParseError("vp9-frame-header")
    shows_existing = bits.flag()
    inter_frame = bits.flag()
    bits.read(2)  # show_frame, error_resilient_mode
    if shows_existing or inter_frame or bits.read(24) != 0x498342:
        raise ParseError("vp9-frame-header")
    if profile >= 2:
        bits.read(1)  # ten_or_twelve_bit
    if bits.read(3) != 7:  # color_space; 7 is sRGB
        bits.read(1)  # color_range
        if profile & 1:
            bits.read(3)  # subsampling and a reserved bit
    elif profile & 1:
        bits.read(1)
    return bits.read(16) + 1, bits.read(16) + 1
