"""A publisher and a viewer as a browser would behave on the wire, in virtual time and without a codec.

They share nothing with the server but the RTCP and VP8 descriptor parsers: RTP is packed and unpacked here,
and SRTP is libsrtp's. A frame's bytes carry its number and pseudo-random filling, so that a viewer can tell
that what it would hand to its decoder is what was encoded.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pylibsrtp
from emulator import VirtualClock

from sfu.media.plane import SrtpKeys
from sfu.media.twcc import TwccRecorder
from sfu.rtp import vp8
from sfu.rtp.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    parse_compound,
    serialize,
)

MEDIA_PT, RTX_PT = 96, 97
MID_ID, TWCC_ID = 4, 3
FRAME_US = 33_333
CLOCK_RATE = 90_000
Send = Callable[[bytes], None]


@dataclass(slots=True)
class Rtp:
    """An RTP packet with one-byte header extensions. Spec: RFC 3550 section 5.1, RFC 8285 section 4.2."""

    payload_type: int
    seq: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    extensions: Mapping[int, bytes] = field(default_factory=dict)

    def pack(self) -> bytes:
        elements = b"".join(
            bytes((identifier << 4 | len(value) - 1,)) + value
            for identifier, value in self.extensions.items()
        )
        elements += bytes(-len(elements) % 4)
        head = struct.pack(
            "!BBHII",
            0x90 if elements else 0x80,
            self.marker << 7 | self.payload_type,
            self.seq,
            self.timestamp,
            self.ssrc,
        )
        extension = struct.pack("!HH", 0xBEDE, len(elements) // 4) + elements if elements else b""
        return head + extension + self.payload

    @classmethod
    def unpack(cls, data: bytes) -> Rtp:
        first, second, seq, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        offset = 12 + 4 * (first & 0x0F)
        extensions: dict[int, bytes] = {}
        if first & 0x10:
            _, words = struct.unpack_from("!HH", data, offset)
            position, offset = offset + 4, offset + 4 + 4 * words
            while position < offset:
                identifier, length = data[position] >> 4, (data[position] & 0x0F) + 1
                if identifier:
                    extensions[identifier] = data[position + 1 : position + 1 + length]
                    position += length
                position += 1
        end = len(data) - (data[-1] if first & 0x20 else 0)
        return cls(second & 0x7F, seq, timestamp, ssrc, data[offset:end], second >= 0x80, extensions)


def make_keys(rng: random.Random) -> SrtpKeys:
    """Keys as the server sees them."""
    return SrtpKeys(profile="AEAD_AES_128_GCM", receive=rng.randbytes(28), send=rng.randbytes(28))


class SecurePeer:
    """The peer's end of an association whose server end has `keys`."""

    def __init__(self, keys: SrtpKeys, send: Send, clock: VirtualClock) -> None:
        profile = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        self._outbound = pylibsrtp.Session(
            pylibsrtp.Policy(
                key=keys.receive, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
            )
        )
        self._inbound = pylibsrtp.Session(
            pylibsrtp.Policy(key=keys.send, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        )
        self._send = send
        self.clock = clock

    def send_rtp(self, packet: Rtp) -> None:
        self._send(self._outbound.protect(packet.pack()))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        self._send(self._outbound.protect_rtcp(serialize(packets)))

    def send_raw_rtcp(self, data: bytes) -> None:
        self._send(self._outbound.protect_rtcp(data))

    def receive(self, datagram: bytes) -> None:
        """A datagram from the server. RTCP is told from RTP as in RFC 5761 section 4."""
        if 192 <= datagram[1] <= 223:
            for packet in parse_compound(self._inbound.unprotect_rtcp(datagram)):
                self.on_rtcp(packet)
        else:
            self.on_rtp(Rtp.unpack(self._inbound.unprotect(datagram)))

    def on_rtp(self, packet: Rtp) -> None:
        raise AssertionError("this peer receives no media")

    def on_rtcp(self, packet: RtcpPacket) -> None:
        raise NotImplementedError


class Vp8Publisher(SecurePeer):
    """Sends 30 frames a second, paced; answers NACKs by RTX and keyframe requests with the next frame."""

    def __init__(self, keys: SrtpKeys, send: Send, clock: VirtualClock, *, seed: int, mid: str = "0") -> None:
        super().__init__(keys, send, clock)
        self.ssrc, self.rtx_ssrc = 0x1000, 0x1001
        self.frames: list[bytes] = []
        self.sent_packets = 0
        self.nacked: list[int] = []
        self.keyframe_requests = 0
        self.running = True
        self._rng = random.Random(seed)
        self._mid = mid.encode()
        self._seq = self._rng.randrange(0x10000)
        self._rtx_seq = self._rng.randrange(0x10000)
        self._twcc_seq = 0
        self._picture_id = self._rng.randrange(0x8000)
        self._timestamp = self._rng.randrange(1 << 32)
        self._history: dict[int, Rtp] = {}
        self._wants_keyframe = True
        clock.every(FRAME_US, self._encode)
        clock.every(1_000_000, self._report)

    def _encode(self) -> None:
        if not self.running:
            return
        keyframe, self._wants_keyframe = self._wants_keyframe, False
        number = len(self.frames).to_bytes(4, "big")
        if keyframe:
            head = bytes.fromhex("d0c3009d012a0005d002")
            size = 12_000
        else:
            head = b"\xb1\x01\x00"
            size = self._rng.randrange(500, 5000)
        frame = head + number + self._rng.randbytes(size)
        self.frames.append(frame)
        self._timestamp = (self._timestamp + CLOCK_RATE * FRAME_US // 1_000_000) & 0xFFFFFFFF
        self._picture_id = (self._picture_id + 1) & 0x7FFF
        parts = [frame[offset : offset + 1100] for offset in range(0, len(frame), 1100)]
        for index, part in enumerate(parts):
            descriptor = bytes((0x90 if index == 0 else 0x80, 0x80)) + struct.pack(
                "!H", 0x8000 | self._picture_id
            )
            packet = Rtp(
                MEDIA_PT, self._seq, self._timestamp, self.ssrc, descriptor + part, index == len(parts) - 1
            )
            self._history[self._seq] = packet
            self._history.pop((self._seq - 2000) & 0xFFFF, None)
            self._seq = (self._seq + 1) & 0xFFFF
            self.clock.call_later(index * 1000, lambda packet=packet: self._put(packet))  # type: ignore[misc]

    def _put(self, packet: Rtp) -> None:
        packet.extensions = {MID_ID: self._mid, TWCC_ID: self._twcc_seq.to_bytes(2, "big")}
        self._twcc_seq = (self._twcc_seq + 1) & 0xFFFF
        self.sent_packets += packet.ssrc == self.ssrc
        self.send_rtp(packet)

    def _report(self) -> None:
        ntp = self.clock.now_us * (1 << 32) // 1_000_000
        self.send_rtcp(
            SenderReport(self.ssrc, ntp, self._timestamp, self.sent_packets & 0xFFFFFFFF, 0),
            SourceDescription(((self.ssrc, "publisher"),)),
        )

    def on_rtcp(self, packet: RtcpPacket) -> None:
        match packet:
            case Nack(media_ssrc=self.ssrc):
                for seq in packet.lost:
                    self.nacked.append(seq)
                    self._retransmit(seq)
            case PictureLoss(media_ssrc=self.ssrc) | FullIntraRequest():
                self.keyframe_requests += 1
                self._wants_keyframe = True

    def _retransmit(self, seq: int) -> None:
        lost = self._history.get(seq)
        if lost is not None:
            payload = seq.to_bytes(2, "big") + lost.payload
            self._put(Rtp(RTX_PT, self._rtx_seq, lost.timestamp, self.rtx_ssrc, payload, lost.marker))
            self._rtx_seq = (self._rtx_seq + 1) & 0xFFFF


@dataclass(slots=True)
class _Frame:
    packets: dict[int, tuple[vp8.Vp8Descriptor, Rtp]] = field(default_factory=dict)

    def assembled(self) -> bytes | None:
        """The VP8 bytes, None while a packet is missing."""
        first = min(self.packets)
        last = max(self.packets)
        if (
            last - first + 1 != len(self.packets)
            or not self.packets[first][0].start
            or not self.packets[last][1].marker
        ):
            return None
        return b"".join(
            self.packets[seq][1].payload[self.packets[seq][0].header_length :]
            for seq in range(first, last + 1)
        )

    @property
    def is_keyframe(self) -> bool:
        descriptor, packet = self.packets[min(self.packets)]
        return vp8.is_keyframe(packet.payload, descriptor)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame handed to the decoder: when, its number as the publisher counted, and its bytes."""

    at_us: int
    number: int
    data: bytes


class Vp8Viewer(SecurePeer):
    """Receives as Chromium does: NACKs a gap at once and then every round trip, ten times at most.

    A frame is decoded when complete and when the picture before it was decoded, or when it is a keyframe. A
    keyframe is asked for after 200 ms while waiting for the first, and after 3 s without a decodable frame.
    """

    ROUND_TRIP_US = 100_000
    MAX_NACKS = 10

    def __init__(self, keys: SrtpKeys, send: Send, clock: VirtualClock, *, ssrc: int, rtx_ssrc: int) -> None:
        super().__init__(keys, send, clock)
        self.ssrc, self.rtx_ssrc = ssrc, rtx_ssrc
        self.media_seqs: list[int] = []
        self.retransmissions = 0
        self.duplicates = 0
        self.nacks = 0
        self.plis = 0
        self.decoded: list[Decoded] = []
        self.reports: list[SenderReport] = []
        self._own_ssrc = 1
        self._recorder = TwccRecorder()
        self._highest: int | None = None
        self._missing: dict[int, tuple[int, int]] = {}
        self._seen: set[int] = set()
        self._frames: dict[int, _Frame] = {}
        self._last_picture: int | None = None
        self._waiting_since_us = clock.now_us
        clock.every(20_000, self._tick)
        clock.every(1_000_000, lambda: self.send_rtcp(ReceiverReport(self._own_ssrc)))

    def on_rtcp(self, packet: RtcpPacket) -> None:
        if isinstance(packet, SenderReport) and packet.ssrc == self.ssrc:
            self.reports.append(packet)

    def on_rtp(self, packet: Rtp) -> None:
        if TWCC_ID in packet.extensions:
            self._recorder.record(int.from_bytes(packet.extensions[TWCC_ID], "big"), self.clock.now_us)
        if packet.ssrc == self.rtx_ssrc:
            if len(packet.payload) <= 2:
                return
            self.retransmissions += 1
            packet.seq = int.from_bytes(packet.payload[:2], "big")
            packet.payload = packet.payload[2:]
        else:
            assert packet.ssrc == self.ssrc
            self.media_seqs.append(packet.seq)
        self._insert(packet)

    def _insert(self, packet: Rtp) -> None:
        if self._highest is None:
            self._highest = packet.seq
        ahead = (packet.seq - self._highest + 0x8000 & 0xFFFF) - 0x8000
        ext_seq = self._highest + ahead
        if ext_seq in self._seen:
            self.duplicates += 1
            return
        self._seen.add(ext_seq)
        self._missing.pop(ext_seq, None)
        if ahead > 1:
            for lost in range(self._highest + 1, ext_seq):
                self._missing[lost] = (0, 0)
            self._nack()
        self._highest = max(self._highest, ext_seq)
        if packet.payload:
            descriptor = vp8.parse_descriptor(packet.payload)
            assert descriptor.picture_id is not None
            frame = self._frames.setdefault(descriptor.picture_id, _Frame())
            frame.packets[ext_seq] = (descriptor, packet)
            self._decode()

    def _decode(self) -> None:
        while self._frames:
            picture = None if self._last_picture is None else (self._last_picture + 1) & 0x7FFF
            if picture not in self._frames or self._frames[picture].assembled() is None:
                picture = next(
                    (p for p, frame in self._frames.items() if frame.assembled() and frame.is_keyframe), None
                )
            data = None if picture is None else self._frames[picture].assembled()
            if picture is None or data is None:
                return
            offset = 10 if self._frames[picture].is_keyframe else 3
            number = int.from_bytes(data[offset : offset + 4], "big")
            self.decoded.append(Decoded(self.clock.now_us, number, data))
            self._waiting_since_us = self.clock.now_us
            self._last_picture = picture
            for old in [p for p in self._frames if (picture - p) & 0x7FFF < 0x4000]:
                del self._frames[old]

    def _tick(self) -> None:
        self._nack()
        report = self._recorder.build(self._own_ssrc, self.ssrc, self.clock.now_us)
        if report is not None:
            self.send_raw_rtcp(report)
        waited_us = self.clock.now_us - self._waiting_since_us
        if waited_us >= (3_000_000 if self.decoded else 200_000):
            self._waiting_since_us = self.clock.now_us
            self.plis += 1
            self.send_rtcp(PictureLoss(self._own_ssrc, self.ssrc))

    def _nack(self) -> None:
        now_us = self.clock.now_us
        due = []
        for ext_seq, (sent_us, times) in tuple(self._missing.items()):
            if times and now_us - sent_us < self.ROUND_TRIP_US:
                continue
            if times == self.MAX_NACKS:
                del self._missing[ext_seq]
                continue
            self._missing[ext_seq] = (now_us, times + 1)
            due.append(ext_seq & 0xFFFF)
        if due:
            self.nacks += len(due)
            self.send_rtcp(Nack(self._own_ssrc, self.ssrc, tuple(due)))

    def longest_stall_us(self, until_us: int) -> int:
        """The longest time without a newly decoded frame, from the first one to `until_us`."""
        times = [frame.at_us for frame in self.decoded] + [until_us]
        return max(later - earlier for earlier, later in pairwise(times))
