"""An encoding flowing to a subscriber: its numbers carried over, and back.

A run begins at a switch point and continues the subscriber's sequence numbers, picture ids and timestamps
where the run before it ended. It maps the source's numbers to the subscriber's and back, so that late packets
find their place and NACKs their packet.
"""

from __future__ import annotations

from sfu.media.ingress import MediaPacket
from sfu.rtp.extensions import Block, ExtensionLayout
from sfu.rtp.payload import rewrite
from sfu.rtp.sequence import SequenceMap, difference

_MARKED_KEPT = 256
"""Pictures: those of some seconds, longer than anything is sent again."""


class Run:
    """One encoding flowing to one subscriber without interruption. Offsets add to the source's numbers."""

    __slots__ = (
        "_ended_frame",
        "_ended_tl0",
        "_ended_ts",
        "_ended_us",
        "_marked",
        "abandoned",
        "drift",
        "encoding",
        "frame_offset",
        "pictures",
        "sequence",
        "tl0_offset",
        "ts_offset",
    )

    def __init__(self, packet: MediaPacket, first_out: int, before: Run | None, now_us: int) -> None:
        """Begin with `packet`, which becomes `first_out`, where the run `before` (it has ended) left off."""
        self.encoding = packet.encoding
        self.abandoned = False
        """Given up on an overrun path: what is lost of it is not sent again, to delay nothing else."""
        self.sequence = SequenceMap(packet.ext_seq, first_out)
        self.pictures: SequenceMap | None = None
        self._marked: dict[int, None] = {}
        self.tl0_offset = self.frame_offset = self.ts_offset = 0
        self.drift = 0
        """How far sender reports have moved the timestamps from what the time elapsed tells."""
        self._ended_tl0 = self._ended_frame = self._ended_ts = self._ended_us = 0
        picture = packet.ext_picture_id
        if before is not None:
            self.ts_offset, self.drift = before.continue_timestamp(packet, now_us)
            if packet.info.tl0_pic_idx >= 0:
                self.tl0_offset = before._ended_tl0 + 1 - packet.info.tl0_pic_idx & 0xFF
            if packet.frame_number >= 0:
                self.frame_offset = before._ended_frame + 1 - packet.frame_number & 0xFFFF
            if before.pictures is not None:
                picture = before.pictures.highest_out + 1
        if packet.ext_picture_id >= 0:
            self.pictures = SequenceMap(packet.ext_picture_id, picture)

    def end(self) -> int:
        """Nothing newer follows. The next outgoing sequence number."""
        encoding = self.encoding
        self._ended_tl0 = encoding.last_tl0 + self.tl0_offset
        self._ended_frame = encoding.last_frame_number + self.frame_offset
        self._ended_ts = encoding.last_ts + self.ts_offset
        self._ended_us = encoding.last_us
        return self.sequence.highest_out + 1

    def continue_timestamp(self, packet: MediaPacket, now_us: int) -> tuple[int, int]:
        """The timestamp offset of a run that begins with `packet` after this one, and its drift.

        Between encodings the publisher's sender reports tell it, and until there are some the time elapsed.
        Reports of encodings may disagree, and timestamps never go back: switching to and fro must not add up
        what they are apart, so all that reports have told stays within a second.
        """
        encoding = packet.encoding
        if encoding is self.encoding:
            return self.ts_offset, self.drift
        rate = encoding.clock_rate
        elapsed = self._ended_ts + (now_us - self._ended_us) * rate // 1_000_000
        out = elapsed - self.drift
        clock, own_clock = encoding.reception.sender_report, self.encoding.reception.sender_report
        if clock is not None and own_clock is not None:
            told = clock.translate(packet.timestamp, own_clock, rate) + self.ts_offset
            ahead = difference(told, elapsed, 32)
            if abs(self.drift + ahead) < rate:
                out = elapsed + ahead
        out = max(out, self._ended_ts + 1)
        return out - packet.timestamp & 0xFFFFFFFF, self.drift + out - elapsed

    def mark(self, ext_seq: int) -> None:
        """This packet of the source ends a picture as the subscriber gets it."""
        self._marked[ext_seq] = None
        if len(self._marked) > _MARKED_KEPT:
            del self._marked[next(iter(self._marked))]

    def marks(self, packet: MediaPacket) -> bool:
        """Whether the packet went out with the marker bit."""
        return packet.marker or packet.ext_seq in self._marked

    def payload(self, packet: MediaPacket) -> bytes | None:
        """With this subscriber's picture ids; None where the picture is too old to have one."""
        if self.pictures is None or packet.ext_picture_id < 0:
            return packet.payload
        picture = self.pictures.map(packet.ext_picture_id)
        if picture is None:
            return None
        info = packet.info
        if not self.tl0_offset and not (picture - info.picture_id) & (1 << info.picture_id_bits) - 1:
            return packet.payload
        key = (picture, self.tl0_offset)
        payload = packet.payloads.get(key)
        if payload is None:
            payload = rewrite(packet.payload, info, picture, info.tl0_pic_idx + self.tl0_offset)
            packet.payloads[key] = payload
        return payload

    def block(self, packet: MediaPacket, layout: ExtensionLayout, now_us: int) -> Block:
        """With this subscriber's extension ids, and its frame number in the dependency descriptor."""
        carried = packet.carried
        if self.frame_offset and packet.frame_number >= 0:
            number = packet.frame_number + self.frame_offset & 0xFFFF
            descriptor = carried.dependency_descriptor
            descriptor = descriptor[:1] + number.to_bytes(2, "big") + descriptor[3:]
            carried = carried._replace(dependency_descriptor=descriptor)
        return layout.encode(carried, now_us)
