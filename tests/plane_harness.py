"""A plane between a publisher and subscribers with SRTP of their own, one packet at a time."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pylibsrtp
import pytest

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Codec,
    Egress,
    ExtensionIds,
    Kind,
    MediaPlane,
    PlaneEvent,
    PublicationConfig,
    SrtpKeys,
    SrtpProfile,
    SubscriptionConfig,
)
from sfu.media.python_plane import PythonPlane
from sfu.rtp.packet import RtpPacket, is_rtcp, parse_packet
from sfu.rtp.rtcp import RtcpPacket, parse_compound, serialize
from sfu.rtp.vp8 import parse_descriptor

MS = 1000
TICK_US = 20 * MS
VIDEO = Codec(name="vp8", payload_type=96, clock_rate=90_000, rtx_payload_type=97)
AUDIO = Codec(name="opus", payload_type=111, clock_rate=48_000)
SENT_IDS = ExtensionIds(
    mid=4,
    rid=10,
    repaired_rid=11,
    transport_cc=3,
    abs_send_time=2,
    audio_level=1,
    playout_delay=6,
    dependency_descriptor=8,
)
SEEN_IDS = ExtensionIds(
    mid=1, transport_cc=2, abs_send_time=3, audio_level=4, playout_delay=5, dependency_descriptor=7
)
OUT_PT, OUT_RTX_PT = 102, 103
_KEY_BYTES: dict[SrtpProfile, int] = {
    "AEAD_AES_256_GCM": 44,
    "AEAD_AES_128_GCM": 28,
    "AES128_CM_SHA1_80": 30,
}
_PROFILES: dict[SrtpProfile, int] = {
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


PLANES: dict[str, Callable[..., MediaPlane]] = {"python": PythonPlane}
"""Those that can be had here."""
with contextlib.suppress(ImportError):
    from sfu.media.native_plane import NativePlane

    PLANES["rust"] = NativePlane

_chosen = "python"


@pytest.fixture(params=list(PLANES), autouse=True)
def each_plane(request: pytest.FixtureRequest) -> Iterator[str]:
    """Import it, and every test of the module runs on every plane."""
    global _chosen
    _chosen = request.param
    yield _chosen
    _chosen = "python"


def make_plane(egress: Egress, *, rng: random.Random, cache_packets: int = 1024) -> MediaPlane:
    """Of the kind that the test runs on."""
    return PLANES[_chosen](egress, rng=rng, cache_packets=cache_packets)


class Numbers(random.Random):
    """Random numbers, but for those that a test wants to come next."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.coming: list[int] = []

    def randrange(self, *arguments: Any, **options: Any) -> int:
        return self.coming.pop(0) if self.coming else super().randrange(*arguments, **options)


def one_byte(values: Mapping[int, bytes]) -> bytes:
    """An extension block with its header. Spec: RFC 8285 section 4.2."""
    data = b"".join(bytes((number << 4 | len(value) - 1,)) + value for number, value in values.items())
    data += bytes(-len(data) % 4)
    return struct.pack("!HH", 0xBEDE, len(data) // 4) + data


def two_byte(values: Mapping[int, bytes]) -> bytes:
    """An extension block with its header. Spec: RFC 8285 section 4.3."""
    data = b"".join(bytes((number, len(value))) + value for number, value in values.items())
    data += bytes(-len(data) % 4)
    return struct.pack("!HH", 0x1000, len(data) // 4) + data


def rtp(
    ssrc: int,
    seq: int,
    timestamp: int,
    payload: bytes,
    *,
    payload_type: int = 96,
    marker: bool = False,
    extension: bytes = b"",
    csrcs: tuple[int, ...] = (),
    padding: int = 0,
) -> bytes:
    """An RTP packet in the clear."""
    first = 0x80 | (0x20 if padding else 0) | (0x10 if extension else 0) | len(csrcs)
    head = struct.pack(
        "!BBHII", first, marker << 7 | payload_type, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    )
    tail = bytes(padding - 1) + bytes((padding,)) if padding else b""
    return head + struct.pack(f"!{len(csrcs)}I", *csrcs) + extension + payload + tail


def vp8_payload(
    picture_id: int, *, key: bool = False, tl0: int = 0, temporal: int = 0, sync: bool = False,
    size: int = 100, start: bool = True, width: int = 640, height: int = 360,
) -> bytes:  # fmt: skip
    """A packet with 15-bit picture id, TL0PICIDX and temporal layer. Spec: RFC 7741 section 4.2."""
    head = bytes((0x90 if start else 0x80, 0xE0)) + struct.pack("!H", 0x8000 | picture_id & 0x7FFF)
    head += bytes((tl0 & 0xFF, temporal << 6 | sync << 5))
    if key and start:
        return head + b"\xd0\xc3\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(size)
    return head + b"\xb1\x01\x00" + bytes(size)


class Secured:
    """The peer's end of an association."""

    def __init__(self, seed: int, profile: SrtpProfile) -> None:
        rng = random.Random(seed)
        size = _KEY_BYTES[profile]
        self.keys = SrtpKeys(profile=profile, receive=rng.randbytes(size), send=rng.randbytes(size))
        self.outbound = self._session(self.keys.receive, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self.inbound = self._session(self.keys.send, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    def _session(self, key: bytes, direction: int) -> Any:
        policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_PROFILES[self.keys.profile])
        policy.window_size = 1024
        policy.allow_repeat_tx = True
        return pylibsrtp.Session(policy)


@dataclass
class Viewer:
    """A subscriber, and everything it was sent."""

    transport: TransportKey
    key: SubscriptionKey
    ssrc: int
    rtx_ssrc: int
    secured: Secured
    media: list[RtpPacket] = field(default_factory=list)
    rtx: list[RtpPacket] = field(default_factory=list)
    rtcp: list[RtcpPacket] = field(default_factory=list)

    @property
    def seqs(self) -> list[int]:
        return [packet.seq for packet in self.media]

    def offsets(self) -> list[int]:
        """Sequence numbers counted from the first one received."""
        return [(seq - self.seqs[0] + 0x8000 & 0xFFFF) - 0x8000 for seq in self.seqs]


class Stage:
    """A plane, one publisher (transport 1, publication 1) and its viewers, on a clock of its own."""

    def __init__(
        self,
        *,
        kind: Kind = "video",
        codecs: tuple[Codec, ...] | None = None,
        rids: tuple[str, ...] = (),
        profile: SrtpProfile = "AEAD_AES_128_GCM",
        mid: str = "0",
        seed: int = 1,
    ) -> None:
        self.now_us = 1_000_000
        self.rng = Numbers(seed)
        self.plane = make_plane(self, rng=self.rng)
        self.publication = PublicationKey(1)
        self.transport = TransportKey(1)
        self.profile = profile
        self.publisher = Secured(seed, profile)
        self.to_publisher: list[RtcpPacket] = []
        self.viewers: dict[TransportKey, Viewer] = {}
        self.config = PublicationConfig(
            transport=self.transport,
            kind=kind,
            mid=mid,
            codecs=codecs or ((AUDIO,) if kind == "audio" else (VIDEO,)),
            extensions=SENT_IDS,
            rids=rids,
            nack=True,
            transport_cc=True,
        )
        self.plane.open_transport(self.transport, self.publisher.keys)
        self.plane.open_publication(self.publication, self.config)

    def send(self, transport: TransportKey, packet: bytes) -> None:
        """The plane's egress."""
        if transport == self.transport:
            self.to_publisher += parse_compound(self.publisher.inbound.unprotect_rtcp(packet))
            return
        viewer = self.viewers[transport]
        if is_rtcp(packet):
            viewer.rtcp += parse_compound(viewer.secured.inbound.unprotect_rtcp(packet))
            return
        parsed = parse_packet(viewer.secured.inbound.unprotect(packet))
        (viewer.media if parsed.ssrc == viewer.ssrc else viewer.rtx).append(parsed)

    def view(self, *, rtx: bool = True, first_seq: int | None = None) -> Viewer:
        """One more subscriber, sent numbers from `first_seq` on."""
        number = len(self.viewers) + 10
        secured = Secured(number, self.profile)
        viewer = Viewer(
            TransportKey(number), SubscriptionKey(number), 0x2000 + number, 0x3000 + number, secured
        )
        self.viewers[viewer.transport] = viewer
        self.plane.open_transport(viewer.transport, secured.keys)
        if first_seq is not None:
            self.rng.coming = [first_seq]
        self.plane.open_subscription(viewer.key, self.subscription(viewer, rtx=rtx))
        return viewer

    def subscription(self, viewer: Viewer, *, rtx: bool = True) -> SubscriptionConfig:
        return SubscriptionConfig(
            transport=viewer.transport,
            publication=self.publication,
            mid="7",
            ssrc=viewer.ssrc,
            rtx_ssrc=viewer.rtx_ssrc if rtx else None,
            payload_types={codec.payload_type: OUT_PT for codec in self.config.codecs},
            rtx_payload_types={OUT_PT: OUT_RTX_PT} if rtx else {},
            extensions=SEEN_IDS,
            cname="PA_x",
        )

    def publish(self, packet: bytes) -> None:
        """From the publisher, protected."""
        self.plane.receive(self.transport, self.publisher.outbound.protect(packet), self.now_us)

    def publish_rtcp(self, *packets: RtcpPacket) -> None:
        datagram = self.publisher.outbound.protect_rtcp(serialize(packets))
        self.plane.receive(self.transport, datagram, self.now_us)

    def feedback(self, viewer: Viewer, *packets: RtcpPacket) -> None:
        """RTCP from a viewer, protected."""
        datagram = viewer.secured.outbound.protect_rtcp(serialize(packets))
        self.plane.receive(viewer.transport, datagram, self.now_us)

    def run(self, milliseconds: int, each: Callable[[], None] | None = None) -> list[PlaneEvent]:
        """Ticks for that long, `each` before every one. The events meanwhile."""
        events: list[PlaneEvent] = []
        for _ in range(0, milliseconds * MS, TICK_US):
            if each is not None:
                each()
            self.now_us += TICK_US
            self.plane.tick(self.now_us, 0)
            events += self.plane.poll_events()
        return events


@dataclass
class Camera:
    """One VP8 encoding: a frame of two packets for each call, numbers of its own."""

    stage: Stage
    ssrc: int = 0x1000
    rid: str = ""
    seq: int = 100
    timestamp: int = 50_000
    picture: int = 500
    tl0: int = 20
    width: int = 640
    lose: bool = False
    with_mid: bool = True
    sent: dict[int, bytes] = field(default_factory=dict)

    def extension(self) -> bytes:
        values: dict[int, bytes] = {}
        if self.with_mid:
            values[SENT_IDS.mid] = self.stage.config.mid.encode()
        if self.rid:
            values[SENT_IDS.rid] = self.rid.encode()
        return one_byte(values) if values else b""

    def frame(self, *, key: bool = False, temporal: int = 0, sync: bool = False) -> list[bytes]:
        """The packets of the next frame, in the clear and not sent."""
        self.timestamp += 3000
        self.picture += 1
        self.tl0 += temporal == 0
        packets = []
        for part in range(2):
            payload = vp8_payload(
                self.picture, key=key, tl0=self.tl0, temporal=temporal, sync=sync, start=part == 0,
                width=self.width, height=self.width * 9 // 16,
            )  # fmt: skip
            packet = rtp(
                self.ssrc, self.seq, self.timestamp, payload, marker=part == 1, extension=self.extension()
            )
            self.sent[self.seq & 0xFFFF] = packet
            packets.append(packet)
            self.seq += 1
        return packets

    def send(self, **options: bool | int) -> None:
        """The next frame, sent."""
        for packet in self.frame(**options):  # type: ignore[arg-type]
            self.stage.publish(packet)


def pictures(packets: list[RtpPacket]) -> list[int]:
    """Their picture ids, of those that have one."""
    ids = [parse_descriptor(packet.payload).picture_id for packet in packets if packet.payload]
    return [number for number in ids if number is not None]


def steps(numbers: list[int], bits: int) -> set[int]:
    """By how much numbers of so many bits differ from one to the next."""
    return {(later - earlier) % (1 << bits) for earlier, later in pairwise(numbers)}
