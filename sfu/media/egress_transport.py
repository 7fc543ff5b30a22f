"""What all that is sent to one subscriber has in common: numbering, protecting, sending."""

from __future__ import annotations

import random
import struct

from sfu.errors import ParseError
from sfu.ids import TransportKey
from sfu.media.pacer import Pacer, Priority
from sfu.media.plane import Egress, PlaneCounters, Probe, SrtpKeys
from sfu.media.srtp import OutgoingStream, SrtpSender
from sfu.media.twcc import SentHistory
from sfu.rtp.extensions import Block

_SSRCS_KEPT = 1024
_MIDS_KEPT = 1024
_TAG_BYTES = 16
_NEAR = 1024
"""Sequence numbers: a jitter buffer's length and more."""
_RESEND_SHARE = 0.3
"""Of the estimate, for retransmissions: enough for every fifth packet lost. Where more is lost the path is
overrun, and sending what it dropped again and again would keep it so."""
_RESEND_BURST_US = 500_000
_RESEND_BURST_BYTES = 64_000.0
_RESEND_BYTES_PER_US = 0.0125
"""Without an estimate the same share of what was sent, and 100 kbit/s in any case. At once this much: the
first keyframe, before which nothing was sent, may have lost all its packets."""
_UNLIMITED_BPS = 1_000_000_000
"""The pace until policy sets one: nothing waits."""

_PLAIN = struct.Struct("!BBHII").pack
_NO_NUMBER = struct.Struct("!BBHIII").pack
_ONE_BYTE = struct.Struct("!BBHIIIBH").pack
_TWO_BYTE = struct.Struct("!BBHIIIHH").pack


Outgoing = tuple[OutgoingStream, int, int, int, int, Block, bytes, bytes, bytes, bytes]
"""A packet that has everything but its transport-wide number and its protection: stream, SSRC, the header's
second byte, unwrapped sequence number, timestamp, extension block, the MID's element in it, CSRCs, payload,
padding. One is made for every packet sent: a plain tuple costs much less than a named one."""


class EgressTransport:
    """One subscriber's transport, without keys until `open`.

    Packets with transport-wide numbers are paced: they get the number, and are protected, when they leave.
    """

    def __init__(
        self, key: TransportKey, egress: Egress, counters: PlaneCounters, waiting: set[TransportKey]
    ) -> None:
        """`waiting` holds the keys of transports whose pacers have something to do later."""
        self.key = key
        self._waiting = waiting
        self.sender: SrtpSender | None = None
        self.history = SentHistory()
        self.continuations: dict[int, int] = {}
        """Next unwrapped number of SSRCs that ended: under the same key none may be used twice."""
        self.ended: dict[str, int] = {}
        """Next sequence number of the last SSRC of each MID."""
        self.pacer: Pacer[Outgoing] = Pacer(_UNLIMITED_BPS)
        self.sent_bytes = 0
        """Of packets with transport-wide numbers."""
        self._resend_us_per_byte = 0.0
        """0 until there is an estimate."""
        self._resend_free_us = 0.0
        self._resend_bytes = _RESEND_BURST_BYTES
        self._earned_us = 0
        self._send = egress.send
        self._counters = counters

    def open(self, keys: SrtpKeys) -> None:
        """Begin to protect. Streams must be taken anew from `sender`."""
        self.sender = SrtpSender(keys)
        self.continuations.clear()
        self.pacer.clear()

    def first_seq(self, mid: str, rng: random.Random) -> int:
        """The first sequence number of a new SSRC.

        Below 2^15 a receiver that misses the first packets still guesses the rollover counter right. Far from
        where the MID's last SSRC ended, a receiver with one jitter buffer for each m-line (aiortc) takes it
        for a restart: close to there it would wait for the packets between.
        """
        first = rng.randrange(0x8000)
        ended = self.ended.get(mid)
        if ended is not None and (first - ended + _NEAR & 0xFFFF) < 2 * _NEAR:
            first ^= 0x4000
        return first

    def end(self, ssrc: int, mid: str, next_seq: int) -> None:
        """The SSRC of an m-line ended; remember where it would go on."""
        self.ended[mid] = next_seq
        if len(self.ended) > _MIDS_KEPT:
            del self.ended[next(iter(self.ended))]
        self.continue_at(ssrc, next_seq)

    def continue_at(self, ssrc: int, next_seq: int) -> None:
        """Where an SSRC goes on if it comes back."""
        self.continuations[ssrc] = next_seq
        if len(self.continuations) > _SSRCS_KEPT:
            del self.continuations[next(iter(self.continuations))]

    def set_estimate(self, estimate_bps: int) -> None:
        """Follow the estimator: the pace, and what may be spent on retransmissions."""
        self.pacer.set_estimate(estimate_bps)
        self._resend_us_per_byte = 8_000_000 / (_RESEND_SHARE * estimate_bps)

    def drop(self, reason: str) -> None:
        """Count a packet that is not sent."""
        self._counters.drop(reason)

    def earn(self, sent_bytes: int, now_us: int) -> None:
        """So much media was sent since this was called last: a share of it may be sent again."""
        earned = _RESEND_SHARE * sent_bytes + _RESEND_BYTES_PER_US * (now_us - self._earned_us)
        self._resend_bytes = min(self._resend_bytes + earned, _RESEND_BURST_BYTES)
        self._earned_us = now_us

    def may_resend(self, size_bytes: int, now_us: int) -> bool:
        """Whether a retransmission is within its share: then it is spent, else counted."""
        if not self._resend_us_per_byte:
            if self._resend_bytes < size_bytes:
                self.drop("rtx-share")
                return False
            self._resend_bytes -= size_bytes
            return True
        free_us = max(self._resend_free_us, now_us)
        if free_us - now_us > _RESEND_BURST_US:
            self.drop("rtx-share")
            return False
        self._resend_free_us = free_us + size_bytes * self._resend_us_per_byte
        return True

    def transmit(
        self,
        stream: OutgoingStream,
        ssrc: int,
        second: int,
        ext_seq: int,
        timestamp: int,
        block: Block,
        mid: bytes,
        csrcs: bytes,
        payload: bytes,
        priority: Priority,
        now_us: int,
    ) -> None:
        """Number, protect and send one packet, now or when the pacer lets it.

        `second` is the header's marker and payload type, `mid` the element that goes into the block.
        """
        packet = (stream, ssrc, second, ext_seq, timestamp, block, mid, csrcs, payload, b"")
        if block.transport_cc:
            size = 12 + block.size + len(csrcs) + len(payload) + _TAG_BYTES
            if not self.pacer.enqueue(now_us, packet, size, priority):
                self._waiting.add(self.key)
                return
        self._emit(packet, now_us)

    def pad(
        self,
        stream: OutgoingStream,
        ssrc: int,
        payload_type: int,
        ext_seq: int,
        timestamp: int,
        block: Block,
        mid: bytes,
        size: int,
        now_us: int,
    ) -> None:
        """Send a packet of nothing but padding, 1 to 255 bytes, for a probe."""
        self.pacer.padded(12 + block.size + size + _TAG_BYTES)
        padding = bytes(size - 1) + bytes((size,))
        self._emit((stream, ssrc, payload_type, ext_seq, timestamp, block, mid, b"", b"", padding), now_us)

    def start_probe(self, now_us: int, probe: Probe) -> None:
        """Begin a cluster; `pump` and `pad` send it."""
        self.pacer.start_probe(now_us, probe)
        self._waiting.add(self.key)

    def pump(self, now_us: int) -> None:
        """Send what the pacer held back and whose time has come."""
        for packet in self.pacer.due(now_us):
            self._emit(packet, now_us)

    def _emit(self, packet: Outgoing, now_us: int) -> None:
        stream, ssrc, second, ext_seq, timestamp, block, mid, csrcs, payload, padding = packet
        seq = ext_seq & 0xFFFF
        if block.transport_cc:
            pack = _TWO_BYTE if block.two_byte else _ONE_BYTE
            size = 12 + block.size + len(csrcs) + len(payload) + len(padding) + _TAG_BYTES
            number = self.history.sent(now_us, size, self.pacer.cluster_id)
            self.sent_bytes += size
            header = pack(0x90, second, seq, timestamp, ssrc, block.word, block.transport_cc, number)
            header += mid + block.tail
        elif block.size:
            header = _NO_NUMBER(0x90, second, seq, timestamp, ssrc, block.word) + mid + block.tail
        else:
            header = _PLAIN(0x80, second, seq, timestamp, ssrc)
        if csrcs:
            header = bytes((header[0] | len(csrcs) // 4,)) + header[1:12] + csrcs + header[12:]
        if padding:
            header = bytes((header[0] | 0x20,)) + header[1:]
            payload = padding
        counters = self._counters
        try:
            self._send(self.key, stream.protect(ext_seq, header, payload))
        except ParseError as error:
            counters.drop(error.reason)
            return
        counters.forwarded += 1

    def send_rtcp(self, compound: bytes) -> None:
        """Protect and send one RTCP compound."""
        if self.sender is None:
            return
        try:
            self._send(self.key, self.sender.protect_rtcp(compound))
        except ParseError as error:
            self._counters.drop(error.reason)
