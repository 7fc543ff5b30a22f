"""Messages on data channels: a length-prefixed JSON header and a payload (docs/protocol.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from sfu_client.events import DataReceived, DataRefused

_LENGTH = struct.Struct("!H")
MAX_HEADER_BYTES = 0xFFFF


def pack(header: Mapping[str, Any], payload: bytes) -> bytes:
    """One message. Raises `ValueError` when the header is over 65,535 bytes."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError("the header of a data message is at most 65535 bytes")
    return _LENGTH.pack(len(text)) + text + payload


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and payload. Raises `ValueError` where the bytes are no message."""
    if len(message) < _LENGTH.size:
        raise ValueError("truncated length")
    (length,) = _LENGTH.unpack_from(message)
    end = _LENGTH.size + length
    if len(message) < end:
        raise ValueError("truncated header")
    header = json.loads(message[_LENGTH.size : end])
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    return header, message[end:]


def event(message: bytes, *, reliable: bool) -> DataReceived | DataRefused:
    """What a message of the server tells; raises `ValueError` or `TypeError` where it does not parse."""
    header, payload = unpack(message)
    topic = str(header.get("topic") or "")
    if "error" in header:
        return DataRefused(str(header["error"]), topic)
    return DataReceived(
        payload.decode() if header.get("text") else payload,
        topic,
        str(header.get("from") or ""),
        int(header.get("sent_at_ms") or 0),
        reliable,
    )
