"""One view of every codec's payload, for a forwarder that does not decode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp import av1, h264, vp8, vp9


class PayloadInfo(NamedTuple):
    """What one packet tells of its frame.

    `keyframe`: a decoder can begin with this packet. `start_of_frame` and `end_of_frame` are of the layer
    frame; codecs that do not tell leave them False, and H.264 may start a frame more than once.
    `layer_sync`: temporal layers up to this one may begin here. `inter_predicted`: refers to earlier pictures
    (False only where the codec tells so). `width`, `height`: of the largest layer, in pixels, 0 unless told.
    `sizes` is width and height of each spatial layer, lowest first, where told; `layered`: the payload names
    its layers; `unreferenced`: no larger layer of the same picture refers to this one. `picture_id` and
    `tl0_pic_idx` are -1, and their offsets in the payload 0, where absent.
    """

    keyframe: bool = False
    start_of_frame: bool = False
    end_of_frame: bool = False
    temporal: int = 0
    spatial: int = 0
    layer_sync: bool = False
    inter_predicted: bool = True
    width: int = 0
    height: int = 0
    picture_id: int = -1
    picture_id_bits: int = 0
    tl0_pic_idx: int = -1
    picture_id_offset: int = 0
    tl0_offset: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    layered: bool = False
    unreferenced: bool = False


OPAQUE = PayloadInfo()
"""Of audio, of empty payloads and of codecs that are not looked into: every field tells nothing."""


def inspect(codec_name: str, payload: bytes | memoryview) -> PayloadInfo:
    """Look into a payload of the codec (lower case, as in `Codec.name`). Raises `ParseError`.

    Retransmissions must be unwrapped first. An empty payload (padding, probing) is `OPAQUE`.
    """
    inspector = INSPECTORS.get(codec_name)
    return inspector(payload) if inspector is not None and payload else OPAQUE


def rewrite(payload: bytes, info: PayloadInfo, picture_id: int, tl0_pic_idx: int) -> bytes:
    """The payload with other picture ids (VP8, VP9), of the same length; each is cut to its field's width.

    `info` is that of this payload. Fields that are absent stay absent.
    """
    if not info.picture_id_offset and not info.tl0_offset:
        return payload
    changed = bytearray(payload)
    offset = info.picture_id_offset
    if offset:
        if info.picture_id_bits == 15:
            changed[offset] = 0x80 | picture_id >> 8 & 0x7F
            changed[offset + 1] = picture_id & 0xFF
        else:
            changed[offset] = picture_id & 0x7F
    if info.tl0_offset:
        changed[info.tl0_offset] = tl0_pic_idx & 0xFF
    return bytes(changed)


def _inspect_vp8(payload: bytes | memoryview) -> PayloadInfo:
    descriptor = vp8.parse_descriptor(payload)
    keyframe = vp8.is_keyframe(payload, descriptor)
    width, height = vp8.frame_size(payload, descriptor) if keyframe else (0, 0)
    picture_id, tl0_pic_idx = descriptor.picture_id, descriptor.tl0_pic_idx
    return PayloadInfo(
        keyframe,
        descriptor.start,
        False,
        descriptor.temporal_id or 0,
        0,
        descriptor.layer_sync,
        not keyframe,
        width,
        height,
        -1 if picture_id is None else picture_id,
        descriptor.picture_id_bits,
        -1 if tl0_pic_idx is None else tl0_pic_idx,
        descriptor.picture_id_offset,
        descriptor.tl0_offset,
    )


def _inspect_vp9(payload: bytes | memoryview) -> PayloadInfo:
    descriptor = vp9.parse_descriptor(payload)
    keyframe = vp9.is_keyframe(descriptor)
    width, height = vp9.frame_size(payload, descriptor) if keyframe else (0, 0)
    picture_id, tl0_pic_idx = descriptor.picture_id, descriptor.tl0_pic_idx
    return PayloadInfo(
        keyframe,
        descriptor.start,
        descriptor.end,
        descriptor.temporal_id,
        descriptor.spatial_id,
        descriptor.switching_up,
        descriptor.inter_predicted,
        width,
        height,
        -1 if picture_id is None else picture_id,
        descriptor.picture_id_bits,
        -1 if tl0_pic_idx is None else tl0_pic_idx,
        descriptor.picture_id_offset,
        descriptor.tl0_offset,
        descriptor.sizes,
        descriptor.layered,
        descriptor.not_reference_for_upper,
    )


def _inspect_h264(payload: bytes | memoryview) -> PayloadInfo:
    parsed = h264.parse_payload(payload)
    width, height = _size_or_none(h264.frame_size, parsed.sps)
    return PayloadInfo(
        parsed.keyframe, parsed.start, inter_predicted=not parsed.keyframe, width=width, height=height
    )


def _inspect_av1(payload: bytes | memoryview) -> PayloadInfo:
    parsed = av1.parse_payload(payload)
    width, height = _size_or_none(av1.frame_size, parsed.sequence_header)
    return PayloadInfo(
        parsed.keyframe,
        parsed.start,
        temporal=parsed.temporal_id,
        spatial=parsed.spatial_id,
        inter_predicted=not parsed.keyframe,
        width=width,
        height=height,
    )


def _size_or_none(parse: Callable[[bytes], tuple[int, int]], header: bytes | None) -> tuple[int, int]:
    """A header the decoder may still understand is no reason to drop a packet: its size stays unknown."""
    if header is None:
        return 0, 0
    try:
        return parse(header)
    except ParseError:
        return 0, 0


INSPECTORS: Mapping[str, Callable[[bytes | memoryview], PayloadInfo]] = {
    "vp8": _inspect_vp8,
    "vp9": _inspect_vp9,
    "h264": _inspect_h264,
    "av1": _inspect_av1,
}
"""By codec name, for callers that look the codec up once; they take payloads that are not empty."""
