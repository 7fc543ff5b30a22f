"""The media plane in Python: the readable reference. `sfu/media/plane.py` says what each method promises."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from weakref import WeakValueDictionary

from sfu.errors import ParseError
from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.arrivals import ArrivalRecorder
from sfu.media.demux import Demux, Route
from sfu.media.egress import Subscription
from sfu.media.egress_transport import EgressTransport
from sfu.media.events import EventQueue
from sfu.media.ingress import Encoding, Publication, decapsulate
from sfu.media.plane import (
    Arrivals,
    AudioLevel,
    BurstResult,
    Egress,
    EncodingStarted,
    EncodingStats,
    EncodingStopped,
    ExtensionIds,
    KeyframeWanted,
    Layer,
    PlaneCounters,
    PlaneEvent,
    Probe,
    PublicationConfig,
    RembReceived,
    SrtpKeys,
    SubscriptionConfig,
    SubscriptionStats,
    TransportFeedback,
)
from sfu.media.reports import SenderClock
from sfu.media.srtp import SrtpReceiver
from sfu.media.twcc import TwccRecorder
from sfu.rtp.extensions import ExtensionLayout
from sfu.rtp.packet import RtpPacket, is_rtcp, parse_packet
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
    TransportWideFeedback,
    parse_compound,
    serialize,
)

_REPORT_US = 1_000_000
_MOST_BLOCKS = 31
_MOST_REMB = 255
_AUDIO_CACHED = 64
"""Audio is not sent again: its cache only tells what has overtaken a first packet."""
_TURNS = 5
"""A subscription has its turn every so many ticks, ten times a second: there may be thousands of them."""


class _Transport:
    """One association: what it receives by, what it sends by, and whose RTCP it carries."""

    def __init__(
        self, key: TransportKey, egress: Egress, counters: PlaneCounters, waiting: set[TransportKey]
    ) -> None:
        self.keys: SrtpKeys | None = None
        self.receiver: SrtpReceiver | None = None
        self.demux = Demux()
        self.recorder = TwccRecorder()
        self.arrivals = ArrivalRecorder()
        self.transport_cc = 0
        self.out = EgressTransport(key, egress, counters, waiting)
        self.subscriptions: dict[int, Subscription] = {}
        self.report_us = 0

    def encodings(self, *, remb: bool = False) -> list[Encoding]:
        """Every encoding received over it; with `remb` those that are told by it what they may take."""
        return [
            encoding
            for publication in self.demux.publications.values()
            for encoding in publication.encodings.values()
            if publication.config.remb or not remb
        ]


class PythonPlane:
    """Implements `MediaPlane`. `rng` makes the server's own SSRC and first sequence numbers."""

    def __init__(self, egress: Egress, *, rng: random.Random, cache_packets: int = 1024) -> None:
        self._egress = egress
        self._rng = rng
        self._cache_packets = cache_packets
        self._ssrc = rng.getrandbits(32)
        self._counters = PlaneCounters()
        self._events = EventQueue(self._counters)
        self._transports: dict[TransportKey, _Transport] = {}
        self._publications: dict[PublicationKey, Publication] = {}
        self._subscriptions: dict[SubscriptionKey, Subscription] = {}
        self._waiting: set[TransportKey] = set()
        self._turn = 0
        self._unsettled: dict[Subscription, None] = {}
        self._layouts: WeakValueDictionary[tuple[ExtensionIds, int], ExtensionLayout] = WeakValueDictionary()

    # --- transports ----------------------------------------------------------------------------

    def place_transport(self, transport: TransportKey, room: int) -> None:
        """See `MediaPlane`. Everything is in one place here."""

    def open_transport(self, transport: TransportKey, keys: SrtpKeys) -> None:
        known = self._transport(transport)
        if known.keys == keys:
            return
        known.keys = keys
        known.receiver = SrtpReceiver(keys, known.demux.identities)
        known.out.open(keys)
        for subscription in known.subscriptions.values():
            subscription.connect()

    def close_transport(self, transport: TransportKey) -> None:
        known = self._transports.pop(transport, None)
        if known is None:
            return
        for publication in tuple(known.demux.publications):
            self.close_publication(publication)
        for subscription in tuple(known.subscriptions.values()):
            self.close_subscription(subscription.key)

    def _transport(self, key: TransportKey) -> _Transport:
        transport = self._transports.get(key)
        if transport is None:
            transport = self._transports[key] = _Transport(key, self._egress, self._counters, self._waiting)
        return transport

    # --- publications --------------------------------------------------------------------------

    def open_publication(self, publication: PublicationKey, config: PublicationConfig) -> None:
        known = self._publications.get(publication)
        if known is None:
            known = self._publications[publication] = Publication(publication, config)
        else:
            known.configure(config)
        transport = self._transport(config.transport)
        transport.demux.add(known)
        if config.transport_cc:
            transport.transport_cc = config.extensions.transport_cc

    def close_publication(self, publication: PublicationKey) -> None:
        known = self._publications.pop(publication, None)
        if known is None:
            return
        transport = self._transports.get(known.config.transport)
        if transport is not None:
            transport.demux.remove(publication)
        for encoding in known.encodings.values():
            encoding.stats.active = False
        self._reconsider(known)

    def set_muted(self, publication: PublicationKey, muted: bool) -> None:
        known = self._publications.get(publication)
        if known is not None and known.muted != muted:
            known.muted = muted
            for encoding in known.encodings.values():
                encoding.forget_keyframe()
            for subscription in known.subscriptions:
                subscription.choose()

    def request_keyframe(self, publication: PublicationKey, rid: str, now_us: int) -> None:
        known = self._publications.get(publication)
        encoding = known.encodings.get(rid) if known is not None else None
        if known is None or encoding is None:
            return
        stats = encoding.stats
        stats.plis_sent += 1
        request: RtcpPacket = PictureLoss(self._ssrc, stats.ssrc)
        if known.config.fir:
            request = FullIntraRequest(self._ssrc, ((stats.ssrc, stats.plis_sent & 0xFF),))
        self._transport(known.config.transport).out.send_rtcp(serialize([request]))

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        known = self._publications.get(publication)
        return known.layers() if known is not None else []

    # --- subscriptions -------------------------------------------------------------------------

    def open_subscription(self, subscription: SubscriptionKey, config: SubscriptionConfig) -> None:
        publication = self._publications.get(config.publication)
        if publication is None:
            return
        layout = self._layout(config)
        known = self._subscriptions.get(subscription)
        if known is not None:
            before = known.config
            if (before.transport, before.publication, before.ssrc, before.rtx_ssrc) == (
                config.transport,
                config.publication,
                config.ssrc,
                config.rtx_ssrc,
            ):
                known.configure(config, layout)
                return
            self.close_subscription(subscription)
        transport = self._transport(config.transport)
        opened = Subscription(
            subscription,
            config,
            transport.out,
            publication,
            layout,
            self._events.tell,
            self._settle_soon,
            self._rng,
        )
        self._subscriptions[subscription] = opened
        transport.subscriptions[config.ssrc] = opened
        publication.subscriptions = (*publication.subscriptions, opened)

    def _layout(self, config: SubscriptionConfig) -> ExtensionLayout:
        """The one that others of the same shape have, so that they share what is made by it."""
        shape = (config.extensions, len(config.mid.encode()))
        layout = self._layouts.get(shape)
        if layout is None:
            layout = self._layouts[shape] = ExtensionLayout(*shape)
        return layout

    def close_subscription(self, subscription: SubscriptionKey) -> None:
        known = self._subscriptions.pop(subscription, None)
        if known is None:
            return
        known.close()
        self._unsettled.pop(known, None)
        transport = self._transports.get(known.config.transport)
        if transport is not None and transport.subscriptions.get(known.config.ssrc) is known:
            del transport.subscriptions[known.config.ssrc]
        publication = known.publication
        publication.subscriptions = tuple(other for other in publication.subscriptions if other is not known)

    def _settle_soon(self, subscription: Subscription) -> None:
        self._unsettled[subscription] = None

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        known = self._subscriptions.get(subscription)
        if known is not None:
            known.set_target(target, at_once=at_once)

    # --- sending rate --------------------------------------------------------------------------

    def set_estimate(self, transport: TransportKey, estimate_bps: int) -> None:
        if known := self._transports.get(transport):
            known.out.set_estimate(estimate_bps)

    def sent_bytes(self, transport: TransportKey) -> int:
        known = self._transports.get(transport)
        return known.out.sent_bytes if known is not None else 0

    def send_probe(self, transport: TransportKey, probe: Probe, now_us: int) -> None:
        known = self._transports.get(transport)
        if known is not None and any(each.can_pad for each in known.subscriptions.values()):
            known.out.start_probe(now_us, probe)
            self._pump(known, now_us)

    def send_remb(self, transport: TransportKey, bitrate_bps: int) -> None:
        known = self._transports.get(transport)
        if known is None:
            return
        ssrcs = [each.stats.ssrc for each in known.encodings(remb=True) if each.stats.active]
        if ssrcs:
            known.out.send_rtcp(serialize([Remb(self._ssrc, bitrate_bps, tuple(ssrcs[:_MOST_REMB]))]))

    def pump(self, now_us: int) -> int | None:
        soonest_us: int | None = None
        for key in tuple(self._waiting):
            transport = self._transports.get(key)
            next_us = transport.out.pacer.next_us if transport is not None else None
            if transport is not None and next_us is not None and next_us <= now_us:
                self._pump(transport, now_us)
                next_us = transport.out.pacer.next_us
            if next_us is None:
                self._waiting.discard(key)
            elif soonest_us is None or next_us < soonest_us:
                soonest_us = next_us
        return soonest_us

    def _pump(self, transport: _Transport, now_us: int) -> None:
        out = transport.out
        out.pump(now_us)
        while size := out.pacer.padding_bytes(now_us):
            if not any(each.pad(size, now_us) for each in transport.subscriptions.values()):
                out.pacer.end_probe()
                return

    # --- packets -------------------------------------------------------------------------------

    def receive(
        self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int | None = None
    ) -> None:
        known = self._transports.get(transport)
        if known is None or known.receiver is None:
            return self._counters.drop("no-transport")
        self._counters.received += 1
        try:
            if is_rtcp(packet):
                compound = known.receiver.unprotect_rtcp(packet)
                for feedback in parse_compound(compound, self._counters.drop):
                    self._receive_rtcp(known, feedback, now_us)
            else:
                arrived_us = now_us if arrival_us is None else arrival_us
                self._receive_rtp(known, known.receiver, packet, now_us, arrived_us)
        except ParseError as error:
            self._counters.drop(error.reason)
        return None

    def _receive_rtp(
        self, transport: _Transport, receiver: SrtpReceiver, datagram: bytes, now_us: int, arrival_us: int
    ) -> None:
        plain = receiver.unprotect(datagram)
        rtp = parse_packet(plain)
        number = rtp.extensions.get(transport.transport_cc)
        if number is not None and len(number) == 2:
            transport.recorder.record(number[0] << 8 | number[1], arrival_us)
        demux = transport.demux
        route = demux.routes.get(rtp.ssrc)
        if route is None:
            route = demux.resolve(rtp)
            if route is None:
                raise ParseError("unknown-ssrc")
        publication = route.publication
        encoding = publication.encodings.get(route.rid)
        if route.rtx:
            codec = publication.rtx_codecs.get(rtp.payload_type)
            if encoding is None:
                raise ParseError("rtx-before-media")
            if codec is None:
                raise ParseError("payload-type")
            rtp = decapsulate(rtp, codec, encoding.stats.ssrc)
        else:
            codec = publication.codecs.get(rtp.payload_type)
            if codec is None:
                raise ParseError("payload-type")
            if encoding is None or encoding.stats.ssrc != rtp.ssrc:
                encoding = self._new_encoding(route, rtp, codec.clock_rate)
        carried = publication.carried(rtp.extensions)
        highest = encoding.reception.highest
        packet = encoding.receive(rtp, codec, carried, arrival_us, recovered=route.rtx)
        if publication.config.remb and not route.rtx:
            send_time = rtp.extensions.get(publication.config.extensions.abs_send_time, b"")
            ahead = packet.ext_seq - highest if highest >= 0 else 0
            transport.arrivals.record(send_time, len(plain), ahead, arrival_us)
        if not encoding.stats.active:
            # A retransmission is of the past: what stopped has not come back with it.
            if not route.rtx:
                self._began(publication, encoding)
        elif packet.info.width:
            self._reconsider(publication)
        if publication.muted:
            raise ParseError("muted")
        for subscription in publication.subscriptions:
            subscription.forward(packet, now_us)
        packet.sent()

    def _new_encoding(self, route: Route, rtp: RtpPacket, clock_rate: int) -> Encoding:
        publication = route.publication
        before = publication.encodings.get(route.rid)
        if before is not None:
            before.stats.active = False
        cached = self._cache_packets if publication.config.kind == "video" else _AUDIO_CACHED
        encoding = Encoding(route.rid, rtp.ssrc, clock_rate, cached)
        publication.encodings[route.rid] = encoding
        return encoding

    def _began(self, publication: Publication, encoding: Encoding) -> None:
        stats = encoding.stats
        stats.active = True
        self._events.tell(EncodingStarted(publication.key, stats.rid, stats.ssrc))
        self._reconsider(publication)

    def _reconsider(self, publication: Publication) -> None:
        """What flows, or its size, may have changed."""
        if publication.rank():
            for subscription in publication.subscriptions:
                subscription.choose()

    # --- RTCP in -------------------------------------------------------------------------------

    def _receive_rtcp(self, transport: _Transport, packet: RtcpPacket, now_us: int) -> None:
        subscriptions = transport.subscriptions
        match packet:
            case Nack():
                if subscription := subscriptions.get(packet.media_ssrc):
                    subscription.retransmit(packet.lost, now_us)
            case TransportWideFeedback():
                results: tuple[BurstResult, ...] = transport.out.history.match(packet)
                if results:
                    self._events.tell(TransportFeedback(transport.out.key, results))
            case ReceiverReport():
                self._receive_blocks(transport, packet.reports, now_us)
            case SenderReport():
                encoding = self._encoding_of(transport, packet.ssrc)
                if encoding is not None and packet.ntp:
                    encoding.reception.sender_report = SenderClock(packet.ntp, packet.rtp_ts, now_us)
                self._receive_blocks(transport, packet.reports, now_us)
            case PictureLoss():
                if subscription := subscriptions.get(packet.media_ssrc):
                    subscription.wants_keyframe("pli", now_us)
            case FullIntraRequest():
                for ssrc, seq_nr in packet.entries:
                    if subscription := subscriptions.get(ssrc):
                        subscription.wants_keyframe("fir", now_us, seq_nr)
            case Remb():
                named = sorted({subscriptions[ssrc].key for ssrc in packet.ssrcs if ssrc in subscriptions})
                self._events.tell(RembReceived(transport.out.key, packet.bitrate_bps, tuple(named)))
            case Goodbye():
                for ssrc in packet.ssrcs:
                    self._receive_goodbye(transport, ssrc)

    def _receive_blocks(self, transport: _Transport, blocks: Sequence[ReportBlock], now_us: int) -> None:
        for block in blocks:
            if subscription := transport.subscriptions.get(block.ssrc):
                subscription.reported(block, now_us)

    def _encoding_of(self, transport: _Transport, ssrc: int) -> Encoding | None:
        route = transport.demux.routes.get(ssrc)
        if route is None or route.rtx:
            return None
        encoding = route.publication.encodings.get(route.rid)
        return encoding if encoding is not None and encoding.stats.ssrc == ssrc else None

    def _receive_goodbye(self, transport: _Transport, ssrc: int) -> None:
        """An encoding that is switched off says so. It may come back. Spec: RFC 3550 section 6.6."""
        encoding = self._encoding_of(transport, ssrc)
        if encoding is not None and encoding.stats.active:
            publication = transport.demux.routes[ssrc].publication
            self._ended(publication, encoding)
            self._reconsider(publication)

    def _ended(self, publication: Publication, encoding: Encoding) -> None:
        encoding.stats.active = False
        encoding.nack.clear()
        self._events.tell(EncodingStopped(publication.key, encoding.stats.rid))

    # --- timers --------------------------------------------------------------------------------

    def tick(self, now_us: int, ntp: int) -> None:
        """See `MediaPlane`. `ntp` is not needed: sender reports carry the publishers' clocks over."""
        for publication in self._publications.values():
            encodings = publication.encodings.values()
            for encoding in encodings:
                encoding.measure(now_us)
                if encoding.stats.active and encoding.stalled(encodings, now_us):
                    self._ended(publication, encoding)
            self._reconsider(publication)
        for transport in self._transports.values():
            if transport.demux.publications:
                self._report(transport, now_us)
        unsettled, self._unsettled = self._unsettled, {}
        for subscription in unsettled:
            subscription.settle(now_us)
        self._turn = (self._turn + 1) % _TURNS
        for subscription in islice(self._subscriptions.values(), self._turn, None, _TURNS):
            subscription.tick(now_us)

    def _report(self, transport: _Transport, now_us: int) -> None:
        """To a publisher: NACKs, transport-wide feedback and receiver reports, where due."""
        send = transport.out.send_rtcp
        media_ssrc = 0
        for publication in transport.demux.publications.values():
            for encoding in publication.encodings.values():
                media_ssrc = encoding.stats.ssrc
                if publication.config.nack and (lost := encoding.nack.due(now_us)):
                    encoding.stats.nacks_sent += len(lost)
                    numbers = tuple(number & 0xFFFF for number in lost)
                    send(serialize([Nack(self._ssrc, media_ssrc, numbers)]))
                if encoding.nack.take_given_up() > encoding.keyframe_seq:
                    self._lost_for_good(publication, encoding)
        while feedback := transport.recorder.build(self._ssrc, media_ssrc, now_us):
            send(feedback)
        arrived = transport.arrivals.take(now_us)
        if arrived is not None:
            self._events.tell(Arrivals(transport.out.key, *arrived))
        if now_us - transport.report_us >= _REPORT_US:
            transport.report_us = now_us
            blocks = [
                encoding.reception.report(encoding.stats.ssrc, now_us)
                for encoding in transport.encodings()
                if encoding.reception.highest >= 0
            ]
            for first in range(0, len(blocks), _MOST_BLOCKS):
                send(serialize([ReceiverReport(self._ssrc, tuple(blocks[first : first + _MOST_BLOCKS]))]))

    def _lost_for_good(self, publication: Publication, encoding: Encoding) -> None:
        """Nobody can decode on. One request now is sooner than what each viewer would come to ask for."""
        if publication.config.kind == "video" and any(
            subscription.gets(encoding) for subscription in publication.subscriptions
        ):
            self._events.tell(KeyframeWanted(publication.key, encoding.stats.rid, "loss"))

    # --- what is known -------------------------------------------------------------------------

    def poll_events(self) -> list[PlaneEvent]:
        events = self._events.take()
        for publication in self._publications.values():
            if publication.audio_packets:
                if not publication.muted:
                    events.append(AudioLevel(publication.key, publication.loudest, publication.audio_packets))
                publication.loudest, publication.audio_packets = 127, 0
        return events

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        known = self._publications.get(publication)
        return [encoding.snapshot() for encoding in known.encodings.values()] if known is not None else []

    def subscription_stats(self, subscription: SubscriptionKey) -> SubscriptionStats | None:
        known = self._subscriptions.get(subscription)
        return known.stats if known is not None else None

    def counters(self) -> PlaneCounters:
        return self._counters
