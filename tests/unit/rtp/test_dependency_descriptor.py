from __future__ import annotations

import pytest
from descriptor_writer import Bits, attached, mandatory
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import ParseError
from sfu.rtp.dependency_descriptor import DependencyStructure, Indication, Template, parse


@st.composite
def structures(draw: st.DrawFn) -> DependencyStructure:
    targets = draw(st.integers(1, 9))
    chains = draw(st.integers(0, targets))
    layers = [(0, 0)]
    for step in draw(st.lists(st.integers(0, 2), max_size=12)):
        spatial, temporal = layers[-1]
        following = ((spatial, temporal), (spatial, temporal + 1), (spatial + 1, 0))[step]
        if following[0] <= 3 and following[1] <= 7:
            layers.append(following)
    indication = st.sampled_from(Indication)
    templates = tuple(
        Template(
            spatial,
            temporal,
            tuple(draw(st.lists(indication, min_size=targets, max_size=targets))),
            tuple(draw(st.lists(st.integers(1, 16), max_size=3))),
            tuple(draw(st.lists(st.integers(0, 15), min_size=chains, max_size=chains))),
        )
        for spatial, temporal in layers
    )
    protected = st.lists(st.integers(0, max(0, chains - 1)), min_size=targets, max_size=targets)
    sizes = st.lists(
        st.tuples(st.integers(1, 0x10000), st.integers(1, 0x10000)),
        min_size=layers[-1][0] + 1,
        max_size=layers[-1][0] + 1,
    )
    return DependencyStructure(
        draw(st.integers(0, 63)),
        targets,
        templates,
        tuple(draw(protected)) if chains else (),
        tuple(draw(st.just([]) | sizes)),
    )


@given(structures(), st.data())
def test_an_attached_structure_is_read_as_it_was_written(
    structure: DependencyStructure, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(structure.templates) - 1))
    template_id = (structure.template_id_offset + index) % 64
    parsed = parse(attached(structure, template_id, 4711), None)
    assert parsed.structure == structure
    assert parsed.active_targets == (1 << structure.decode_targets) - 1
    assert parsed.frame == structure.templates[index]
    assert (parsed.template_id, parsed.frame_number) == (template_id, 4711)
    later = parse(mandatory(template_id, 4712, start=False), structure)
    assert later.frame == structure.templates[index]
    assert (later.start_of_frame, later.end_of_frame, later.structure) == (False, True, None)


L1T2 = DependencyStructure(
    0,
    2,
    (
        Template(0, 0, (Indication.SWITCH, Indication.SWITCH), (), (0,)),
        Template(0, 0, (Indication.SWITCH, Indication.SWITCH), (2,), (2,)),
        Template(0, 1, (Indication.NOT_PRESENT, Indication.DISCARDABLE), (1,), (1,)),
    ),
    (0, 0),
    ((1280, 720),),
)


def test_layers_of_decode_targets() -> None:
    assert [L1T2.layer_of_target(target) for target in range(2)] == [(0, 0), (0, 1)]


def test_own_values_of_a_frame_replace_its_templates() -> None:
    bits = Bits()
    bits.u(5, 0b01111)
    bits.u(2, 0b10)  # active decode targets
    bits.u(2, Indication.REQUIRED)
    bits.u(2, Indication.NOT_PRESENT)
    for size, diff in ((1, 3), (2, 200), (3, 4096)):
        bits.u(2, size)
        bits.u(4 * size, diff - 1)
    bits.u(2, 0)
    bits.u(8, 77)
    parsed = parse(mandatory(2, 9) + bits.data(), L1T2)
    assert parsed.active_targets == 0b10
    assert parsed.frame == Template(
        0, 1, (Indication.REQUIRED, Indication.NOT_PRESENT), (3, 200, 4096), (77,)
    )


def test_without_a_structure_the_frame_is_unknown() -> None:
    parsed = parse(mandatory(7, 65535, end=False), None)
    assert (parsed.start_of_frame, parsed.end_of_frame, parsed.frame_number) == (True, False, 65535)
    assert parsed.frame is None
    # Own values cannot be read without knowing how many there are.
    assert parse(mandatory(7, 1) + b"\x38\xff", None).frame is None


@pytest.mark.parametrize(
    ("data", "structure", "reason"),
    [
        (b"", None, "dd-truncated"),
        (b"\xc0\x00", None, "dd-truncated"),
        (mandatory(3, 1), L1T2, "dd-template"),
        (mandatory(1, 1) + b"\x40", None, "dd-no-structure"),
        (mandatory(0, 1) + b"\x80", None, "dd-truncated"),
        (mandatory(0, 1) + b"\x80" + bytes(60), None, "dd-templates"),
        (mandatory(0, 1) + b"\x80\x00" + b"\xaa" * 60, None, "dd-layers"),
    ],
)
def test_malformed_descriptors_are_refused(
    data: bytes, structure: DependencyStructure | None, reason: str
) -> None:
    with pytest.raises(ParseError) as caught:
        parse(data, structure)
    assert caught.value.reason == reason


@pytest.mark.parametrize("cut", range(3, 9))
def test_a_structure_cut_short_is_refused(cut: int) -> None:
    whole = attached(L1T2, 0)
    with pytest.raises(ParseError):
        parse(whole[: max(4, cut)], None)
