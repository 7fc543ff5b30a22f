"""What a forwarder must know of H.264 payloads. Spec: RFC 6184 section 5; ITU-T H.264 section 7.3.2.1.1."""

from __future__ import annotations

from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp.bits import BitReader

_SLICE, _IDR, _SPS, _DELIMITER, _STAP_A, _FU_A = 1, 5, 7, 9, 24, 28
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_MAX_REFERENCE_CYCLE = 255


class H264Payload(NamedTuple):
    """`start` may be set on several packets of a frame (parameter sets, then the first slice).

    `sps` is the sequence parameter set with its NAL header where the packet holds one whole, else None.
    """

    keyframe: bool
    start: bool
    sps: bytes | None


def parse_payload(payload: bytes | memoryview) -> H264Payload:
    """Look into a packet's NAL units. Raises `ParseError` where an aggregate or fragment is cut short.

    `keyframe` means that a sequence parameter set begins here: a decoder can begin with this packet. An IDR
    slice alone does not count, because a subscriber that begins there has no parameter sets.
    """
    if not payload:
        raise ParseError("h264-truncated")
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        if len(payload) < 2:
            raise ParseError("h264-truncated")
        head = payload[1]
        if not head & 0x80:
            return H264Payload(False, False, None)
        kind = head & 0x1F
        return H264Payload(kind == _SPS, _starts_frame(kind, payload, 2), None)
    if kind == _STAP_A:
        return _parse_aggregate(payload)
    sps = bytes(payload) if kind == _SPS else None
    return H264Payload(kind == _SPS, _starts_frame(kind, payload, 1), sps)


def frame_size(sps: bytes) -> tuple[int, int]:
    """Width and height in pixels, after cropping, of a sequence parameter set with its NAL header.

    Raises `ParseError`.
    """
    # Emulation prevention: 00 00 03 stands for 00 00. Spec: ITU-T H.264 section 7.4.1.
    bits = BitReader(sps[1:].replace(b"\0\0\3", b"\0\0"), "h264-sps")
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level
    bits.read_exp_golomb()  # seq_parameter_set_id
    chroma = 1
    if profile in _HIGH_PROFILES:
        chroma = _skip_high_profile(bits)
    bits.read_exp_golomb()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    bits.read_exp_golomb()  # max_num_ref_frames
    bits.read(1)  # gaps_in_frame_num_value_allowed_flag
    width = (bits.read_exp_golomb() + 1) * 16
    map_units = bits.read_exp_golomb() + 1
    frames_only = bits.read(1)
    if not frames_only:
        bits.read(1)  # mb_adaptive_frame_field_flag
    height = map_units * 16 * (2 - frames_only)
    bits.read(1)  # direct_8x8_inference_flag
    if bits.flag():
        left, right, top, bottom = (bits.read_exp_golomb() for _ in range(4))
        width -= (left + right) * (2 if chroma in (1, 2) else 1)
        height -= (top + bottom) * (2 if chroma == 1 else 1) * (2 - frames_only)
    if not (0 < width <= 0xFFFF and 0 < height <= 0xFFFF):
        raise ParseError("h264-sps")
    return width, height


def _starts_frame(kind: int, payload: bytes | memoryview, offset: int) -> bool:
    if kind in (_SLICE, _IDR):
        # first_mb_in_slice is ue(v): a leading one bit says 0, the first macroblock of the picture.
        return len(payload) > offset and payload[offset] & 0x80 != 0
    return kind in (_SPS, _DELIMITER)


def _parse_aggregate(payload: bytes | memoryview) -> H264Payload:
    offset = 1
    size = len(payload)
    start = False
    sps: bytes | None = None
    while offset < size:
        if offset + 2 >= size:
            raise ParseError("h264-aggregate")
        end = offset + 2 + (payload[offset] << 8 | payload[offset + 1])
        if end > size or end == offset + 2:
            raise ParseError("h264-aggregate")
        kind = payload[offset + 2] & 0x1F
        if kind == _SPS and sps is None:
            sps = bytes(payload[offset + 2 : end])
        start = start or _starts_frame(kind, payload, offset + 3)
        offset = end
    return H264Payload(sps is not None, start, sps)


def _skip_high_profile(bits: BitReader) -> int:
    """Read up to the scaling lists; the chroma format as the cropping unit sees it."""
    chroma = bits.read_exp_golomb()
    separate_planes = chroma == 3 and bits.flag()
    bits.read_exp_golomb()  # bit_depth_luma_minus8
    bits.read_exp_golomb()  # bit_depth_chroma_minus8
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for index in range(12 if chroma == 3 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return 0 if separate_planes else chroma


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.read_signed_exp_golomb()) % 256
        last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.read_exp_golomb()
    if kind == 0:
        bits.read_exp_golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.read(1)  # delta_pic_order_always_zero_flag
        bits.read_signed_exp_golomb()  # offset_for_non_ref_pic
        bits.read_signed_exp_golomb()  # offset_for_top_to_bottom_field
        cycle = bits.read_exp_golomb()
        if cycle > _MAX_REFERENCE_CYCLE:
            raise ParseError("h264-sps")
        for _ in range(cycle):
            bits.read_signed_exp_golomb()
