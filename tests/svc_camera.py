"""A publisher of one scalable VP9 or AV1 stream, and a decoder that checks what a viewer got of it.

The bytes behind the descriptors name each layer frame and those it depends on, so that the check believes
nothing a forwarder reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from descriptor_writer import attached, mandatory
from plane_harness import SENT_IDS, Stage, one_byte, rtp, two_byte

from sfu.media.plane import Codec
from sfu.rtp.dependency_descriptor import DependencyStructure, Indication, Template
from sfu.rtp.packet import RtpPacket
from sfu.rtp.vp9 import parse_descriptor

VP9 = Codec(name="vp9", payload_type=98, clock_rate=90_000, rtx_payload_type=99)
AV1 = Codec(name="av1", payload_type=45, clock_rate=90_000, rtx_payload_type=46)
_TEMPORALS = {1: (0,), 2: (0, 1), 3: (0, 2, 1, 2)}
_REFERENCE = {1: (1,), 2: (2, 1), 3: (4, 1, 2, 1)}
"""By the picture's place in its group: how many pictures back it refers to."""


@dataclass
class SvcCamera:
    """`spatial` and `temporal` layers; `key_mode` predicts between spatial layers in keyframes only."""

    stage: Stage
    codec: Codec = VP9
    spatial: int = 3
    temporal: int = 3
    key_mode: bool = True
    simulcast: bool = False
    """Nothing is predicted between spatial layers, in keyframes either."""
    flexible: bool = False
    part_bytes: int = 200
    ssrc: int = 0x1000
    seq: int = 60_000
    timestamp: int = 50_000
    picture: int = 32_700
    tl0: int = 250
    frame_number: int = 65_500
    sizes: tuple[tuple[int, int], ...] = ((320, 180), (640, 360), (1280, 720))
    sent: dict[int, bytes] = field(default_factory=dict)
    _group: int = 0
    _count: int = 0
    _started: int = 0

    def frame(self, *, key: bool = False, layers: int | None = None) -> list[bytes]:
        """The packets of the next picture with its lowest `layers` (all if None), in the clear."""
        count = self.spatial if layers is None else layers
        self.timestamp += 3000
        self.picture += 1
        self._count += 1
        if key:
            self._group, self._started = 0, self._count
        place = self._group % len(_TEMPORALS[self.temporal])
        temporal = _TEMPORALS[self.temporal][place]
        self.tl0 += temporal == 0
        packets: list[bytes] = []
        for spatial in range(count):
            depends = [] if key else [(self._count - _REFERENCE[self.temporal][place], spatial)]
            if spatial and self._from_below(key):
                depends.append((self._count, spatial - 1))
            self.frame_number += 1
            for part in range(2):
                body = json.dumps({"id": (self._count, spatial), "part": part, "depends": depends}).encode()
                body = body.ljust(self.part_bytes)
                head, extension = self._describe(key, spatial, temporal, place, part)
                marker = part == 1 and spatial == count - 1
                packet = rtp(
                    self.ssrc, self.seq, self.timestamp, head + body, payload_type=self.codec.payload_type,
                    marker=marker, extension=extension,
                )  # fmt: skip
                self.sent[self.seq & 0xFFFF] = packet
                packets.append(packet)
                self.seq += 1
        self._group += 1
        return packets

    def send(self, *, key: bool = False, layers: int | None = None) -> None:
        """The next picture, sent."""
        for packet in self.frame(key=key, layers=layers):
            self.stage.publish(packet)

    def _from_below(self, key: bool) -> bool:
        """Whether a layer refers to the smaller one of its picture."""
        return not self.simulcast and (key or not self.key_mode)

    def _describe(self, key: bool, spatial: int, temporal: int, place: int, part: int) -> tuple[bytes, bytes]:
        mid = self.stage.config.mid.encode()
        if self.codec is VP9:
            head = self._vp9(key, spatial, temporal, place, part)
            return head, one_byte({SENT_IDS.mid: mid})
        start = part == 0
        structure = structure_of(
            self.spatial, self.temporal, self.key_mode or self.simulcast, self.sizes, keys=not self.simulcast
        )
        fitting = [
            index
            for index, each in enumerate(structure.templates)
            if (each.spatial, each.temporal) == (spatial, temporal)
        ]
        template = fitting[-1 if key else 0]
        if key and start and not spatial:
            described = attached(structure, template, self.frame_number & 0xFFFF, end=False)
        else:
            described = mandatory(template, self.frame_number & 0xFFFF, start=start, end=not start)
        # N where the sequence begins; a frame unit, then what it holds, in one element of its own.
        head = bytes((0x18 if key and start and not spatial else 0x10 if start else 0x90, 6 << 3))
        return head, two_byte({SENT_IDS.mid: mid, SENT_IDS.dependency_descriptor: described})

    def _vp9(self, key: bool, spatial: int, temporal: int, place: int, part: int) -> bytes:
        predicted = not key
        structure = key and not spatial and not part
        first = (
            0xA0 | predicted << 6 | self.flexible << 4 | (part == 0) << 3 | (part == 1) << 2 | structure << 1
        )
        inter_layer = bool(spatial and self._from_below(key))
        if self.simulcast or (self.key_mode and not key):
            first |= 1  # no larger layer refers to it
        up = self.temporal > 1 and temporal < self.temporal - 1
        layer = temporal << 5 | up << 4 | spatial << 1 | inter_layer
        head = bytes((first, 0x80 | self.picture >> 8 & 0x7F, self.picture & 0xFF, layer))
        if not self.flexible:
            head += bytes((self.tl0 & 0xFF,))
        elif predicted:
            head += bytes((_REFERENCE[self.temporal][place] << 1,))
        if structure:
            head += bytes(((self.spatial - 1) << 5 | 0x10,))
            for width, height in self.sizes[: self.spatial]:
                head += width.to_bytes(2, "big") + height.to_bytes(2, "big")
        return head


def structure_of(
    spatial: int, temporal: int, apart: bool, sizes: tuple[tuple[int, int], ...], *, keys: bool
) -> DependencyStructure:
    """A decode target for each layer, and a template; with `keys` one for its frames of keyframes besides.

    `apart`: nothing is predicted between spatial layers, except in those.
    """
    targets = [(s, t) for s in range(spatial) for t in range(temporal)]

    def indication(layer: tuple[int, int], target: tuple[int, int], key: bool) -> Indication:
        if layer[1] > target[1] or layer[0] > target[0] or (apart and not key and layer[0] != target[0]):
            return Indication.NOT_PRESENT
        if layer[1] == target[1] and layer[1]:
            return Indication.DISCARDABLE
        return Indication.SWITCH

    templates = tuple(
        Template(s, t, tuple(indication((s, t), target, key) for target in targets), (), ())
        for s, t in targets
        for key in ((False, True) if keys and not t else (False,))
    )
    return DependencyStructure(0, len(targets), templates, (), sizes[:spatial])


@dataclass
class Decoded:
    """What a viewer's decoder made of its packets: layers of each picture, and its largest."""

    pictures: list[tuple[int, ...]]
    ids: list[int]
    """Which of the publisher's pictures these are."""
    picture_ids: list[int]
    """Of VP9."""


def decode(packets: list[RtpPacket]) -> Decoded:
    """Raises `AssertionError` for a frame that lacks a reference, and for markers in the wrong place."""
    whole: set[tuple[int, int]] = set()
    parts: set[tuple[int, int, int]] = set()
    pictures: dict[int, list[int]] = {}
    ids: list[int] = []
    picture_ids: list[int] = []
    for place, packet in enumerate(packets):
        body = json.loads(packet.payload[packet.payload.index(b"{") :])
        number, spatial = body["id"]
        following = packets[place + 1] if place + 1 < len(packets) else None
        ends = following is None or following.timestamp != packet.timestamp
        assert packet.marker == ends, (number, spatial, body["part"])
        for depends in body["depends"]:
            assert tuple(depends) in whole, (number, spatial, depends)
        parts.add((number, spatial, body["part"]))
        if (number, spatial, 0) in parts and (number, spatial, 1) in parts:
            whole.add((number, spatial))
        if number not in ids:
            ids.append(number)
            picture_ids.append(parse_descriptor(packet.payload).picture_id or 0)
        pictures.setdefault(number, [])
        if spatial not in pictures[number]:
            pictures[number].append(spatial)
    return Decoded([tuple(pictures[number]) for number in ids], ids, picture_ids)
