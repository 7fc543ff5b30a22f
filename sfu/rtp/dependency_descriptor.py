"""The dependency descriptor header extension. Spec: RTP Payload Format For AV1 (v1.0.0) appendix A."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from sfu.errors import ParseError
from sfu.rtp.bits import BitReader

_MAX_TEMPLATES = 64
_MANDATORY_BYTES = 3
_REASON = "dd-truncated"


class Indication(IntEnum):
    """What a frame is to a decode target. Spec: section A.5."""

    NOT_PRESENT = 0
    DISCARDABLE = 1
    SWITCH = 2
    REQUIRED = 3


@dataclass(frozen=True, slots=True)
class Template:
    """What the frames of one template have in common.

    `indications` has one entry for each decode target, `frame_diffs` the distances to the frames referred
    to, `chain_diffs` the distance to the previous frame of each chain (0: this frame begins it).
    """

    spatial: int
    temporal: int
    indications: tuple[Indication, ...]
    frame_diffs: tuple[int, ...]
    chain_diffs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DependencyStructure:
    """Attached to the first packet of a keyframe; descriptors after it refer to its templates.

    `protected_by` names the chain of each decode target; `resolutions` is width and height of each spatial
    layer, lowest first, empty where not told.
    """

    template_id_offset: int
    decode_targets: int
    templates: tuple[Template, ...]
    protected_by: tuple[int, ...]
    resolutions: tuple[tuple[int, int], ...]

    def layer_of_target(self, target: int) -> tuple[int, int]:
        """Highest spatial and temporal id among the frames of a decode target. Spec: section A.8.3."""
        held = [t for t in self.templates if t.indications[target] != Indication.NOT_PRESENT]
        return max((t.spatial for t in held), default=0), max((t.temporal for t in held), default=0)


@dataclass(frozen=True, slots=True)
class DependencyDescriptor:
    """Of one packet.

    `frame` holds what its template says with this frame's own values in place; it is None where the structure
    it needs is not known. `structure` is set where this packet attaches one, `active_targets` (a bit mask)
    where the packet tells which decode targets are produced.
    """

    start_of_frame: bool
    end_of_frame: bool
    template_id: int
    frame_number: int
    structure: DependencyStructure | None
    active_targets: int | None
    frame: Template | None


def parse(data: bytes, structure: DependencyStructure | None) -> DependencyDescriptor:
    """Parse an extension's value; `structure` is the last one that this stream attached.

    Raises `ParseError` where it is cut short or names a template that the structure does not have.
    """
    if len(data) < _MANDATORY_BYTES:
        raise ParseError(_REASON)
    start_of_frame = data[0] & 0x80 != 0
    end_of_frame = data[0] & 0x40 != 0
    template_id = data[0] & 0x3F
    frame_number = data[1] << 8 | data[2]
    attached: DependencyStructure | None = None
    active_targets: int | None = None
    bits: BitReader | None = None
    custom = 0
    if len(data) > _MANDATORY_BYTES:
        bits = BitReader(data[_MANDATORY_BYTES:], _REASON)
        structure_present = bits.flag()
        active_present = bits.flag()
        custom = bits.read(3)
        if structure_present:
            attached = structure = _parse_structure(bits)
            active_targets = (1 << structure.decode_targets) - 1
        if active_present:
            if structure is None:
                raise ParseError("dd-no-structure")
            active_targets = bits.read(structure.decode_targets)
    frame: Template | None = None
    if structure is not None:
        frame = _template(structure, template_id)
        if bits is not None and custom:
            frame = _customised(bits, frame, custom)
    return DependencyDescriptor(
        start_of_frame, end_of_frame, template_id, frame_number, attached, active_targets, frame
    )


def _template(structure: DependencyStructure, template_id: int) -> Template:
    index = (template_id - structure.template_id_offset) % _MAX_TEMPLATES
    if index >= len(structure.templates):
        raise ParseError("dd-template")
    return structure.templates[index]


def _customised(bits: BitReader, template: Template, custom: int) -> Template:
    indications, frame_diffs, chain_diffs = (
        template.indications,
        template.frame_diffs,
        template.chain_diffs,
    )
    if custom & 4:
        indications = tuple(Indication(bits.read(2)) for _ in indications)
    if custom & 2:
        diffs = []
        while size := bits.read(2):
            diffs.append(bits.read(4 * size) + 1)
        frame_diffs = tuple(diffs)
    if custom & 1:
        chain_diffs = tuple(bits.read(8) for _ in chain_diffs)
    return Template(template.spatial, template.temporal, indications, frame_diffs, chain_diffs)


def _parse_structure(bits: BitReader) -> DependencyStructure:
    template_id_offset = bits.read(6)
    targets = bits.read(5) + 1
    layers = _parse_layers(bits)
    indications = [tuple(Indication(bits.read(2)) for _ in range(targets)) for _ in layers]
    frame_diffs = [_parse_frame_diffs(bits) for _ in layers]
    chains = bits.read_non_symmetric(targets + 1)
    protected_by: tuple[int, ...] = ()
    chain_diffs: list[tuple[int, ...]] = [()] * len(layers)
    if chains:
        protected_by = tuple(bits.read_non_symmetric(chains) for _ in range(targets))
        chain_diffs = [tuple(bits.read(4) for _ in range(chains)) for _ in layers]
    resolutions: tuple[tuple[int, int], ...] = ()
    if bits.flag():
        # The last template is of the highest spatial layer: they are listed in ascending order.
        resolutions = tuple((bits.read(16) + 1, bits.read(16) + 1) for _ in range(layers[-1][0] + 1))
    templates = tuple(
        Template(spatial, temporal, indicated, frames, chained)
        for (spatial, temporal), indicated, frames, chained in zip(
            layers, indications, frame_diffs, chain_diffs, strict=True
        )
    )
    return DependencyStructure(template_id_offset, targets, templates, protected_by, resolutions)


def _parse_layers(bits: BitReader) -> list[tuple[int, int]]:
    spatial = temporal = 0
    layers: list[tuple[int, int]] = []
    while True:
        layers.append((spatial, temporal))
        following = bits.read(2)
        if following == 3:
            return layers
        if len(layers) == _MAX_TEMPLATES:
            raise ParseError("dd-templates")
        if following == 1:
            temporal += 1
        elif following == 2:
            spatial += 1
            temporal = 0
        if spatial > 3 or temporal > 7:
            raise ParseError("dd-layers")


def _parse_frame_diffs(bits: BitReader) -> tuple[int, ...]:
    diffs = []
    while bits.flag():
        diffs.append(bits.read(4) + 1)
    return tuple(diffs)
