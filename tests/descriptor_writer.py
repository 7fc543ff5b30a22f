"""Writes dependency descriptors. Spec: RTP Payload Format For AV1 (v1.0.0) appendix A."""

from __future__ import annotations

from sfu.rtp.dependency_descriptor import DependencyStructure


class Bits:
    def __init__(self) -> None:
        self.text = ""

    def u(self, width: int, value: int) -> None:
        self.text += f"{value:0{width}b}" if width else ""

    def ns(self, values: int, value: int) -> None:
        width = values.bit_length()
        shorter = (1 << width) - values
        if value < shorter:
            self.u(width - 1, value)
        else:
            self.u(width, value + shorter)

    def data(self) -> bytes:
        size = -(-len(self.text) // 8)
        return int(self.text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


def mandatory(template_id: int, number: int, *, start: bool = True, end: bool = True) -> bytes:
    return bytes((0x80 * start | 0x40 * end | template_id,)) + number.to_bytes(2, "big")


def write_structure(bits: Bits, structure: DependencyStructure) -> None:
    bits.u(6, structure.template_id_offset)
    bits.u(5, structure.decode_targets - 1)
    previous = structure.templates[0]
    for template in structure.templates[1:]:
        step = 2 if template.spatial > previous.spatial else int(template.temporal > previous.temporal)
        bits.u(2, step)
        previous = template
    bits.u(2, 3)
    for template in structure.templates:
        for indication in template.indications:
            bits.u(2, indication)
    for template in structure.templates:
        for diff in template.frame_diffs:
            bits.u(1, 1)
            bits.u(4, diff - 1)
        bits.u(1, 0)
    chains = len(structure.templates[0].chain_diffs)
    bits.ns(structure.decode_targets + 1, chains)
    if chains:
        for chain in structure.protected_by:
            bits.ns(chains, chain)
        for template in structure.templates:
            for diff in template.chain_diffs:
                bits.u(4, diff)
    bits.u(1, bool(structure.resolutions))
    for width, height in structure.resolutions:
        bits.u(16, width - 1)
        bits.u(16, height - 1)


def attached(structure: DependencyStructure, template_id: int, number: int = 1, *, end: bool = True) -> bytes:
    bits = Bits()
    bits.u(5, 0b10000)
    write_structure(bits, structure)
    return mandatory(template_id, number, end=end) + bits.data()
