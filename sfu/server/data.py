"""Data-channel messages: two bytes of header length, a JSON header, the payload. See docs/protocol.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.permissions import ROLES, Role
from sfu.server import validation as v
from sfu.server.rates import TokenBucket
from sfu.server.wire import Json

LABELS = frozenset({"reliable", "lossy"})
MAX_TOPIC = 128
MAX_TOPICS = 100
MAX_RECIPIENTS = 1000
ERROR_INTERVAL_US = 1_000_000
"""A sender hears of dropped messages once in this time."""
BURST_S = 1.0
"""Of its rate a sender may use this much at once."""

Format = Literal["binary", "text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMessage:
    """A client's message, for the participants in `to` and those of `role`; both None: for everybody else.

    The payload is as `format` says only if the sender is honest: it is passed on unread.
    """

    topic: str
    to: frozenset[ParticipantId] | None
    role: Role | None
    format: Format
    payload: bytes

    def is_for(self, participant: ParticipantId, role: Role) -> bool:
        if self.to is None and self.role is None:
            return True
        return role == self.role or (self.to is not None and participant in self.to)


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
        role=None if header.get("role") is None else v.choice(header, "role", ROLES),
        format=_format(header),
        payload=message[2 + length :],
    )


def _format(header: v.Message) -> Format:
    is_text, is_json = v.boolean(header, "text", False), v.boolean(header, "json", False)
    if is_text and is_json:
        raise v.bad("text and json exclude each other")
    return "text" if is_text else "json" if is_json else "binary"


def pack(header: Json, payload: bytes = b"") -> bytes:
    """A message of the server."""
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return len(encoded).to_bytes(2, "big") + encoded + payload


def stamped(message: DataMessage, sender: ParticipantId, now_ms: int) -> bytes:
    """The message as its receivers get it: who sent it and when is the server's word."""
    header = {
        "topic": message.topic,
        "from": sender,
        "text": message.format == "text",
        "json": message.format == "json",
        "sent_at_ms": now_ms,
    }
    return pack(header, message.payload)


class DataLimits:
    """What one sender may send, and how often it hears that it may not."""

    def __init__(self, limits: LimitsConfig, now_us: int) -> None:
        self._largest = limits.data_bytes
        rate = limits.data_bytes_per_s
        self._bytes = TokenBucket(rate, max(rate * BURST_S, limits.data_bytes), now_us)
        count = limits.data_messages_per_s
        self._messages = TokenBucket(count, max(count * BURST_S, 1), now_us)
        self._error_us: int | None = None
        self._untold = 0
        self.refused = 0
        """Messages that were not passed on."""

    def check(self, size: int, *, allowed: bool, now_us: int) -> None:
        """Raises `RequestError` `not_allowed`, `too_large` or `rate_limited`."""
        if not allowed:
            raise RequestError("not_allowed", "no right to send data")
        if size > self._largest:
            raise RequestError("too_large", f"a message has at most {self._largest} bytes")
        if not self._messages.take(1, now_us):
            raise RequestError("rate_limited", "too many messages a second")
        if not self._bytes.take(size, now_us):
            raise RequestError("rate_limited", "too many bytes a second")

    def refuse(self, now_us: int) -> int:
        """A message is dropped: how many were since the sender was told last; 0: it is not told now."""
        self.refused += 1
        self._untold += 1
        if self._error_us is not None and now_us - self._error_us < ERROR_INTERVAL_US:
            return 0
        self._error_us = now_us
        untold, self._untold = self._untold, 0
        return untold
