"""What all that is sent to one subscriber has in common: numbering, protecting, sending."""

from __future__ import annotations

import struct

from sfu.errors import ParseError
from sfu.ids import TransportKey
from sfu.media.plane import Egress, PlaneCounters, SrtpKeys
from sfu.media.srtp import OutgoingStream, SrtpSender
from sfu.media.twcc import SentHistory
from sfu.rtp.extensions import Block

_SSRCS_KEPT = 1024
_TAG_BYTES = 16

_PLAIN = struct.Struct("!BBHII").pack
_NO_NUMBER = struct.Struct("!BBHIII").pack
_ONE_BYTE = struct.Struct("!BBHIIIBH").pack
_TWO_BYTE = struct.Struct("!BBHIIIHH").pack


class EgressTransport:
    """One subscriber's transport, without keys until `open`."""

    def __init__(self, key: TransportKey, egress: Egress, counters: PlaneCounters) -> None:
        self.key = key
        self.sender: SrtpSender | None = None
        self.history = SentHistory()
        self.continuations: dict[int, int] = {}
        """Next unwrapped number of SSRCs that ended: under the same key none may be used twice."""
        self._send = egress.send
        self._counters = counters

    def open(self, keys: SrtpKeys) -> None:
        """Begin to protect. Streams must be taken anew from `sender`."""
        self.sender = SrtpSender(keys)
        self.continuations.clear()

    def end(self, ssrc: int, next_seq: int) -> None:
        """An SSRC ended; remember where it would go on."""
        self.continuations[ssrc] = next_seq
        if len(self.continuations) > _SSRCS_KEPT:
            del self.continuations[next(iter(self.continuations))]

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
        now_us: int,
    ) -> None:
        """Number, protect and send one packet.

        `second` is the header's marker and payload type, `mid` the element that goes into the block.
        """
        seq = ext_seq & 0xFFFF
        if block.transport_cc:
            pack = _TWO_BYTE if block.two_byte else _ONE_BYTE
            number = self.history.sent(now_us, 12 + block.size + len(payload) + _TAG_BYTES)
            header = pack(0x90, second, seq, timestamp, ssrc, block.word, block.transport_cc, number)
            header += mid + block.tail
        elif block.size:
            header = _NO_NUMBER(0x90, second, seq, timestamp, ssrc, block.word) + mid + block.tail
        else:
            header = _PLAIN(0x80, second, seq, timestamp, ssrc)
        if csrcs:
            header = bytes((header[0] | len(csrcs) // 4,)) + header[1:12] + csrcs + header[12:]
        counters = self._counters
        try:
            self._send(self.key, stream.protect(ext_seq, header, payload))
        except ParseError as error:
            counters.dropped[error.reason] = counters.dropped.get(error.reason, 0) + 1
            return
        counters.forwarded += 1

    def send_rtcp(self, compound: bytes) -> None:
        """Protect and send one RTCP compound."""
        if self.sender is None:
            return
        try:
            self._send(self.key, self.sender.protect_rtcp(compound))
        except ParseError as error:
            dropped = self._counters.dropped
            dropped[error.reason] = dropped.get(error.reason, 0) + 1
