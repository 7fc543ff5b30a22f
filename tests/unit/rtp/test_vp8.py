from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.rtp import payload as payloads
from sfu.rtp.vp8 import frame_size, is_keyframe, parse_descriptor

KEYFRAME = bytes.fromhex("d0c3009d012a0005d0020047")  # libvpx, 1280x720
DELTA = bytes.fromhex("b10100f0")


def descriptor(
    *,
    start: bool = True,
    partition: int = 0,
    picture_id: int | None = None,
    bits: int = 15,
    tl0: int | None = None,
    temporal: int | None = None,
    sync: bool = False,
    key_index: int | None = None,
) -> bytes:
    first = (0x10 if start else 0) | partition
    present, rest = 0, b""
    if picture_id is not None:
        present |= 0x80
        rest += (0x8000 | picture_id).to_bytes(2, "big") if bits == 15 else bytes((picture_id,))
    if tl0 is not None:
        present |= 0x40
        rest += bytes((tl0,))
    if temporal is not None or key_index is not None:
        present |= (0x20 if temporal is not None else 0) | (0x10 if key_index is not None else 0)
        rest += bytes(((temporal or 0) << 6 | (0x20 if sync else 0) | (key_index or 0),))
    return bytes((first | 0x80, present)) + rest if present else bytes((first,))


@given(
    st.booleans(),
    st.integers(0, 7),
    st.none() | st.integers(0, 0x7FFF),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(0, 3),
    st.booleans(),
    st.none() | st.integers(0, 31),
)
def test_every_combination_of_fields(
    start: bool,
    partition: int,
    picture_id: int | None,
    tl0: int | None,
    temporal: int | None,
    sync: bool,
    key_index: int | None,
) -> None:
    bits = 7 if picture_id is not None and picture_id < 128 else 15
    head = descriptor(
        start=start,
        partition=partition,
        picture_id=picture_id,
        bits=bits,
        tl0=tl0,
        temporal=temporal,
        sync=sync,
        key_index=key_index,
    )
    parsed = parse_descriptor(head + DELTA)
    assert parsed.start == (start and partition == 0)
    assert parsed.picture_id == picture_id
    assert parsed.picture_id_bits == (0 if picture_id is None else bits)
    assert parsed.tl0_pic_idx == tl0
    assert parsed.temporal_id == temporal
    assert parsed.layer_sync == (sync and temporal is not None)
    assert parsed.key_index == key_index
    assert parsed.header_length == len(head)
    for cut in range(len(head)):
        with pytest.raises(ParseError):
            parse_descriptor(head[:cut])


def test_a_keyframe_starts_with_the_first_packet_of_its_first_partition() -> None:
    first = descriptor(picture_id=1) + KEYFRAME
    assert is_keyframe(first, parse_descriptor(first))
    assert frame_size(first, parse_descriptor(first)) == (1280, 720)
    for other in (
        descriptor(start=False) + KEYFRAME,
        descriptor(partition=1) + KEYFRAME,
        descriptor() + DELTA,
        descriptor(),
    ):
        assert not is_keyframe(other, parse_descriptor(other))


@pytest.mark.parametrize(
    ("hexadecimal", "size"),
    [
        ("d00f009d012a4001b400", (320, 180)),
        ("7035009d012a82026a01", (642, 362)),
        ("7035009d012a8202", (0, 0)),
    ],
)
def test_frame_size(hexadecimal: str, size: tuple[int, int]) -> None:
    data = b"\x10" + bytes.fromhex(hexadecimal)
    assert frame_size(data, parse_descriptor(data)) == size


def test_the_scale_bits_are_no_part_of_the_size() -> None:
    data = b"\x10" + bytes.fromhex("d00f009d012a4041b480")
    assert frame_size(data, parse_descriptor(data)) == (320, 180)


@given(st.integers(0, 0x7FFF), st.integers(0, 255), st.sampled_from((7, 15)), st.integers(0, 0x7FFF))
def test_rewriting_changes_the_ids_alone(picture_id: int, tl0: int, bits: int, new: int) -> None:
    old = picture_id & 0x7F if bits == 7 else picture_id
    data = descriptor(picture_id=old, bits=bits, tl0=tl0, temporal=2, sync=True, key_index=9) + KEYFRAME
    info = payloads.inspect("vp8", data)
    changed = payloads.rewrite(data, info, new, tl0 + 1)
    before, after = parse_descriptor(data), parse_descriptor(changed)
    assert len(changed) == len(data)
    assert after == before._replace(
        picture_id=new & (0x7F if bits == 7 else 0x7FFF), tl0_pic_idx=tl0 + 1 & 0xFF
    )
    assert changed[after.header_length :] == KEYFRAME


def test_rewriting_adds_nothing() -> None:
    data = descriptor() + DELTA
    assert payloads.rewrite(data, payloads.inspect("vp8", data), 5, 6) == data


def test_inspection_tells_layers_and_absent_ids() -> None:
    info = payloads.inspect("vp8", descriptor(temporal=2, sync=True) + DELTA)
    assert (info.keyframe, info.start_of_frame, info.temporal, info.layer_sync) == (False, True, 2, True)
    assert (info.picture_id, info.tl0_pic_idx) == (-1, -1)
    info = payloads.inspect("vp8", memoryview(descriptor(picture_id=300, tl0=7, temporal=0) + KEYFRAME))
    assert (info.keyframe, info.width, info.height) == (True, 1280, 720)
    assert (info.picture_id, info.picture_id_bits, info.tl0_pic_idx) == (300, 15, 7)
