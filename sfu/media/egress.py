"""Sending one publication to one subscriber: which encoding, and every number of its packets rewritten."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Literal

from sfu.ids import SubscriptionKey
from sfu.media.egress_transport import EgressTransport
from sfu.media.ingress import NOTHING_CARRIED, Encoding, MediaPacket, Publication
from sfu.media.layers import PacketLayer
from sfu.media.pacer import Priority
from sfu.media.plane import (
    CurrentLayerChanged,
    KeyframeWanted,
    Layer,
    PlaneEvent,
    SubscriptionConfig,
    SubscriptionStats,
)
from sfu.media.pli_throttle import PliThrottle
from sfu.media.reports import round_trip_us
from sfu.media.run import Run
from sfu.media.srtp import OutgoingStream
from sfu.rtp.extensions import ExtensionLayout, mid_elements
from sfu.rtp.red import renumber
from sfu.rtp.rtcp import ReportBlock, SenderReport, SourceDescription, serialize
from sfu.rtp.sequence import unwrap

_HIGHEST = Layer(7, 7)
_RUNS = 4
_REPORT_US = 1_000_000
_REMIND_US = 1_000_000
_RATE_US = 500_000
_RESEND_US = 10_000
"""A packet is not sent again within this, and not before the last one can have arrived: neither a hostile
list of NACKs nor an impatient receiver behind a long queue must multiply it."""
_LONGEST_RESEND_US = 500_000
_RESENT_KEPT = 1024
_MOST_RESENT = 256
"""In answer to one NACK: a short packet must not make a burst of a megabyte."""
_REPORTS_KEPT = 4
_SAME_FIR_US = 2_000_000
"""A FIR of the same number within this is a repeated one. Later it is of a peer that never counts them on."""


class Subscription:
    """One subscriber's receipt of one publication.

    `settle_soon` is called with it when `settle` has something to do before the next `tick`.
    """

    def __init__(
        self,
        key: SubscriptionKey,
        config: SubscriptionConfig,
        transport: EgressTransport,
        publication: Publication,
        layout: ExtensionLayout,
        emit: Callable[[PlaneEvent], None],
        settle_soon: Callable[[Subscription], None],
        rng: random.Random,
    ) -> None:
        self.key = key
        self.transport = transport
        self.publication = publication
        self.stats = SubscriptionStats()
        self.target: Layer | None = _HIGHEST
        self._emit = emit
        self._priority = Priority.AUDIO if publication.config.kind == "audio" else Priority.VIDEO
        self._settle_soon = settle_soon
        self._run: Run | None = None
        self._runs: deque[Run] = deque(maxlen=_RUNS)
        self._wanted: Encoding | None = None
        self._asked_us = -1
        self._temporal = self._temporal_cap = _HIGHEST.temporal
        self._spatial = self._spatial_cap = _HIGHEST.spatial
        """Of the layers within the encoding that flows."""
        self._watched = 0
        """The largest spatial layer of the last keyframe's picture that was sent."""
        self._former = (-1, self._spatial, self._temporal, 0)
        """The layers before those, and where in the encoding they ended."""
        known = transport.continuations
        self._next_out = known.pop(config.ssrc, transport.first_seq(config.mid, rng))
        self._rtx_next = known.pop(config.rtx_ssrc or 0, rng.randrange(0x8000))
        self._stream: OutgoingStream | None = None
        self._rtx_stream: OutgoingStream | None = None
        self._resent_us: dict[int, int] = {}
        self._earned_bytes = 0
        self._report_us = -1
        self._reports: dict[int, int] = {}
        self._fir = (-1, 0)
        """Number and time of the last FIR."""
        self._pli_throttle = PliThrottle()
        self._rate_bytes = 0
        self._rate_us = -1
        self.configure(config, layout)
        self.connect()

    # --- lifecycle -----------------------------------------------------------------------------

    def configure(self, config: SubscriptionConfig, layout: ExtensionLayout) -> None:
        """Take over a configuration of the same SSRCs."""
        self.config = config
        self._layout = layout
        self._mids = mid_elements(config.extensions, config.mid)
        self._ssrc = config.ssrc
        self._payload_types = dict(config.payload_types)

    def connect(self) -> None:
        """The transport has keys, or new ones. Under new keys the rollover counter begins anew."""
        sender = self.transport.sender
        if sender is None:
            return
        if self._stream is not None:
            self._stop()
            self._runs.clear()
            self._next_out &= 0x7FFF
            self._rtx_next &= 0x7FFF
        self._stream = sender.stream(self._ssrc)
        if self.config.rtx_ssrc is not None:
            self._rtx_stream = sender.stream(self.config.rtx_ssrc)
        self._wanted = None
        self.choose()

    def close(self) -> None:
        """Remember on the transport where the SSRCs ended."""
        self._stop()
        self.transport.end(self._ssrc, self.config.mid, self._next_out)
        if self.config.rtx_ssrc is not None:
            self.transport.continue_at(self.config.rtx_ssrc, self._rtx_next)

    # --- what is to flow -----------------------------------------------------------------------

    def set_target(self, target: Layer | None, *, at_once: bool = False) -> None:
        self.target = target
        self.choose()
        run, wanted = self._run, self._wanted
        if at_once and run is not None and wanted is not None and run.encoding.spatial > wanted.spatial:
            run.abandoned = True
            self._stop()

    def choose(self) -> None:
        """Decide anew which encoding should flow, after its inputs changed."""
        self._settle_soon(self)
        publication, target = self.publication, self.target
        if target is None or publication.muted:
            self._stop()
            self._wanted = None
            return
        wanted = None
        for encoding in publication.flowing:
            if encoding.spatial <= target.spatial:
                wanted = encoding
        if wanted is None:
            # What stopped may go on where it stopped; a larger one than policy allows would overrun the path.
            self._wanted = self._run.encoding if self._run is not None else publication.silent(target.spatial)
            return
        limited = wanted.spatial + wanted.top_spatial >= target.spatial
        self._temporal_cap = target.temporal if limited else _HIGHEST.temporal
        spatial_cap = target.spatial - wanted.spatial
        moves = spatial_cap > self._spatial_cap or (wanted.alone and spatial_cap != self._spatial_cap)
        self._spatial_cap = spatial_cap
        if (wanted.top_spatial > 0 and moves) or wanted is not self._wanted:
            self._wanted = wanted
            self._asked_us = -1

    def gets(self, encoding: Encoding) -> bool:
        return self._run is not None and self._run.encoding is encoding

    def _stop(self) -> None:
        run = self._run
        if run is not None:
            self._next_out = run.end()
            self._run = None

    # --- packets -------------------------------------------------------------------------------

    def forward(self, packet: MediaPacket, now_us: int) -> None:
        """Send the packet if it is of what flows, or if what should flow can begin with it."""
        run = self._run
        stream = self._stream
        if stream is None:
            return
        if run is None or packet.encoding is not run.encoding:
            run = self._other_run(packet, now_us)
            if run is None:
                return
        payload_type = self._payload_types.get(packet.payload_type)
        sequence = run.sequence
        ext_seq = packet.ext_seq
        layer = packet.layer
        marker = packet.marker
        payload: bytes | None
        if packet.primary is not None:
            payload_type, payload = self._redundant(packet, packet.primary)
        elif payload_type is None or not packet.payload:
            payload = b""
        elif layer is not None and self._leaves_out(packet, layer, ext_seq > sequence.highest):
            if layer.gapless and run.pictures is not None and packet.ext_picture_id >= 0:
                run.pictures.drop(packet.ext_picture_id)
            payload = b""
        else:
            payload = packet.payload
            if run.pictures is not None:
                payload = run.payload(packet)
                if payload is None:
                    self.transport.drop("picture-too-old")
                    return
            if layer is not None and layer.last and not marker and layer.spatial == self._top_at(ext_seq):
                # Of the higher layers, whose last packet bears it, nothing is sent.
                marker = True
                run.mark(ext_seq)
        if not payload and sequence.drop(ext_seq):
            return
        out = sequence.map(ext_seq)
        if out is None:
            self.transport.drop("too-late")
            return
        if payload_type is None:
            payload_type = next(iter(self._payload_types.values()), 0)
        key = (self._layout, run.frame_offset)
        block = packet.blocks.get(key)
        if block is None:
            block = packet.blocks[key] = run.block(packet, self._layout, now_us)
        self.transport.transmit(
            stream,
            self._ssrc,
            payload_type | 0x80 if marker and payload else payload_type,
            out,
            packet.timestamp + run.ts_offset & 0xFFFFFFFF,
            block,
            self._mids[block.two_byte],
            packet.csrcs,
            payload,
            self._priority,
            now_us,
        )
        stats = self.stats
        stats.packets += 1
        stats.bytes += len(payload)

    def _redundant(self, packet: MediaPacket, primary: tuple[int, bytes]) -> tuple[int | None, bytes]:
        """RED for those who take it, naming payload types as they know them; for others what is new."""
        payload_types = self._payload_types
        payload_type = payload_types.get(packet.payload_type)
        number = payload_types.get(primary[0])
        if payload_type is None:
            return number, primary[1] if number is not None else b""
        if number in (None, primary[0]):
            return payload_type, packet.payload
        return payload_type, renumber(packet.payload, payload_types)

    def _leaves_out(self, packet: MediaPacket, layer: PacketLayer, newest: bool) -> bool:
        """Layers change where a picture begins: downwards at once, upwards where the codec allows.

        Larger pictures begin with a keyframe, more frames after a layer sync too. Where smaller ones are not
        sent beside larger ones, they begin with a keyframe as well. A late packet belongs to what flowed when
        it was due: its picture lacks it.
        """
        if packet.ext_seq < self._former[0]:
            _, spatial, temporal, watched = self._former
            beside = packet.encoding.alone and layer.spatial < watched
            return layer.temporal > temporal or layer.spatial > spatial or beside
        if newest and layer.first:
            before, watched = (self._spatial, self._temporal), self._watched
            keyframe = packet.info.keyframe
            if keyframe:
                self._watched = 0
            if keyframe or (self._spatial_cap < self._spatial and not packet.encoding.alone):
                self._spatial = self._spatial_cap
            cap, temporal = self._temporal_cap, layer.temporal
            if keyframe or cap < self._temporal:
                self._temporal = cap
            elif layer.sync and self._temporal < temporal <= cap:
                self._temporal = temporal
            elif layer.switch_up and temporal <= self._temporal:
                self._temporal = cap
            if before != (self._spatial, self._temporal):
                self._former = (packet.ext_seq, *before, watched)
        if layer.temporal > self._temporal or layer.spatial > self._spatial:
            return True
        if packet.timestamp != packet.encoding.keyframe_ts:
            return packet.encoding.alone and layer.spatial < self._watched
        self._watched = max(self._watched, layer.spatial)
        return False

    def _top_at(self, ext_seq: int) -> int:
        """The highest spatial layer sent of the picture that the packet belongs to."""
        return self._former[1] if ext_seq < self._former[0] else self._spatial

    def _other_run(self, packet: MediaPacket, now_us: int) -> Run | None:
        """The run of a packet that is not of the current one, None where nobody waits for it.

        Either a new run begins with it, or it is a late packet of a run that ended before it came.
        """
        if self._wanted is None:
            return None
        encoding = packet.encoding
        if encoding is self._wanted:
            if self.publication.config.kind == "video" and not packet.info.keyframe:
                return None
            if self.publication.config.kind == "audio" and not packet.payload:
                return None
            self._begin(packet, now_us)
            return None
        for run in self._runs:
            if run.encoding is encoding and packet.ext_seq <= run.sequence.highest:
                return run
        return None

    def _begin(self, packet: MediaPacket, now_us: int) -> None:
        """Begin a run, send its first packet, and what has already followed it.

        A sender report goes ahead: an encoding that is behind the one before has its timestamps moved, and
        by the old report its pictures would be shown as much too late.
        """
        self._stop()
        self._settle_soon(self)
        encoding = packet.encoding
        run = Run(packet, self._next_out, self._runs[-1] if self._runs else None, now_us)
        self._run = run
        self._runs.append(run)
        self._temporal = self._temporal_cap
        self._spatial = self._spatial_cap
        self._former = (-1, self._spatial, self._temporal, 0)
        self._report_us = -1
        self._report(run, now_us)
        self.forward(packet, now_us)
        for ext_seq in range(packet.ext_seq + 1, encoding.reception.highest + 1):
            following = encoding.cache.get(ext_seq)
            if following is not None:
                self.forward(following, now_us)
                following.sent()

    # --- feedback and timers -------------------------------------------------------------------

    def retransmit(self, lost: Iterable[int], now_us: int) -> None:
        """Answer a NACK by RTX. Spec: RFC 4588 section 4."""
        rtx_ssrc, stream = self.config.rtx_ssrc, self._rtx_stream
        newest = self._run.sequence.highest_out if self._run is not None else self._next_out - 1
        self.transport.earn(self.stats.bytes - self._earned_bytes, now_us)
        self._earned_bytes = self.stats.bytes
        resend_us = min(max(int((self.stats.rtt_ms or 0) * 1000), _RESEND_US), _LONGEST_RESEND_US)
        for seq in islice(lost, _MOST_RESENT):
            self.stats.nacks_received += 1
            if rtx_ssrc is None or stream is None:
                continue
            out = unwrap(seq, newest)
            if now_us - self._resent_us.get(out, -resend_us) < resend_us:
                continue
            found = self._find(out)
            if found is None:
                self.stats.retransmit_missed += 1
                continue
            run, packet = found
            media_type = self._payload_types.get(packet.payload_type, -1)
            payload_type = self.config.rtx_payload_types.get(media_type)
            if payload_type is None:
                continue
            # Of a layer that was left out too late the number alone went out; only that is missed.
            payload = run.payload(packet) or b""
            block = run.block(packet, self._layout, now_us)
            if not self.transport.may_resend(len(payload) + block.size, now_us):
                return
            self._resent_us[out] = now_us
            if len(self._resent_us) > _RESENT_KEPT:
                del self._resent_us[next(iter(self._resent_us))]
            self.transport.transmit(
                stream,
                rtx_ssrc,
                payload_type | 0x80 if payload and run.marks(packet) else payload_type,
                self._rtx_next,
                packet.timestamp + run.ts_offset & 0xFFFFFFFF,
                block,
                self._mids[block.two_byte],
                packet.csrcs,
                seq.to_bytes(2, "big") + payload,
                Priority.RETRANSMISSION,
                now_us,
            )
            packet.sent()
            self._rtx_next += 1
            self.stats.retransmitted += 1

    @property
    def can_pad(self) -> bool:
        """Whether `pad` would send."""
        rtx = self._rtx_stream is not None and bool(self.config.rtx_payload_types)
        return rtx and bool(self.config.extensions.transport_cc)

    def pad(self, size: int, now_us: int) -> bool:
        """Send padding of `size` bytes (1 to 255) on the RTX stream; False where there is none to send on."""
        rtx_ssrc, stream = self.config.rtx_ssrc, self._rtx_stream
        payload_type = next(iter(self.config.rtx_payload_types.values()), None)
        if rtx_ssrc is None or stream is None or payload_type is None:
            return False
        run = self._runs[-1] if self._runs else None
        block = self._layout.encode(NOTHING_CARRIED, now_us)
        self.transport.pad(
            stream,
            rtx_ssrc,
            payload_type,
            self._rtx_next,
            run.encoding.last_ts + run.ts_offset & 0xFFFFFFFF if run is not None else 0,
            block,
            self._mids[block.two_byte],
            size,
            now_us,
        )
        self._rtx_next += 1
        return True

    def _find(self, out: int) -> tuple[Run, MediaPacket] | None:
        for run in reversed(self._runs):
            ext_seq = run.sequence.source_of(out)
            if ext_seq is not None and not run.abandoned:
                packet = run.encoding.cache.get(ext_seq)
                return None if packet is None else (run, packet)
        return None

    def wants_keyframe(self, reason: Literal["pli", "fir"], now_us: int, fir_seq: int = -1) -> None:
        """The subscriber asked for one. A repeated FIR is the same one. Spec: RFC 5104 section 4.3.1.2."""
        if reason == "fir":
            if fir_seq == self._fir[0] and now_us - self._fir[1] < _SAME_FIR_US:
                return
            self._fir = (fir_seq, now_us)
        self.stats.plis_received += 1
        broken = self._broken()
        if broken is not None and self._pli_throttle.request(broken.keyframe_us, now_us):
            self._emit(KeyframeWanted(self.publication.key, broken.stats.rid, reason))

    def _broken(self) -> Encoding | None:
        """The encoding that a request is about: what flows, or what is about to take its place as less."""
        run, wanted = self._run, self._wanted
        if run is None or wanted is None or wanted.spatial <= run.encoding.spatial:
            return wanted
        return run.encoding

    def reported(self, block: ReportBlock, now_us: int) -> None:
        """A reception report of this SSRC arrived. Spec: RFC 3550 section 6.4.1."""
        stats = self.stats
        stats.fraction_lost = block.fraction_lost / 256
        stats.lost = block.lost
        stats.jitter_ms = block.jitter * 1000 / self.publication.config.codecs[0].clock_rate
        sent_us = self._reports.get(block.lsr)
        if sent_us is not None:
            stats.rtt_ms = round_trip_us(block, sent_us, now_us) / 1000

    def settle(self, now_us: int) -> None:
        """Get a waiting switch on its way, and tell what flows now."""
        self._ask(now_us)
        run = self._run
        current = self._current()
        # Encodings may change places, and then another one has the same layer.
        self.stats.current_rid = run.encoding.stats.rid if run is not None and current is not None else ""
        if current != self.stats.current:
            self.stats.current = current
            self._emit(CurrentLayerChanged(self.key, current))

    def tick(self, now_us: int) -> None:
        """Reminders of a waiting switch, rates and sender reports; call several times a second."""
        self.settle(now_us)
        broken = self._broken()
        if broken is not None and self._pli_throttle.due(broken.keyframe_us, now_us):
            self._emit(KeyframeWanted(self.publication.key, broken.stats.rid, "pli"))
        run = self._run
        if self._rate_us < 0:
            self._rate_us = now_us
        elapsed_us = now_us - self._rate_us
        if elapsed_us >= _RATE_US:
            self.stats.bitrate_bps = (self.stats.bytes - self._rate_bytes) * 8_000_000 // elapsed_us
            self._rate_bytes, self._rate_us = self.stats.bytes, now_us
        if run is not None and (self._report_us < 0 or now_us - self._report_us >= _REPORT_US):
            self._report(run, now_us)

    def _ask(self, now_us: int) -> None:
        """A newcomer begins with a recent keyframe; a switch that waits for one says so, again and again."""
        wanted = self._wanted
        if wanted is None or self._stream is None or self.publication.config.kind != "video":
            return
        if self.gets(wanted):
            best = min(self._spatial_cap, wanted.top_spatial)
            if self._watched == best if wanted.alone else self._spatial >= best:
                return
        if not self._runs:
            keyframe = wanted.recent_keyframe(now_us)
            if keyframe is not None:
                self._begin(keyframe, now_us)
                keyframe.sent()
                return
        if self._asked_us < 0 or now_us - self._asked_us >= _REMIND_US:
            self._asked_us = now_us
            reason: Literal["join", "switch"] = "switch" if self._runs else "join"
            self._emit(KeyframeWanted(self.publication.key, wanted.stats.rid, reason))

    def _current(self) -> Layer | None:
        run = self._run
        if run is None or not run.encoding.stats.active:
            return None
        encoding = run.encoding
        spatial = encoding.spatial + min(self._spatial, encoding.top_spatial)
        return Layer(spatial, min(self._temporal, encoding.top_temporal))

    def _report(self, run: Run, now_us: int) -> None:
        """The publisher's own clock carried over: its audio and video stay in step. Spec: RFC 3550 6.4.1."""
        clock = run.encoding.reception.sender_report
        if clock is None:
            return
        self._report_us = now_us
        ntp, rtp_ts = clock.at(now_us, run.encoding.clock_rate)
        report = SenderReport(
            self._ssrc,
            ntp,
            rtp_ts + run.ts_offset & 0xFFFFFFFF,
            self.stats.packets & 0xFFFFFFFF,
            self.stats.bytes & 0xFFFFFFFF,
        )
        self._reports[ntp >> 16 & 0xFFFFFFFF] = now_us
        if len(self._reports) > _REPORTS_KEPT:
            del self._reports[next(iter(self._reports))]
        cname = SourceDescription(((self._ssrc, self.config.cname),))
        self.transport.send_rtcp(serialize([report, cname]))
