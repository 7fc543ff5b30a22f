"""Data-channel messages: two bytes of header length, a JSON header, the payload. See docs/protocol.md."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.server import validation as v
from sfu.server.rates import TokenBucket
from sfu.server.wire import Json

LABELS = frozenset({"reliable", "lossy"})
MAX_TOPIC = 128
MAX_RECIPIENTS = 1000
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
"""Unsent bytes of one receiver's channel above which it misses messages: memory is bounded, others go on."""
ERROR_INTERVAL_US = 1_000_000
"""A sender hears of dropped messages once in this time."""


@dataclass(frozen=True, slots=True)
class DataMessage:
    """A client's message. `to` is None for everybody else; `text` says that the payload is UTF-8."""

    topic: str
    to: frozenset[ParticipantId] | None
    text: bool
    payload: bytes


def unpack(message: bytes) -> DataMessage:
    """Read a client's message. Raises `RequestError` `bad_request`."""
    length = int.from_bytes(message[:2], "big")
    if len(message) < 2 + length:
        raise v.bad("truncated header")
    try:
        text = message[2 : 2 + length].decode()
    except UnicodeDecodeError:
        raise v.bad("header is not UTF-8") from None
    header = v.parse_object(text)
    to = None
    if header.get("to") is not None:
        ids = v.texts(header, "to", most=MAX_RECIPIENTS, longest=64)
        to = frozenset(ParticipantId(each) for each in ids)
    return DataMessage(
        topic=v.text(header, "topic", longest=MAX_TOPIC, default=""),
        to=to,
        text=v.boolean(header, "text", False),
        payload=message[2 + length :],
    )


def pack(header: Json, payload: bytes = b"") -> bytes:
    """A message of the server."""
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return len(encoded).to_bytes(2, "big") + encoded + payload


class DataLimits:
    """What one sender may send, and how often it hears that it may not."""

    def __init__(self, message_bytes: int, bytes_per_s: int, now_us: int) -> None:
        self._message_bytes = message_bytes
        self._bucket = TokenBucket(bytes_per_s, max(bytes_per_s, message_bytes), now_us)
        self._error_us: int | None = None

    def check(self, size: int, *, allowed: bool, now_us: int) -> None:
        """Raises `RequestError` `not_allowed`, `too_large` or `rate_limited`."""
        if not allowed:
            raise RequestError("not_allowed", "no right to send data")
        if size > self._message_bytes:
            raise RequestError("too_large", f"a message has at most {self._message_bytes} bytes")
        if not self._bucket.take(size, now_us):
            raise RequestError("rate_limited", "too many bytes a second")

    def error_due(self, now_us: int) -> bool:
        """Whether the sender is told of the error that has just happened."""
        if self._error_us is not None and now_us - self._error_us < ERROR_INTERVAL_US:
            return False
        self._error_us = now_us
        return True
