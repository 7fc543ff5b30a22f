from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.rtp import payload as payloads
from sfu.rtp.vp9 import frame_size, is_keyframe, parse_descriptor

FRAME = bytes.fromhex("82498342004ff02cf60038241c184a18")  # libvpx-vp9, 1280x720


def descriptor(
    *,
    start: bool = True,
    end: bool = False,
    inter: bool = False,
    picture_id: int | None = None,
    layer: tuple[int, bool, int, bool] | None = None,
    tl0: int | None = None,
    references: int = 0,
    structure: bytes = b"",
) -> bytes:
    flexible = references > 0 or tl0 is None
    first = 0x40 * inter | 0x10 * flexible | 0x08 * start | 0x04 * end | 0x02 * bool(structure)
    rest = b""
    if picture_id is not None:
        first |= 0x80
        rest += (0x8000 | picture_id).to_bytes(2, "big") if picture_id > 127 else bytes((picture_id,))
    if layer is not None:
        temporal, switching, spatial, inter_layer = layer
        first |= 0x20
        rest += bytes((temporal << 5 | switching << 4 | spatial << 1 | inter_layer,))
        if tl0 is not None:
            rest += bytes((tl0,))
    if flexible and inter:
        count = max(1, references)
        rest += bytes(2 * (index + 1) | (index + 1 < count) for index in range(count))
    return bytes((first,)) + rest + structure


@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 0x7FFF),
    st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 7), st.booleans()),
    st.none() | st.integers(0, 255),
    st.integers(1, 3),
)
def test_every_combination_of_fields(
    start: bool,
    end: bool,
    inter: bool,
    picture_id: int | None,
    layer: tuple[int, bool, int, bool],
    tl0: int | None,
    references: int,
) -> None:
    head = descriptor(
        start=start,
        end=end,
        inter=inter,
        picture_id=picture_id,
        layer=layer,
        tl0=tl0,
        references=references if tl0 is None else 0,
    )
    parsed = parse_descriptor(head + FRAME)
    assert (parsed.start, parsed.end, parsed.inter_predicted) == (start, end, inter)
    assert (parsed.picture_id, parsed.tl0_pic_idx) == (picture_id, tl0)
    assert (parsed.temporal_id, parsed.switching_up, parsed.spatial_id, parsed.inter_layer) == layer
    assert parsed.header_length == len(head)
    assert is_keyframe(parsed) == (start and not inter and layer[2] == 0)
    for cut in range(len(head)):
        with pytest.raises(ParseError):
            parse_descriptor(head[:cut])


def test_the_scalability_structure_tells_sizes_and_is_read_over() -> None:
    # Three spatial layers with sizes, two pictures in the group: one with one reference, one with none.
    structure = bytes.fromhex("58014000b402800168050002d002040540")
    data = descriptor(picture_id=5, layer=(0, False, 0, False), tl0=1, structure=structure) + FRAME
    parsed = parse_descriptor(data)
    assert parsed.sizes == ((320, 180), (640, 360), (1280, 720))
    assert data[parsed.header_length :] == FRAME
    info = payloads.inspect("vp9", data)
    assert (info.keyframe, info.width, info.height, info.sizes) == (True, 1280, 720, parsed.sizes)
    for cut in range(parsed.header_length):
        with pytest.raises(ParseError):
            parse_descriptor(data[:cut])


@pytest.mark.parametrize(
    ("hexadecimal", "size"),
    [
        ("824983420013f00b360038241c18", (320, 180)),
        ("8249834200281016960038241c18", (642, 362)),
        ("82498342004ff02cf60038241c18", (1280, 720)),
        ("8600402492a03cff", (0, 0)),
        ("8249834200", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_without_a_structure_the_frame_header_tells_the_size(hexadecimal: str, size: tuple[int, int]) -> None:
    data = descriptor() + bytes.fromhex(hexadecimal)
    assert frame_size(data, parse_descriptor(data)) == size


def test_a_fourth_reference_is_refused() -> None:
    with pytest.raises(ParseError, match="vp9-references"):
        parse_descriptor(bytes((0x50, 0x03, 0x03, 0x03, 0x02)))


def test_rewriting_changes_the_ids_alone() -> None:
    data = descriptor(picture_id=0x7FFE, layer=(1, True, 0, False), tl0=255, inter=True) + FRAME
    changed = payloads.rewrite(data, payloads.inspect("vp9", data), 0x8001, 256)
    assert parse_descriptor(changed) == parse_descriptor(data)._replace(picture_id=1, tl0_pic_idx=0)
    assert changed[-len(FRAME) :] == FRAME


def test_inspection_tells_what_switching_needs() -> None:
    info = payloads.inspect(
        "vp9", descriptor(start=True, end=True, inter=True, layer=(2, True, 1, True)) + FRAME
    )
    assert (info.temporal, info.spatial, info.layer_sync, info.inter_predicted) == (2, 1, True, True)
    assert (info.keyframe, info.start_of_frame, info.end_of_frame) == (False, True, True)
