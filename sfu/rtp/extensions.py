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
    playout_delay: bytes = b""
    dependency_descriptor: bytes = b""


class Block(NamedTuple):
    """An extension block with two holes: the transport-wide number and the MID.

    Where `transport_cc` is not 0 the block is `word` (profile and length), `transport_cc` (the element's id
    and length: one byte, or two where `two_byte`), the number in two bytes, the MID's element in the same
    form, and `tail`. Otherwise it is `word`, the MID's element and `tail`. `size` is all of it in bytes, 0
    where there is no block at all.
    """

    word: int
    transport_cc: int
    two_byte: bool
    tail: bytes
    size: int


_NO_BLOCK = Block(0, 0, False, b"", 0)


class ExtensionLayout:
    """How legs that negotiated the same ids, with MIDs of the same length, write their extensions.

    A block is the most expensive part of a packet to make. With only the number and the MID left open, the
    same one fits nearly every subscriber.
    """

    __slots__ = ("__weakref__", "_always_two_byte", "_at_sending", "_ids", "_mid_bytes")

    def __init__(self, ids: ExtensionIds, mid_bytes: int) -> None:
        """`mid_bytes` is the length of the MID, 0 where none is written."""
        self._mid_bytes = mid_bytes if ids.mid else 0
        # What goes through may be absent, so its ids are looked at only when it is there.
        self._always_two_byte = self._mid_bytes > 16 or max(ids.mid, ids.transport_cc, ids.abs_send_time) > 14
        self._ids = (
            ids.audio_level,
            ids.playout_delay,
            ids.dependency_descriptor,
        )
        self._at_sending = (ids.transport_cc, ids.abs_send_time)

    def encode(self, carried: Carried, now_us: int) -> Block:
        """The block of a packet sent now. The two-byte form is taken only where a value needs it."""
        transport_cc, send_time = self._at_sending
        two_byte = self._always_two_byte
        elements: list[tuple[int, bytes]] = []
        for identifier, value in zip(self._ids, carried, strict=True):
            if value and identifier:
                elements.append((identifier, value))
                two_byte = two_byte or identifier > 14 or len(value) > 16
        if send_time:
            elements.append((send_time, abs_send_time(now_us)))
        tail = _pack(elements, two_byte)
        head_bytes = 2 if two_byte else 1
        holes = head_bytes + _TRANSPORT_CC_BYTES if transport_cc else 0
        if self._mid_bytes:
            holes += head_bytes + self._mid_bytes
        size = len(tail) + holes
        if not size:
            return _NO_BLOCK
        tail += bytes(-size % 4)
        size += 4 + -size % 4
        word = (TWO_BYTE_PROFILE if two_byte else ONE_BYTE_PROFILE) << 16 | size // 4 - 1
        if transport_cc:
            length = _TRANSPORT_CC_BYTES
            transport_cc = transport_cc << 8 | length if two_byte else transport_cc << 4 | length - 1
        return Block(word, transport_cc, two_byte, tail, size)


def mid_elements(ids: ExtensionIds, mid: str) -> tuple[bytes, bytes]:
    """The MID's element in the one-byte form and in the two-byte form, for the hole of a `Block`.

    Empty where the form cannot hold it, or where there is none to write.
    """
    value = mid.encode()
    if not ids.mid or not value:
        return b"", b""
    element = [(ids.mid, value)]
    fits = ids.mid <= 14 and len(value) <= 16
    return _pack(element, False) if fits else b"", _pack(element, True)


def abs_send_time(now_us: int) -> bytes:
    """Seconds modulo 64 as a 6.18 fixed point. Spec: draft-alvestrand-rmcat-remb-03 appendix."""
    return ((now_us << 18) // 1_000_000 & 0xFFFFFF).to_bytes(3, "big")


def _pack(elements: Iterable[tuple[int, bytes]], two_byte: bool) -> bytes:
    if two_byte:
        return b"".join([bytes((identifier, len(value))) + value for identifier, value in elements])
    return b"".join([bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in elements])
