"""What of a scalable stream a packet belongs to, and so who can do without it.

VP8 has temporal layers; VP9 (RFC 9628) and AV1 (by its dependency descriptor) have spatial ones too, all in
one stream: a picture is a run of layer frames, smallest first. Every layer frame depends on lower layers
only, so that leaving out everything above some spatial and some temporal layer is always right.

Spatial layers that do not depend on each other at all (S modes) are simulcast within one stream: each viewer
gets one of them, and all of them in keyframes, which tell how the stream is made. A decoder that got the
smaller ones too would lose what they refer to to the larger ones' keyframes.
"""

from __future__ import annotations

from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp import dependency_descriptor
from sfu.rtp.dependency_descriptor import DependencyStructure, Indication, Template
from sfu.rtp.payload import PayloadInfo

MOST_SPATIAL = 8
MOST_TEMPORAL = 8


class PacketLayer(NamedTuple):
    """The place of one packet. A packet that nobody can do without may have none.

    `first`: a picture begins here. `last`: a layer frame ends here, and the picture for those who get no
    higher layer. `sync`: this frame's temporal layer may begin with it. `switch_up`: every higher temporal
    layer may begin after it. `gapless`: pictures left out must not leave a gap in the picture ids. `alone`:
    no larger layer of this picture refers to it.
    """

    spatial: int
    temporal: int
    first: bool
    last: bool
    sync: bool
    switch_up: bool
    gapless: bool
    alone: bool


def of_vp8(info: PayloadInfo) -> PacketLayer | None:
    """None for the base layer. Spec: RFC 7741 section 4.2."""
    if not info.temporal:
        return None
    return PacketLayer(0, info.temporal, info.start_of_frame, False, info.layer_sync, False, True, False)


def of_vp9(info: PayloadInfo) -> PacketLayer | None:
    """None where the descriptor names no layers.

    References are told by differences of picture ids, so these must keep their distances, and a picture
    switches up what follows it. Spec: RFC 9628 section 4.2.
    """
    if not info.layered:
        return None
    first = info.start_of_frame and not info.spatial
    return PacketLayer(
        info.spatial, info.temporal, first, info.end_of_frame, False, info.layer_sync, False,
        info.unreferenced,
    )  # fmt: skip


class DescribedLayers:
    """Layers by the dependency descriptor of one stream, whose structure comes with its keyframes.

    Spec: RTP Payload Format For AV1 (v1.0.0) appendix A.
    """

    __slots__ = ("_known", "_structure", "sizes")

    def __init__(self) -> None:
        self._structure: DependencyStructure | None = None
        self._known: dict[int, PacketLayer] = {}
        self.sizes: tuple[tuple[int, int], ...] = ()
        """Width and height of each spatial layer, lowest first, empty where not told."""

    def of(self, descriptor: bytes) -> PacketLayer | None:
        """None where the stream has a single layer, or a packet tells none: then it can not be left out."""
        if len(descriptor) == 3:
            # All but a frame's first packet, as a rule, and what its first byte says is the same for many.
            layer = self._known.get(descriptor[0])
            if layer is not None or self._structure is None:
                return layer
        try:
            parsed = dependency_descriptor.parse(descriptor, self._structure)
        except ParseError:
            return None
        if parsed.structure is not None:
            self._structure = parsed.structure
            self._known.clear()
            self.sizes = parsed.structure.resolutions
        structure, frame = self._structure, parsed.frame
        if structure is None or frame is None or not _is_layered(structure):
            return None
        layer = PacketLayer(
            frame.spatial,
            frame.temporal,
            parsed.start_of_frame and not frame.spatial,
            parsed.end_of_frame,
            False,
            _switches_up(structure, frame.indications),
            False,
            _is_alone(structure, frame),
        )
        if len(descriptor) == 3:
            self._known[descriptor[0]] = layer
        return layer


def _is_layered(structure: DependencyStructure) -> bool:
    return any(template.spatial or template.temporal for template in structure.templates)


def _is_alone(structure: DependencyStructure, frame: Template) -> bool:
    """Whether no decode target of a larger picture has use for this frame."""
    return all(
        indication == Indication.NOT_PRESENT
        for target, indication in enumerate(frame.indications)
        if structure.layer_of_target(target)[0] > frame.spatial
    )


def _switches_up(structure: DependencyStructure, indications: tuple[Indication, ...]) -> bool:
    """Whether everything of the smallest picture can be decoded from this frame on."""
    targets = [
        indication
        for target, indication in enumerate(indications)
        if structure.layer_of_target(target)[0] == 0
    ]
    return bool(targets) and all(indication == Indication.SWITCH for indication in targets)
