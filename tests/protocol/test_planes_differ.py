"""The planes side by side: whatever peers and policy do, both send the same bytes and tell the same.

Seeded scenarios: publishers with simulcast, temporal and spatial layers, retransmissions, RED and every
codec; packets lost, doubled, reordered and damaged, numbers that wrap and streams that begin anew;
viewers that come and go, send NACKs, feedback, reports and requests; policy that mutes, pauses, changes
layers, estimates and probes.
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import pytest
from plane_harness import PLANES, SEEN_IDS, SENT_IDS, Secured, Stage, one_byte, rtp, two_byte, vp8_payload
from svc_camera import AV1, VP9, SvcCamera

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Codec,
    EncodingSsrcs,
    ExtensionIds,
    Layer,
    MediaPlane,
    Probe,
    PublicationConfig,
    SrtpProfile,
    SubscriptionConfig,
)
from sfu.rtp.extensions import abs_send_time
from sfu.rtp.packet import is_rtcp, parse_packet
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    serialize,
)
from sfu.rtp.transport_cc import TransportWideFeedback

pytestmark = pytest.mark.skipif(len(PLANES) < 2, reason="there is one plane only")

TICK_US = 20_000
STEPS = 400
PROFILES: tuple[SrtpProfile, ...] = ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_SHA1_80")
VIDEO_CODECS = ("vp8", "vp9", "h264", "av1")
OPUS = Codec(name="opus", payload_type=111, clock_rate=48_000)
RED = Codec(name="red", payload_type=63, clock_rate=48_000)
SPARSE_IDS = ExtensionIds(mid=3, abs_send_time=15, dependency_descriptor=9)


class Twins:
    """Both planes as one. Everything goes to both; `check` finds where they part."""

    def __init__(self, seed: int) -> None:
        self.sent: list[dict[TransportKey, list[bytes]]] = []
        self.planes: list[MediaPlane] = []
        for make in PLANES.values():
            box: dict[TransportKey, list[bytes]] = defaultdict(list)
            self.sent.append(box)
            self.planes.append(make(_Box(box), rng=random.Random(seed), cache_packets=256))

    def each(self, act: Callable[[MediaPlane], Any]) -> Any:
        first, *others = [act(plane) for plane in self.planes]
        for other in others:
            assert other == first
        return first

    def take(self) -> dict[TransportKey, list[bytes]]:
        """What was sent since the last time, the same by all."""
        first, *others = [dict(box) for box in self.sent]
        for other in others:
            assert other.keys() == first.keys()
            for transport, packets in first.items():
                assert [p.hex() for p in other[transport]] == [p.hex() for p in packets], transport
        for box in self.sent:
            box.clear()
        return first


class _Box:
    def __init__(self, box: dict[TransportKey, list[bytes]]) -> None:
        self._box = box

    def send(self, transport: TransportKey, packet: bytes) -> None:
        self._box[transport].append(packet)


@dataclass
class Source:
    """One SSRC of a publisher with its retransmissions, and the last packets it sent."""

    rid: str
    ssrc: int
    rtx_ssrc: int
    seq: int
    timestamp: int
    picture: int
    number: int = 0
    rtx_seq: int = 7
    sent: dict[int, tuple[int, bytes, bool]] = field(default_factory=dict)


@dataclass
class Publisher:
    transport: TransportKey
    key: PublicationKey
    secured: Secured
    config: PublicationConfig
    sources: list[Source]
    twcc: int = 65_500
    scalable: SvcCamera | None = None
    """What its only source sends, where that is one scalable stream."""


@dataclass
class Watcher:
    transport: TransportKey
    secured: Secured
    subscriptions: dict[SubscriptionKey, SubscriptionConfig] = field(default_factory=dict)
    received: list[tuple[int, int]] = field(default_factory=list)
    fir: int = 0


class Scenario:
    """A world that a seed decides."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.twins = Twins(seed)
        self.profile = rng.choice(PROFILES)
        self.now_us = rng.randrange(10**6, 10**12)
        self.keys = iter(range(100, 10**6))
        self.publishers = [self.publisher(index) for index in range(rng.randint(1, 3))]
        self.watchers = [self.watcher() for _ in range(rng.randint(1, 4))]
        self.held: list[tuple[int, TransportKey, bytes]] = []

    # --- who is there ----------------------------------------------------------------------------

    def publisher(self, index: int) -> Publisher:
        rng = self.rng
        transport = TransportKey(index + 1)
        secured = Secured(rng.randrange(10**9), self.profile)
        audio = rng.random() < 0.25
        scalable = not audio and rng.random() < 0.35
        rids: tuple[str, ...] = ()
        if scalable:
            codecs: tuple[Codec, ...] = (rng.choice((VP9, AV1)),)
        elif audio:
            codecs = (RED, OPUS) if rng.random() < 0.5 else (OPUS,)
        else:
            codecs = (
                Codec(name=rng.choice(VIDEO_CODECS), payload_type=96, clock_rate=90_000, rtx_payload_type=97),
            )
            rids = rng.choice(((), ("h", "m", "l"), ("a", "b")))
        sources = [
            Source(
                rid, 0x1000 * (index + 1) + 2 * place, 0x1001 * (index + 1) + 2 * place + 0x100_0000,
                rng.choice((5, 40_000, 65_500)), rng.choice((9000, 0xFFFF_0000)), rng.choice((3, 32_700)),
            )
            for place, rid in enumerate(rids or ("",))
        ]  # fmt: skip
        ssrcs: tuple[EncodingSsrcs, ...] = ()
        if not rids and rng.random() < 0.5:
            ssrcs = (EncodingSsrcs(ssrc=sources[0].ssrc, rtx_ssrc=sources[0].rtx_ssrc),)
        config = PublicationConfig(
            transport=transport,
            kind="audio" if audio else "video",
            mid=str(index),
            codecs=codecs,
            extensions=SENT_IDS,
            rids=rids,
            ssrcs=ssrcs,
            nack=not audio,
            transport_cc=(transport_cc := rng.random() < 0.8),
            remb=not transport_cc,
        )
        publisher = Publisher(transport, PublicationKey(index + 1), secured, config, sources)
        if scalable:
            publisher.scalable = self.scalable(publisher)
        self.twins.each(lambda plane: plane.open_transport(transport, secured.keys))
        self.twins.each(lambda plane: plane.open_publication(publisher.key, config))
        return publisher

    def scalable(self, publisher: Publisher) -> SvcCamera:
        """A camera with layers of its own, going on where its source is. Its frames are sent from here."""
        rng, source = self.rng, publisher.sources[0]
        codec = publisher.config.codecs[0]
        return SvcCamera(
            cast(Stage, publisher), codec, rng.randint(1, 3), rng.randint(1, 3), key_mode=rng.random() < 0.5,
            flexible=codec is VP9 and rng.random() < 0.5, part_bytes=rng.choice((80, 300)), ssrc=source.ssrc,
            seq=source.seq, timestamp=source.timestamp, picture=source.picture,
        )  # fmt: skip

    def watcher(self) -> Watcher:
        watcher = Watcher(TransportKey(next(self.keys)), Secured(self.rng.randrange(10**9), self.profile))
        before = self.rng.random() < 0.3
        if before:
            self.subscribe(watcher)
        self.twins.each(lambda plane: plane.open_transport(watcher.transport, watcher.secured.keys))
        if not before:
            self.subscribe(watcher)
        return watcher

    def subscribe(self, watcher: Watcher) -> None:
        rng = self.rng
        publisher = rng.choice(self.publishers)
        number = next(self.keys)
        codecs = publisher.config.codecs
        payload_types = {codec.payload_type: codec.payload_type + 3 for codec in codecs}
        if codecs[0].name == "red" and rng.random() < 0.5:
            del payload_types[RED.payload_type]
        rtx = publisher.config.kind == "video" and rng.random() < 0.8
        config = SubscriptionConfig(
            transport=watcher.transport,
            publication=publisher.key,
            mid=rng.choice(("0", "17", "a mid that is long")),
            ssrc=0x2000_0000 + number,
            rtx_ssrc=0x3000_0000 + number if rtx else None,
            payload_types=payload_types,
            rtx_payload_types={payload_types[codecs[0].payload_type]: 100} if rtx else {},
            extensions=rng.choice((SEEN_IDS, SEEN_IDS, SPARSE_IDS, ExtensionIds())),
            cname=f"PA_{number}",
        )
        key = SubscriptionKey(number)
        watcher.subscriptions[key] = config
        self.twins.each(lambda plane: plane.open_subscription(key, config))

    # --- what publishers send --------------------------------------------------------------------

    def payload(self, publisher: Publisher, source: Source, part: int, key: bool) -> tuple[int, bytes]:
        rng = self.rng
        codec = publisher.config.codecs[0]
        size = rng.choice((0, 1, 60, 600))
        if rng.random() < 0.02:
            return codec.payload_type, b""
        if rng.random() < 0.02:
            return codec.payload_type, rng.randbytes(rng.randrange(1, 40))
        if codec.name == "vp8":
            temporal = 0 if key else rng.choice((0, 0, 1, 2))
            width = {"l": 320, "m": 640}.get(source.rid, 1280)
            payload = vp8_payload(
                source.picture, key=key, tl0=source.number, temporal=temporal, sync=rng.random() < 0.5,
                size=size, start=part == 0, width=width, height=width // 2,
            )  # fmt: skip
            return codec.payload_type, payload
        if codec.name == "vp9":
            first = 0x80 | (0x40 if not key else 0) | 0x20 | (0x08 if part == 0 else 0) | 0x04 * (part == 1)
            head = struct.pack("!BHBB", first, 0x8000 | source.picture & 0x7FFF, 0x10, source.number & 0xFF)
            return codec.payload_type, head + rng.randbytes(size)
        if codec.name == "h264":
            head = bytes.fromhex("6742c01f8c8d405017fcb00f08846a") if key and not part else b"\x41\x9a"
            return codec.payload_type, head + bytes(size)
        if codec.name == "av1":
            return codec.payload_type, bytes((0x18 if key and not part else 0x10, 0x30)) + rng.randbytes(size)
        if codec.name == "red":
            old = rng.randbytes(20)
            head = struct.pack("!BHB", 0x80 | OPUS.payload_type, 960 << 2, len(old))
            return codec.payload_type, head + bytes((OPUS.payload_type,)) + old + rng.randbytes(size)
        return codec.payload_type, rng.randbytes(size)

    def extension(self, publisher: Publisher, source: Source, *, rtx: bool) -> bytes:
        rng = self.rng
        values: dict[int, bytes] = {}
        if rng.random() < 0.6:
            values[SENT_IDS.mid] = publisher.config.mid.encode()
        if source.rid:
            values[SENT_IDS.repaired_rid if rtx else SENT_IDS.rid] = source.rid.encode()
        if rng.random() < 0.9:
            values[SENT_IDS.transport_cc] = struct.pack("!H", publisher.twcc & 0xFFFF)
            publisher.twcc += 1 + (rng.random() < 0.05)
        if rng.random() < 0.8:
            sent_us = self.now_us - rng.randrange(20_000) if rng.random() < 0.95 else rng.getrandbits(24)
            values[SENT_IDS.abs_send_time] = abs_send_time(sent_us)
        if publisher.config.kind == "audio":
            values[SENT_IDS.audio_level] = bytes((rng.randrange(256),))
        elif rng.random() < 0.3:
            size = rng.choice((3, 5, 20))
            descriptor = bytes((0xC0,)) + struct.pack("!H", source.number & 0xFFFF) + bytes(size - 3)
            values[SENT_IDS.dependency_descriptor] = descriptor
            if size > 16:
                return two_byte(values)
        return one_byte(values) if values else b""

    def picture(self, publisher: Publisher, source: Source, camera: SvcCamera) -> None:
        """Of a scalable stream: layers come and go, and now and then it becomes another one."""
        rng = self.rng
        key = rng.random() < 0.1
        if rng.random() < 0.02:
            camera = publisher.scalable = self.scalable(publisher)
            key = rng.random() < 0.8
        layers = rng.randint(1, camera.spatial) if rng.random() < 0.1 else None
        for packet in camera.frame(key=key, layers=layers):
            parsed = parse_packet(packet)
            source.sent[parsed.seq] = (parsed.timestamp, parsed.payload, parsed.marker)
            if rng.random() > 0.04:
                self.offer(publisher.transport, publisher.secured.outbound.protect(packet))
        source.seq, source.timestamp, source.picture = camera.seq, camera.timestamp, camera.picture

    def frame(self, publisher: Publisher, source: Source) -> None:
        rng = self.rng
        if publisher.scalable is not None:
            self.picture(publisher, source, publisher.scalable)
            return
        source.timestamp += 3000
        source.picture += 1
        source.number += 1
        key = rng.random() < 0.08
        if rng.random() < 0.01:
            source.seq += rng.choice((200, 5000, 30_000))
        for part in range(2):
            payload_type, payload = self.payload(publisher, source, part, key)
            packet = rtp(
                source.ssrc, source.seq, source.timestamp, payload, payload_type=payload_type,
                marker=part == 1, extension=self.extension(publisher, source, rtx=False),
                csrcs=(7, 8) if rng.random() < 0.02 else (), padding=rng.choice((0, 0, 0, 5)),
            )  # fmt: skip
            source.sent[source.seq & 0xFFFF] = (source.timestamp, payload, part == 1)
            source.seq += 1
            if rng.random() > 0.06:
                self.offer(publisher.transport, publisher.secured.outbound.protect(packet))

    def repair(self, publisher: Publisher, source: Source) -> None:
        """A retransmission of something, wanted or not."""
        if publisher.config.kind == "audio" or not source.sent:
            return
        seq = self.rng.choice(list(source.sent)[-40:])
        timestamp, payload, marker = source.sent[seq]
        body = struct.pack("!H", seq) + payload if self.rng.random() > 0.05 else b""
        packet = rtp(
            source.rtx_ssrc, source.rtx_seq, timestamp, body,
            payload_type=publisher.config.codecs[0].rtx_payload_type or 97, marker=marker,
            extension=self.extension(publisher, source, rtx=True), padding=0 if body else 9,
        )  # fmt: skip
        source.rtx_seq += 1
        self.offer(publisher.transport, publisher.secured.outbound.protect(packet))

    def offer(self, transport: TransportKey, datagram: bytes) -> None:
        """On the way to the planes: some are late, doubled or damaged."""
        rng = self.rng
        if rng.random() < 0.1:
            self.held.append((self.now_us + rng.randrange(200_000), transport, datagram))
            return
        if rng.random() < 0.01:
            damaged = bytearray(datagram)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            datagram = bytes(damaged)
        for _ in range(2 if rng.random() < 0.02 else 1):
            self.deliver(transport, datagram)

    def deliver(self, transport: TransportKey, datagram: bytes) -> None:
        arrival_us = self.now_us - self.rng.choice((0, 0, 700))
        self.twins.each(lambda plane: plane.receive(transport, datagram, self.now_us, arrival_us))

    def publisher_rtcp(self, publisher: Publisher) -> None:
        source = self.rng.choice(publisher.sources)
        ntp = (self.now_us << 32) // 1_000_000 + source.ssrc
        packets: list[RtcpPacket] = [
            SenderReport(source.ssrc, ntp & (1 << 64) - 1, source.timestamp & 0xFFFFFFFF, 1, 2)
        ]
        if self.rng.random() < 0.05:
            packets.append(Goodbye((source.ssrc,)))
        self.offer(publisher.transport, publisher.secured.outbound.protect_rtcp(serialize(packets)))

    # --- what viewers send -----------------------------------------------------------------------

    def watcher_rtcp(self, watcher: Watcher) -> None:
        rng = self.rng
        if not watcher.subscriptions:
            return
        config = rng.choice(list(watcher.subscriptions.values()))
        of_it = [seq for ssrc, seq in watcher.received if ssrc == config.ssrc]
        packets: list[RtcpPacket] = []
        if of_it and rng.random() < 0.7:
            lost = sorted({(rng.choice(of_it[-60:]) - rng.randrange(3)) & 0xFFFF for _ in range(4)})
            packets.append(Nack(1, config.ssrc, tuple(lost)))
        chance = rng.random()
        if chance < 0.15:
            packets.append(PictureLoss(1, config.ssrc))
        elif chance < 0.25:
            watcher.fir += rng.random() < 0.5
            packets.append(FullIntraRequest(1, ((config.ssrc, watcher.fir & 0xFF),)))
        elif chance < 0.35:
            packets.append(Remb(1, rng.randrange(1 << 24), (config.ssrc,)))
        elif chance < 0.7:
            base = rng.randrange(0, 4000)
            at = self.now_us // 64_000 * 64_000 % (64_000 << 24)
            arrivals = tuple(
                ((base + index) & 0xFFFF, None if rng.random() < 0.2 else at + 250 * rng.randrange(200))
                for index in range(rng.randrange(1, 60))
            )
            packets.append(TransportWideFeedback(1, config.ssrc, base, 1, at, arrivals))
        block = ReportBlock(
            config.ssrc, rng.randrange(256), rng.randrange(-5, 50), 0, rng.randrange(5000), 1, 2
        )
        packets.append(ReceiverReport(1, (block,)))
        self.offer(watcher.transport, watcher.secured.outbound.protect_rtcp(serialize(packets)))

    # --- what policy does ------------------------------------------------------------------------

    def policy(self) -> None:
        rng, each = self.rng, self.twins.each
        chance = rng.random()
        watcher = rng.choice(self.watchers)
        publisher = rng.choice(self.publishers)
        if chance < 0.3 and watcher.subscriptions:
            key = rng.choice(list(watcher.subscriptions))
            target = rng.choice(
                (None, Layer(0, 0), Layer(1, 1), Layer(7, 7), Layer(0, 2), Layer(2, 0), Layer(7, 7))
            )
            at_once = rng.random() < 0.3
            each(lambda plane: plane.set_target(key, target, at_once=at_once))
        elif chance < 0.4:
            muted = rng.random() < 0.3
            each(lambda plane: plane.set_muted(publisher.key, muted))
        elif chance < 0.55:
            estimate = rng.choice((50_000, 300_000, 2_000_000))
            each(lambda plane: plane.set_estimate(watcher.transport, estimate))
            each(lambda plane: plane.send_remb(publisher.transport, estimate))
        elif chance < 0.65:
            probe = Probe(rng.randrange(1, 100), rng.choice((500_000, 3_000_000)), 5, 2000, 15_000)
            each(lambda plane: plane.send_probe(watcher.transport, probe, self.now_us))
        elif chance < 0.75:
            rid = rng.choice(publisher.sources).rid
            each(lambda plane: plane.request_keyframe(publisher.key, rid, self.now_us))
        elif chance < 0.83:
            self.subscribe(watcher)
        elif chance < 0.89 and watcher.subscriptions:
            key, config = watcher.subscriptions.popitem()
            each(lambda plane: plane.close_subscription(key))
            if rng.random() < 0.5:
                watcher.subscriptions[key] = config
                each(lambda plane: plane.open_subscription(key, config))
        elif chance < 0.93:
            each(lambda plane: plane.open_publication(publisher.key, publisher.config))
        elif chance < 0.96:
            source = rng.choice(publisher.sources)
            source.ssrc += 0x10_0000
            source.seq = rng.randrange(0x10000)
            if publisher.scalable is not None:
                publisher.scalable = self.scalable(publisher)
        elif chance < 0.98:
            self.watchers.remove(watcher)
            each(lambda plane: plane.close_transport(watcher.transport))
            self.watchers.append(self.watcher())
        else:
            watcher.secured = Secured(rng.randrange(10**9), self.profile)
            each(lambda plane: plane.open_transport(watcher.transport, watcher.secured.keys))

    # --- the course of things --------------------------------------------------------------------

    def step(self) -> None:
        rng = self.rng
        self.now_us += TICK_US + rng.randrange(-300, 300)
        for publisher in self.publishers:
            for source in publisher.sources:
                if rng.random() < 0.85:
                    self.frame(publisher, source)
                if rng.random() < 0.3:
                    self.repair(publisher, source)
            if rng.random() < 0.05:
                self.publisher_rtcp(publisher)
        due = [held for held in self.held if held[0] <= self.now_us]
        self.held = [held for held in self.held if held[0] > self.now_us]
        for _, transport, datagram in due:
            self.deliver(transport, datagram)
        for watcher in self.watchers:
            if rng.random() < 0.2:
                self.watcher_rtcp(watcher)
        if rng.random() < 0.15:
            self.policy()
        if rng.random() < 0.5:
            self.twins.each(lambda plane: plane.pump(self.now_us))
        self.twins.each(lambda plane: plane.tick(self.now_us, 0))
        self.compare()

    def compare(self) -> None:
        each = self.twins.each
        each(lambda plane: plane.poll_events())
        for transport, packets in self.twins.take().items():
            self.note(transport, packets)
        for publisher in self.publishers:
            each(lambda plane, key=publisher.key: [asdict(stats) for stats in plane.publication_stats(key)])
            each(lambda plane, key=publisher.key: list(plane.layers(key)))
        for watcher in self.watchers:
            each(lambda plane, key=watcher.transport: plane.sent_bytes(key))
            for key in watcher.subscriptions:
                each(lambda plane, key=key: _fields(plane.subscription_stats(key)))
        each(lambda plane: asdict(plane.counters()))

    def note(self, transport: TransportKey, packets: list[bytes]) -> None:
        """What a viewer may ask for again."""
        for watcher in self.watchers:
            if watcher.transport == transport:
                for packet in packets:
                    if not is_rtcp(packet):
                        watcher.received.append(
                            (int.from_bytes(packet[8:12], "big"), packet[2] << 8 | packet[3])
                        )


def _fields(stats: Any) -> Any:
    return None if stats is None else asdict(stats)


@pytest.mark.parametrize("seed", range(16))
def test_planes_send_the_same_bytes(seed: int) -> None:
    scenario = Scenario(seed)
    for _ in range(STEPS):
        scenario.step()


def test_a_scenario_reaches_what_it_is_for() -> None:
    """A comparison of planes that do nothing would be worth nothing."""
    forwarded = retransmitted = switches = 0
    reasons: set[str] = set()
    layered: set[tuple[str, Layer]] = set()
    for seed in range(8):
        scenario = Scenario(seed)
        for _ in range(STEPS):
            scenario.step()
        counters = scenario.twins.planes[0].counters()
        forwarded += counters.forwarded
        reasons |= counters.dropped.keys()
        for publisher in scenario.publishers:
            if publisher.scalable is not None:
                name = publisher.config.codecs[0].name
                layered |= {(name, layer) for layer, _, _ in scenario.twins.planes[0].layers(publisher.key)}
        for watcher in scenario.watchers:
            for key in watcher.subscriptions:
                stats = scenario.twins.planes[0].subscription_stats(key)
                retransmitted += stats.retransmitted if stats is not None else 0
                switches += stats.current is not None if stats is not None else 0
    assert forwarded > 4_000
    assert retransmitted > 50
    assert switches > 3
    for name in ("vp9", "av1"):
        assert any(codec == name and layer.spatial and layer.temporal for codec, layer in layered)
    assert {"duplicate", "srtp-authentication", "srtp-replay", "muted", "padding"} <= reasons
