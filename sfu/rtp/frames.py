"""Frames put together from the packets of one stream, for those in the server who decode."""

from __future__ import annotations

from sfu.errors import ParseError
from sfu.rtp import vp8, vp9
from sfu.rtp.packet import RtpPacket

_START_CODE = b"\x00\x00\x00\x01"
_MOST_BYTES = 4_000_000
CODECS = ("vp8", "vp9", "h264")


class FrameAssembler:
    """Takes packets in order; gives whole frames, the first a keyframe, and so the first after a loss.

    Spec: RFC 7741, RFC 9628, RFC 6184 (single NAL units, STAP-A, FU-A).
    """

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._parts: list[bytes] = []
        self._size = 0
        self._expected = -1
        self._broken = True
        self.waits = True
        """Whether nothing can be given before a keyframe comes."""

    def push(self, packet: RtpPacket, *, keyframe: bool) -> bytes | None:
        """The frame that this packet ends, else None. `keyframe`: one begins with this packet."""
        if self._expected >= 0 and packet.seq != self._expected:
            self.waits = self._broken = True
        self._expected = packet.seq + 1 & 0xFFFF
        if keyframe:
            self.waits = self._broken = False
            self._clear()
        if packet.payload and not self._broken:
            self._add(packet.payload)
        if not packet.marker:
            return None
        whole = None if self._broken or self.waits else b"".join(self._parts)
        self._clear()
        return whole or None

    def _clear(self) -> None:
        self._parts.clear()
        self._size = 0

    def _add(self, payload: bytes) -> None:
        try:
            part = self._part(payload)
        except (ParseError, IndexError):
            self.waits = self._broken = True
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MOST_BYTES:
            self.waits = self._broken = True

    def _part(self, payload: bytes) -> bytes:
        if self._codec == "vp8":
            return payload[vp8.parse_descriptor(payload).header_length :]
        if self._codec == "vp9":
            return payload[vp9.parse_descriptor(payload).header_length :]
        return _annex_b(payload)


def _annex_b(payload: bytes) -> bytes:
    kind = payload[0] & 0x1F
    if kind == 24:
        units, offset = [], 1
        while offset + 2 <= len(payload):
            size = payload[offset] << 8 | payload[offset + 1]
            units.append(_START_CODE + payload[offset + 2 : offset + 2 + size])
            offset += 2 + size
        return b"".join(units)
    if kind == 28:
        begins = payload[1] & 0x80
        head = bytes((payload[0] & 0xE0 | payload[1] & 0x1F,))
        return (_START_CODE + head if begins else b"") + payload[2:]
    return _START_CODE + payload
