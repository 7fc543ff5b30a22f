"""A publisher's protected packets, made before any clock runs, and the keys of everybody in a bench."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

import pylibsrtp

from sfu.media.plane import Codec, ExtensionIds, Kind, SrtpKeys

IDS = ExtensionIds(mid=4, transport_cc=3, abs_send_time=2, audio_level=1)
PUBLISHER_SSRC = 1
KEY_SEED = 7
STAMP_BYTES = 8
"""The end of each payload: when it was sent by the wall clock, ns; 0 where nobody asks."""


@dataclass(frozen=True)
class Medium:
    """`payload_bytes` count without header and tag. `burst` packets come at once, a frame."""

    kind: Kind
    codec: Codec
    payload_bytes: int
    burst: int


VIDEO = Medium("video", Codec(name="vp8", payload_type=96, clock_rate=90_000, rtx_payload_type=97), 1156, 10)
AUDIO = Medium("audio", Codec(name="opus", payload_type=111, clock_rate=48_000), 160, 1)
MEDIA = {"video": VIDEO, "audio": AUDIO}


def make_keys(number: int) -> SrtpKeys:
    """Those of the server towards peer `number`, the same in every process."""
    rng = random.Random(KEY_SEED * 100_000 + number)
    return SrtpKeys(profile="AEAD_AES_128_GCM", receive=rng.randbytes(28), send=rng.randbytes(28))


def srtp_session(key: bytes, direction: int) -> pylibsrtp.Session:
    profile = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=profile)
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


class Stream:
    """Frames of `medium.burst` packets, the first of all a keyframe. `peer` is the publisher's number."""

    def __init__(self, medium: Medium, peer: int = 0) -> None:
        self._medium = medium
        self._session = srtp_session(make_keys(peer).receive, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._number = 0
        self._body = random.Random(2).randbytes(medium.payload_bytes - STAMP_BYTES - 14)

    def take(self, count: int) -> list[bytes]:
        return [self.next() for _ in range(count)]

    def next(self, sent_ns: int = 0) -> bytes:
        number = self._number
        self._number += 1
        frame, part = divmod(number, self._medium.burst)
        last = part == self._medium.burst - 1
        first = (last or self._medium.kind == "audio") << 7 | self._medium.codec.payload_type
        head = struct.pack("!BBHII", 0x90, first, number & 0xFFFF, frame * 3000 & 0xFFFFFFFF, PUBLISHER_SSRC)
        level = struct.pack("!BB", 1 << 4, 0x80 | 20) if self._medium.kind == "audio" else bytes(2)
        extension = struct.pack("!HHBHB", 0xBEDE, 3, 3 << 4 | 1, number & 0xFFFF, 4 << 4) + b"0"
        extension += struct.pack("!B3s", 2 << 4 | 2, bytes(3)) + level + bytes(1)
        payload = self._start(frame, part) + self._body + struct.pack("!Q", sent_ns)
        return bytes(self._session.protect(head + extension + payload))

    def _start(self, frame: int, part: int) -> bytes:
        if self._medium.kind == "audio":
            return bytes(14)
        descriptor = struct.pack("!BBH", 0x90 if part == 0 else 0x80, 0x80, 0x8000 | frame & 0x7FFF)
        key = bytes.fromhex("d0c3009d012a0005d002")
        return descriptor + (key if frame == 0 and part == 0 else b"\xb1" + bytes(9))
