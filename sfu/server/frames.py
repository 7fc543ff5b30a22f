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


class Part:
    """Text that is a part of messages. Its bytes, plain and deflated, are made once for all that have it."""

    __slots__ = ("_deflated", "_plain", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._plain: bytes | None = None
        self._deflated: bytes | None = None

    @property
    def made(self) -> bool:
        return self._plain is not None

    def encode(self) -> None:
        """Make both now, rather than when they are sent."""
        assert self.plain is not None
        assert self.deflated is not None

    @property
    def plain(self) -> bytes:
        if self._plain is None:
            self._plain = self.text.encode()
        return self._plain

    @property
    def deflated(self) -> bytes:
        """Blocks that end at a byte and refer to nothing before: they may stand anywhere in a message."""
        if self._deflated is None:
            self._deflated = _deflate(self.plain)
        return self._deflated


class Frame:
    """One message. Its bytes are made when somebody needs them, and kept."""

    __slots__ = ("_deflated", "_parts", "_plain", "_size")

    def __init__(self, *parts: Part | str) -> None:
        self._parts = [part if isinstance(part, Part) else Part(part) for part in parts]
        self._plain = b""
        self._deflated = b""
        self._size = -1

    @property
    def text(self) -> str:
        return "".join(part.text for part in self._parts)

    @property
    def fresh(self) -> int:
        """Characters of the parts that nobody has encoded yet."""
        return sum(len(part.text) for part in self._parts if not part.made)

    @property
    def size(self) -> int:
        """Bytes before they are deflated."""
        if self._size < 0:
            self._size = sum(len(part.plain) for part in self._parts)
        return self._size

    def wire(self, *, deflate: bool) -> bytes:
        """The whole frame, deflated where that is allowed and of use."""
        if deflate and self.size >= MIN_DEFLATED:
            if not self._deflated:
                payload = b"".join([part.deflated for part in self._parts]).removesuffix(_TAIL)
                self._deflated = _frame(_TEXT | _DEFLATED, payload)
            return self._deflated
        if not self._plain:
            self._plain = _frame(_TEXT, b"".join([part.plain for part in self._parts]))
        return self._plain


def _deflate(payload: bytes) -> bytes:
    small = len(payload) <= SMALL
    compressor = zlib.compressobj(
        level=zlib.Z_BEST_SPEED, wbits=-12 if small else -WINDOW_BITS, memLevel=5 if small else 8
    )
    return compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    if length < 65536:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload
