"""WebSocket text frames as bytes: an announcement is encoded, and deflated, once for all who get it.

Every frame is deflated by itself, without the context of those before it. A receiver that keeps a context
can read that too, and no connection needs a compressor of its own. Spec: RFC 6455 section 5.2, RFC 7692
section 7.2.1.
"""

from __future__ import annotations

import struct
import zlib

WINDOW_BITS = 15
"""Where a client asks for a smaller window, its frames are not deflated."""
MIN_DEFLATED = 256
"""Bytes; alone, what is smaller gains little."""
SMALL = 4096
"""Bytes; a window of this size is enough for what is not larger, and much cheaper to make."""

_TEXT = 0x81
_DEFLATED = 0x40
_TAIL = b"\x00\x00\xff\xff"


class Frame:
    """One message. Its bytes are made when somebody needs them, and kept."""

    __slots__ = ("_deflated", "_plain", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._plain = b""
        self._deflated = b""

    @property
    def text(self) -> str:
        return self._text

    def wire(self, *, deflate: bool) -> bytes:
        """The whole frame, deflated where that is allowed and of use."""
        if not self._plain:
            payload = self._text.encode()
            self._plain = self._deflated = _frame(_TEXT, payload)
            if len(payload) >= MIN_DEFLATED:
                self._deflated = b""
        if not deflate:
            return self._plain
        if not self._deflated:
            self._deflated = _frame(_TEXT | _DEFLATED, _deflate(self._text.encode()))
        return self._deflated


def _deflate(payload: bytes) -> bytes:
    small = len(payload) <= SMALL
    compressor = zlib.compressobj(
        level=zlib.Z_BEST_SPEED, wbits=-12 if small else -WINDOW_BITS, memLevel=5 if small else 8
    )
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    if length < 65536:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload
