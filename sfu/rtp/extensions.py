"""RTP header extensions: both forms read, and a leg's own set written. Spec: RFC 8285."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sfu.errors import ParseError
from sfu.rtp.parameters import ExtensionIds

ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000
_TRANSPORT_CC_BYTES = 2


def parse_extensions(profile: int, data: bytes) -> dict[int, bytes]:
    """Values by id from the extension block after its length word.

    A profile that is neither form gives none. Of an id that stands twice the last counts. Raises `ParseError`
    where an element is longer than the block.
    """
    if profile == ONE_BYTE_PROFILE:
        return _parse_one_byte(data)
    if profile & 0xFFF0 == TWO_BYTE_PROFILE:
        return _parse_two_byte(data)
    return {}


def _parse_one_byte(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    offset = 0
    size = len(data)
    while offset < size:
        head = data[offset]
        if not head:
            offset += 1
            continue
        if head >= 0xF0:
            # Id 15 ends the block, whatever follows. Spec: RFC 8285 section 4.2.
            break
        start = offset + 1
        offset = start + (head & 0x0F) + 1
        if offset > size:
            raise ParseError("rtp-extension")
        if head >> 4:
            values[head >> 4] = data[start:offset]
    return values


def _parse_two_byte(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    offset = 0
    size = len(data)
    while offset < size:
        identifier = data[offset]
        if not identifier:
            offset += 1
            continue
        if offset + 1 == size:
            raise ParseError("rtp-extension")
        start = offset + 2
        offset = start + data[offset + 1]
        if offset > size:
            raise ParseError("rtp-extension")
        values[identifier] = data[start:offset]
    return values


class Carried(NamedTuple):
    """Values of one packet that go through from publisher to subscriber, empty where absent.

    `dependency_descriptor` is with the frame number the subscriber is to see.
    """

    audio_level: bytes = b""
    video_orientation: bytes = b""
    playout_delay: bytes = b""
    dependency_descriptor: bytes = b""


class Block(NamedTuple):
    """An extension block with a hole for the transport-wide number.

    Where `transport_cc` is not 0 the block is `word` (profile and length), `transport_cc` (the element's id
    and length: one byte, or two where `two_byte`), the number in two bytes, and `tail`. Otherwise it is
    `tail` alone, which may be empty. `size` is all of it in bytes.
    """

    word: int
    transport_cc: int
    two_byte: bool
    tail: bytes
    size: int


class ExtensionLayout:
    """How one leg writes its extensions: the ids it negotiated, and its MID."""

    __slots__ = ("_ids", "_mid")

    def __init__(self, ids: ExtensionIds, mid: str) -> None:
        self._ids = ids
        self._mid = mid.encode()

    def encode(self, carried: Carried, now_us: int) -> Block:
        """The block of a packet sent now. The two-byte form is taken only where a value needs it."""
        ids = self._ids
        elements = [
            (identifier, value)
            for identifier, value in (
                (ids.mid, self._mid),
                (ids.abs_send_time, abs_send_time(now_us)),
                (ids.audio_level, carried.audio_level),
                (ids.video_orientation, carried.video_orientation),
                (ids.playout_delay, carried.playout_delay),
                (ids.dependency_descriptor, carried.dependency_descriptor),
            )
            if identifier and value
        ]
        cc = ids.transport_cc
        if not elements and not cc:
            return Block(0, 0, False, b"", 0)
        two_byte = cc > 14 or any(identifier > 14 or len(value) > 16 for identifier, value in elements)
        tail = _pack(elements, two_byte)
        hole = 0
        if cc:
            hole = (2 if two_byte else 1) + _TRANSPORT_CC_BYTES
        tail += bytes(-(len(tail) + hole) % 4)
        size = 4 + hole + len(tail)
        word = (TWO_BYTE_PROFILE if two_byte else ONE_BYTE_PROFILE) << 16 | size // 4 - 1
        if not cc:
            return Block(word, 0, two_byte, word.to_bytes(4, "big") + tail, size)
        head = cc << 8 | _TRANSPORT_CC_BYTES if two_byte else cc << 4 | _TRANSPORT_CC_BYTES - 1
        return Block(word, head, two_byte, tail, size)


def abs_send_time(now_us: int) -> bytes:
    """Seconds modulo 64 as a 6.18 fixed point. Spec: draft-alvestrand-rmcat-remb-03 appendix."""
    return ((now_us << 18) // 1_000_000 & 0xFFFFFF).to_bytes(3, "big")


def _pack(elements: Iterable[tuple[int, bytes]], two_byte: bool) -> bytes:
    if two_byte:
        return b"".join([bytes((identifier, len(value))) + value for identifier, value in elements])
    return b"".join([bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in elements])
