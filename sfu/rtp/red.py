"""Redundant audio: packets that repeat earlier ones beside what is new. Spec: RFC 2198."""

from __future__ import annotations

from collections.abc import Mapping

from sfu.errors import ParseError

_HEADER_BYTES = 4


def primary(payload: bytes) -> tuple[int, bytes]:
    """The payload type and the data of the block that is new. Raises `ParseError`. Spec: RFC 2198 section 3.

    The data may be empty.
    """
    headers, redundant = _headers(payload)
    return payload[headers - 1], payload[headers + redundant :]


def renumber(payload: bytes, payload_types: Mapping[int, int]) -> bytes:
    """The payload with each block's payload type replaced; unknown ones stay. Raises `ParseError`."""
    headers, _ = _headers(payload)
    changed = bytearray(payload)
    for offset in (*range(0, headers - 1, _HEADER_BYTES), headers - 1):
        number = payload[offset] & 0x7F
        changed[offset] = payload[offset] & 0x80 | payload_types.get(number, number)
    return bytes(changed)


def _headers(payload: bytes) -> tuple[int, int]:
    """The length of all headers, and that of all redundant blocks after them."""
    offset = redundant = 0
    size = len(payload)
    while offset < size and payload[offset] & 0x80:
        if offset + _HEADER_BYTES > size:
            raise ParseError("red-truncated")
        redundant += (payload[offset + 2] & 0x03) << 8 | payload[offset + 3]
        offset += _HEADER_BYTES
    headers = offset + 1
    if headers + redundant > size:
        raise ParseError("red-truncated")
    return headers, redundant
