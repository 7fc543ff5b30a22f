"""Receiving publications: which stream a packet belongs to, and what became of it on the way in."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Protocol

from sfu.errors import ParseError
from sfu.ids import PublicationKey
from sfu.media.layers import MOST_TEMPORAL, DescribedLayers, PacketLayer, of_vp8, of_vp9
from sfu.media.nack import NackTracker
from sfu.media.packet_cache import PacketCache
from sfu.media.plane import Codec, EncodingSsrcs, EncodingStats, Layer, PublicationConfig
from sfu.media.reports import DUPLICATE, Reception
from sfu.rtp.extensions import Block, Carried, ExtensionLayout
from sfu.rtp.packet import RtpPacket
from sfu.rtp.payload import INSPECTORS, OPAQUE, PayloadInfo
from sfu.rtp.red import primary
from sfu.rtp.sequence import PictureNumbers

STALLED_US = 300_000
"""Silence after which an encoding is given up, once others have sent `_FRAMES_SHOWN` frames meanwhile. One
that sends few frames a second, as small ones of screens do, is given twice its longest recent interval."""
SILENT_US = 5_000_000
"""Silence after which an encoding has stopped whatever others do: a still screen sends seldom."""
_RECOVERY_US = 1_500_000
"""After a keyframe an encoder leaves frames out until its rate is kept again: this is no end."""
_FRAMES_SHOWN = 3
_REPLAY_US = 500_000
"""A newcomer begins with a keyframe this young: requests are paced, and another would hardly come sooner.
With an older one browsers would play the past for a while before they catch up."""
_REPLAY_PACKETS = 100
"""And with no more than this: a burst that a slow path still takes at once."""
_RATE_US = 500_000
_SHORTEST_FRAME_US = 5_000
"""Packets that come closer together are of one picture."""
_WORTH_FADES = 128
"""A part of `worth_bps` that goes every `_RATE_US`: half of it in some 45 s, for keyframes of a still picture
must not count for more than what an encoding sends when the picture moves."""
_BETTER_PERCENT = 150
"""Of encodings of one size, one is better that sends this much of what the other sends."""
NOTHING_CARRIED = Carried()


class MediaPacket:
    """One packet of an encoding, shared by all who get it.

    `blocks` and `payloads` keep what was made of it for one subscriber and fits others too, while it is being
    sent. `layer` is None where nobody can do without the packet; `ext_picture_id` and `frame_number` are -1
    where absent. `primary` is of redundant audio the payload type and data of what is new, else None.
    """

    __slots__ = (
        "blocks",
        "carried",
        "csrcs",
        "encoding",
        "ext_picture_id",
        "ext_seq",
        "frame_number",
        "info",
        "layer",
        "marker",
        "payload",
        "payload_type",
        "payloads",
        "primary",
        "timestamp",
    )

    def __init__(
        self, encoding: Encoding, ext_seq: int, rtp: RtpPacket, info: PayloadInfo, carried: Carried
    ) -> None:
        self.encoding = encoding
        self.ext_seq = ext_seq
        self.payload_type = rtp.payload_type
        self.timestamp = rtp.timestamp
        self.marker = rtp.marker
        self.csrcs = rtp.csrcs
        self.payload = rtp.payload
        self.info = info
        self.layer: PacketLayer | None = None
        self.ext_picture_id = -1
        self.frame_number = -1
        if len(carried.dependency_descriptor) >= 3:
            self.frame_number = int.from_bytes(carried.dependency_descriptor[1:3], "big")
        self.carried = carried
        self.blocks: dict[tuple[ExtensionLayout, int], Block] = {}
        self.payloads: dict[tuple[int, int], bytes] = {}
        self.primary: tuple[int, bytes] | None = None

    def sent(self) -> None:
        """Everybody has it. What was made for them is not kept as long as the packet is."""
        self.blocks.clear()
        self.payloads.clear()


class Encoding:
    """One received stream. Every rate and size in its `stats` is of the media, retransmissions included."""

    __slots__ = (
        "_described",
        "_frame_gap_us",
        "_frame_us",
        "_layer_gap_us",
        "_pictures",
        "_rate_bytes",
        "_rate_since_us",
        "_seen_us",
        "alone",
        "cache",
        "clock_rate",
        "keyframe_seq",
        "keyframe_ts",
        "keyframe_us",
        "last_frame_number",
        "last_tl0",
        "last_ts",
        "last_us",
        "nack",
        "rates",
        "reception",
        "spatial",
        "stats",
        "top_spatial",
        "top_temporal",
        "worth_bps",
    )

    def __init__(self, rid: str, ssrc: int, clock_rate: int, cache_packets: int) -> None:
        self.stats = EncodingStats(rid, ssrc, False)
        self.clock_rate = clock_rate
        self.reception = Reception(clock_rate)
        self.nack = NackTracker()
        self.cache: PacketCache[MediaPacket] = PacketCache(cache_packets)
        self.spatial = 0
        self.last_us = 0
        self.rates = [0] * MOST_TEMPORAL
        """Bits per second of each layer alone, the temporal layers of each spatial one together."""
        self.alone = False
        """Its spatial layers do not depend on each other, in keyframes either."""
        self.top_temporal = 0
        self.top_spatial = 0
        """The highest layer that flows, of those in this one stream."""
        self.worth_bps = 0
        """The most it has lately sent: its quality beside encodings of the same picture size."""
        self.last_ts = 0
        self.last_tl0 = 0
        self.last_frame_number = 0
        self.keyframe_seq = -1
        """Where the newest keyframe begins, -1 before the first."""
        self.keyframe_ts = -1
        """The timestamp of the newest keyframe's picture."""
        self.keyframe_us = 0
        """When the newest keyframe began to arrive."""
        self._pictures = PictureNumbers()
        self._frame_us = (0,) * _FRAMES_SHOWN
        self._frame_gap_us = 0
        self._rate_bytes = [0] * MOST_TEMPORAL
        self._seen_us = [0]
        self._layer_gap_us = [0]
        self._described = DescribedLayers()
        self._rate_since_us = -1

    def receive(
        self, rtp: RtpPacket, codec: Codec, carried: Carried, now_us: int, *, recovered: bool
    ) -> MediaPacket:
        """Count the packet in. Raises `ParseError` for what nobody should get: its reason is counted."""
        reception = self.reception
        highest = reception.highest
        if recovered and not reception.is_missing(rtp.seq):
            reception.duplicates += 1
            raise ParseError("duplicate")
        ext_seq = reception.accept(rtp.seq)
        if ext_seq < 0:
            raise ParseError("duplicate" if ext_seq == DUPLICATE else "out-of-range")
        stats = self.stats
        stats.packets += 1
        stats.bytes += len(rtp.payload)
        if recovered:
            reception.recovered += 1
        else:
            self.last_us = now_us
            reception.arrived(rtp.timestamp, now_us)
        if ext_seq > highest + 1 and highest >= 0:
            self.nack.gap(highest + 1, ext_seq, now_us)
        elif ext_seq <= highest:
            self.nack.arrived(ext_seq, now_us)
        packet = MediaPacket(self, ext_seq, rtp, _inspect(codec, rtp.payload), carried)
        if codec.name == "vp8":
            packet.layer = of_vp8(packet.info)
        elif codec.name == "vp9":
            packet.layer = of_vp9(packet.info)
        elif codec.name == "av1" and carried.dependency_descriptor:
            packet.layer = self._described.of(carried.dependency_descriptor)
        elif codec.name == "red" and rtp.payload:
            packet.primary = primary(rtp.payload)
        self._look_into(packet, newest=ext_seq > highest, now_us=now_us)
        self.cache.put(ext_seq, packet)
        return packet

    def _look_into(self, packet: MediaPacket, *, newest: bool, now_us: int) -> None:
        info, stats = packet.info, self.stats
        layer = packet.layer
        if layer is None:
            self._rate_bytes[0] += len(packet.payload)
        else:
            self._count(layer, len(packet.payload), now_us if newest else 0)
        if newest:
            if packet.timestamp != self.last_ts or not stats.frames:
                self.last_ts = packet.timestamp
                self._frame_gap_us = _longest_gap(self._frame_gap_us, now_us - self._frame_us[-1])
                self._frame_us = (*self._frame_us[1:], now_us)
                stats.frames += 1
            if info.tl0_pic_idx >= 0:
                self.last_tl0 = info.tl0_pic_idx
            if packet.frame_number >= 0:
                self.last_frame_number = packet.frame_number
        if info.keyframe:
            self.alone = layer is not None and layer.alone
            if packet.timestamp != self.keyframe_ts:
                self.keyframe_ts = packet.timestamp
                self.keyframe_us = now_us
                stats.keyframes += 1
                self.keyframe_seq = max(packet.ext_seq, self.keyframe_seq)
            elif packet.ext_seq < self.keyframe_seq:
                self.keyframe_seq = packet.ext_seq
        if info.width and info.height:
            stats.width, stats.height = info.width, info.height
            stats.sizes = info.sizes or self._described.sizes
        if info.picture_id >= 0:
            packet.ext_picture_id = self._pictures.number(
                info.picture_id, info.picture_id_bits, packet.ext_seq, packet.timestamp, newest=newest
            )

    def _count(self, layer: PacketLayer, size: int, now_us: int) -> None:
        """A packet of a scalable stream; `now_us` is 0 for one that is of the past."""
        spatial, temporal = layer.spatial, layer.temporal
        seen_us = self._seen_us
        while spatial >= len(seen_us):
            seen_us.append(0)
            self._layer_gap_us.append(0)
            self._rate_bytes += [0] * MOST_TEMPORAL
            self.rates += [0] * MOST_TEMPORAL
        self._rate_bytes[spatial * MOST_TEMPORAL + temporal] += size
        if temporal > self.top_temporal:
            self.top_temporal = temporal
        if now_us:
            gap_us = now_us - seen_us[spatial]
            if gap_us >= _SHORTEST_FRAME_US:
                self._layer_gap_us[spatial] = _longest_gap(self._layer_gap_us[spatial], gap_us)
            seen_us[spatial] = now_us
            if spatial > self.top_spatial:
                self.top_spatial = spatial

    def _shed(self, now_us: int) -> None:
        """Find out which spatial layers of this stream come no more."""
        while self.top_spatial:
            seen_us = self._seen_us[self.top_spatial]
            gap_us = self._layer_gap_us[self.top_spatial]
            if now_us - seen_us < _patience_us(gap_us) or self._frame_us[0] <= seen_us:
                return
            self.top_spatial -= 1

    def rate_of(self, spatial: int, temporal: int) -> int:
        """Bits per second of a layer of this stream with all that it depends on."""
        rates = self.rates
        lowest = spatial if self.alone else 0
        below = range(lowest * MOST_TEMPORAL, (spatial + 1) * MOST_TEMPORAL, MOST_TEMPORAL)
        return sum(sum(rates[first : first + temporal + 1]) for first in below)

    def stalled(self, others: Iterable[Encoding], now_us: int) -> bool:
        """Whether it sends no more: silent while others show frames, or silent for long."""
        silent_us = now_us - self.last_us
        recovering = self.last_us - self.keyframe_us < _RECOVERY_US
        patience_us = _patience_us(self._frame_gap_us)
        if silent_us < (max(_RECOVERY_US, patience_us) if recovering else patience_us):
            return False
        return silent_us >= SILENT_US or any(other._frame_us[0] > self.last_us for other in others)

    def recent_keyframe(self, now_us: int) -> MediaPacket | None:
        """Its first packet, where it and everything since are at hand and little enough to be sent again."""
        first = self.keyframe_seq
        end = self.reception.highest + 1
        if first < 0 or end - first > _REPLAY_PACKETS or now_us - self.keyframe_us > _REPLAY_US:
            return None
        get = self.cache.get
        return get(first) if all(get(number) is not None for number in range(first, end)) else None

    def forget_keyframe(self) -> None:
        """Nobody may begin with what has come until now."""
        self.keyframe_seq = -1

    def measure(self, now_us: int) -> None:
        """Keep the layers and their rates up to date; call every tick."""
        self._shed(now_us)
        if self._rate_since_us < 0:
            self._rate_since_us = now_us
        elapsed_us = now_us - self._rate_since_us
        if elapsed_us < _RATE_US:
            return
        self._rate_since_us = now_us
        for temporal, size in enumerate(self._rate_bytes):
            rate = size * 8_000_000 // elapsed_us
            before = self.rates[temporal]
            self.rates[temporal] = (rate + 3 * before) // 4 if rate and before else rate
            self._rate_bytes[temporal] = 0
        self.stats.bitrate_bps = sum(self.rates)
        if self.stats.active:
            faded_bps = self.worth_bps - self.worth_bps // _WORTH_FADES
            self.worth_bps = max(self.stats.bitrate_bps, faded_bps)

    def snapshot(self) -> EncodingStats:
        """Its counters, brought up to date."""
        stats, reception = self.stats, self.reception
        stats.lost = reception.lost
        stats.recovered = reception.recovered
        stats.duplicates = reception.duplicates
        stats.jitter_ms = reception.jitter * 1000 / self.clock_rate
        return stats


def _longest_gap(before_us: int, gap_us: int) -> int:
    """The longest recent interval of frames. One longer than `SILENT_US` was a pause."""
    return max(gap_us if gap_us < SILENT_US else 0, before_us * 3 // 4)


def _patience_us(gap_us: int) -> int:
    """The silence to bear from what sends at such intervals."""
    return min(max(STALLED_US, 2 * gap_us), SILENT_US)


def _inspect(codec: Codec, payload: bytes) -> PayloadInfo:
    inspector = INSPECTORS.get(codec.name)
    return inspector(payload) if inspector is not None and payload else OPAQUE


class Forward(Protocol):
    """A subscription, as its publication sees it."""

    def forward(self, packet: MediaPacket, now_us: int) -> None: ...

    def choose(self) -> None:
        """What flows has changed."""

    def gets(self, encoding: Encoding) -> bool:
        """Whether it is this encoding that flows to the subscriber."""


class Publication:
    """One publication: its encodings by rid, and who gets them."""

    def __init__(self, key: PublicationKey, config: PublicationConfig) -> None:
        self.key = key
        self.encodings: dict[str, Encoding] = {}
        self.flowing: tuple[Encoding, ...] = ()
        """Encodings that flow, smallest picture first."""
        self._tops: tuple[int, ...] = ()
        self._places: dict[str, int] = {}
        """Of rids, worst first, where pictures have one size: as announced until rates tell more."""
        self.muted = False
        self.loudest = 127
        self.audio_packets = 0
        self.subscriptions: tuple[Forward, ...] = ()
        self.configure(config)

    def configure(self, config: PublicationConfig) -> None:
        """Take over a configuration; streams that go on under it stay."""
        self.config = config
        self.codecs = {codec.payload_type: codec for codec in config.codecs}
        self.rtx_codecs = {
            codec.rtx_payload_type: codec for codec in config.codecs if codec.rtx_payload_type is not None
        }
        if self._places.keys() != set(config.rids):
            self._places = {rid: place for place, rid in enumerate(config.rids)}

    def announced(self) -> list[tuple[str, EncodingSsrcs]]:
        """Announced SSRCs by rid; the rids of simulcast without any are made up.

        Where there are rids, they alone tell which SSRC is which: descriptions do not.
        """
        config = self.config
        if config.rids or not config.ssrcs:
            return []
        if len(config.ssrcs) == 1:
            return [("", config.ssrcs[0])]
        return [(str(index), ssrcs) for index, ssrcs in enumerate(config.ssrcs)]

    def silent(self, spatial: int) -> Encoding | None:
        """The largest encoding up to `spatial` of those that have flowed and sent nothing for a while.

        A still picture sends nothing either: who joins then is shown it once its encoder is asked for it.
        """
        fitting = [each for each in self.encodings.values() if each.spatial <= spatial]
        return max(fitting, key=lambda each: each.spatial, default=None)

    def rank(self) -> bool:
        """Order the encodings, each with its spatial layers, by picture size, then by what they send.

        Returns whether that changed.
        One that does not flow just now keeps its place: what subscribers are capped to stays what it was.
        """
        ranked = sorted(self.encodings.values(), key=self._quality)
        for lower, upper in pairwise(ranked):
            self._compare(lower, upper)
        flowing = tuple(encoding for encoding in ranked if encoding.stats.active)
        tops = tuple([encoding.top_spatial for encoding in ranked])
        changed = flowing != self.flowing or tops != self._tops
        self.flowing = flowing
        self._tops = tops
        spatial = 0
        for encoding in ranked:
            changed = changed or encoding.spatial != spatial
            encoding.spatial = spatial
            spatial += encoding.top_spatial + 1
        return changed

    def _quality(self, encoding: Encoding) -> tuple[int, int, str]:
        stats = encoding.stats
        return stats.width * stats.height, self._places.get(stats.rid, 0), stats.rid

    def _compare(self, lower: Encoding, upper: Encoding) -> None:
        """Exchange the places of two encodings of one size where rates say so, from the next `rank` on."""
        ours, theirs, places = lower.stats, upper.stats, self._places
        same = ours.width * ours.height == theirs.width * theirs.height and ours.active and theirs.active
        if same and upper.worth_bps and lower.worth_bps * 100 > upper.worth_bps * _BETTER_PERCENT:
            places[ours.rid], places[theirs.rid] = places.get(theirs.rid, 0), places.get(ours.rid, 0)

    def layers(self) -> list[tuple[Layer, str, int]]:
        """What flows, lowest first, with bits per second."""
        layers = []
        for encoding in self.flowing:
            for spatial in range(encoding.top_spatial + 1):
                for temporal in range(encoding.top_temporal + 1):
                    layer = Layer(encoding.spatial + spatial, temporal)
                    layers.append((layer, encoding.stats.rid, encoding.rate_of(spatial, temporal)))
        return layers

    def carried(self, extensions: dict[int, bytes]) -> Carried:
        """What of a packet's extensions subscribers get."""
        if not extensions:
            return NOTHING_CARRIED
        ids = self.config.extensions
        level = extensions.get(ids.audio_level, b"")
        if level:
            self.audio_packets += 1
            self.loudest = min(self.loudest, level[0] & 0x7F)
        return Carried(
            level,
            extensions.get(ids.playout_delay, b""),
            extensions.get(ids.dependency_descriptor, b""),
        )


def decapsulate(rtp: RtpPacket, codec: Codec, ssrc: int) -> RtpPacket:
    """The media packet inside a retransmission. Raises `ParseError` for padding. Spec: RFC 4588 section 4."""
    payload = rtp.payload
    if len(payload) < 2:
        raise ParseError("padding")
    return rtp._replace(
        payload_type=codec.payload_type,
        seq=payload[0] << 8 | payload[1],
        ssrc=ssrc,
        payload=payload[2:],
    )
