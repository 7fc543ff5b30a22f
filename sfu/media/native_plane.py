"""The media plane in Rust behind the seam: `rust/` does the work, `PythonPlane` is its readable reference.

Importing this module raises `ImportError` where the distribution `pysfu-plane` is not installed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sfu_plane

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.media.plane import (
    Arrivals,
    AudioLevel,
    BurstResult,
    CurrentLayerChanged,
    Egress,
    EncodingStarted,
    EncodingStats,
    EncodingStopped,
    KeyframeWanted,
    Layer,
    PlaneCounters,
    PlaneEvent,
    PlaneFault,
    Probe,
    PublicationConfig,
    RembReceived,
    RoutedEgress,
    SrtpKeys,
    SubscriptionConfig,
    SubscriptionStats,
    TransportFeedback,
)


class NativePlane:
    """Implements `MediaPlane`. `rng` makes the server's own SSRC and first sequence numbers."""

    def __init__(self, egress: Egress, *, rng: random.Random, cache_packets: int = 1024) -> None:
        self._send = egress.send
        self._plane = sfu_plane.Plane(rng.getrandbits(32), partial(rng.randrange, 0x8000), cache_packets)
        if isinstance(egress, RoutedEgress):
            egress.follow(self._plane)

    def _send_all(self, packets: list[tuple[int, bytes]] | None) -> None:
        if packets is not None:
            send = self._send
            for transport, packet in packets:
                send(TransportKey(transport), packet)

    # --- transports, publications, subscriptions -------------------------------------------------

    def place_transport(self, transport: TransportKey, room: int) -> None:
        self._plane.place_transport(transport, room)

    def open_transport(self, transport: TransportKey, keys: SrtpKeys) -> None:
        self._plane.open_transport(transport, keys)

    def close_transport(self, transport: TransportKey) -> None:
        self._plane.close_transport(transport)

    def open_publication(self, publication: PublicationKey, config: PublicationConfig) -> None:
        self._plane.open_publication(publication, config)

    def close_publication(self, publication: PublicationKey) -> None:
        self._plane.close_publication(publication)

    def set_muted(self, publication: PublicationKey, muted: bool) -> None:
        self._plane.set_muted(publication, muted)

    def open_subscription(self, subscription: SubscriptionKey, config: SubscriptionConfig) -> None:
        self._plane.open_subscription(subscription, config)

    def close_subscription(self, subscription: SubscriptionKey) -> None:
        self._plane.close_subscription(subscription)

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        self._plane.set_target(subscription, target, at_once)

    # --- sending rate --------------------------------------------------------------------------

    def set_estimate(self, transport: TransportKey, estimate_bps: int) -> None:
        self._plane.set_estimate(transport, estimate_bps)

    def sent_bytes(self, transport: TransportKey) -> int:
        return self._plane.sent_bytes(transport)

    def send_probe(self, transport: TransportKey, probe: Probe, now_us: int) -> None:
        self._send_all(self._plane.send_probe(transport, probe, now_us))

    def send_remb(self, transport: TransportKey, bitrate_bps: int) -> None:
        self._send_all(self._plane.send_remb(transport, bitrate_bps))

    def pump(self, now_us: int) -> int | None:
        next_us, packets = self._plane.pump(now_us)
        self._send_all(packets)
        return next_us

    def request_keyframe(self, publication: PublicationKey, rid: str, now_us: int) -> None:
        self._send_all(self._plane.request_keyframe(publication, rid))

    # --- packets and timers --------------------------------------------------------------------

    def receive(
        self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int | None = None
    ) -> None:
        arrived_us = now_us if arrival_us is None else arrival_us
        self._send_all(self._plane.receive(transport, packet, now_us, arrived_us))

    def tick(self, now_us: int, ntp: int) -> None:
        """See `MediaPlane`. `ntp` is not needed: sender reports carry the publishers' clocks over."""
        self._send_all(self._plane.tick(now_us))

    # --- what is known -------------------------------------------------------------------------

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        return [
            (Layer(spatial, temporal), rid, bps)
            for spatial, temporal, rid, bps in self._plane.layers(publication)
        ]

    def poll_events(self) -> list[PlaneEvent]:
        return [_EVENTS[name](*values) for name, values in self._plane.poll_events()]

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        return [EncodingStats(**fields) for fields in self._plane.publication_stats(publication)]

    def subscription_stats(self, subscription: SubscriptionKey) -> SubscriptionStats | None:
        fields = self._plane.subscription_stats(subscription)
        if fields is None:
            return None
        if fields["current"] is not None:
            fields["current"] = Layer(*fields["current"])
        return SubscriptionStats(**fields)

    def counters(self) -> PlaneCounters:
        return PlaneCounters(*self._plane.counters())


_BURST = partial(tuple.__new__, BurstResult)
"""Of a tuple that the plane made: there are many."""


def _layer_changed(subscription: SubscriptionKey, layer: tuple[int, int] | None) -> CurrentLayerChanged:
    return CurrentLayerChanged(subscription, Layer(*layer) if layer is not None else None)


def _feedback(transport: TransportKey, results: list[tuple[int | None, ...]]) -> TransportFeedback:
    return TransportFeedback(transport, tuple(map(_BURST, results)))


def _remb(transport: TransportKey, bitrate_bps: int, subscriptions: list[SubscriptionKey]) -> RembReceived:
    return RembReceived(transport, bitrate_bps, tuple(subscriptions))


def _arrivals(transport: TransportKey, results: list[tuple[int | None, ...]], lost: int) -> Arrivals:
    return Arrivals(transport, tuple(map(_BURST, results)), lost)


_EVENTS: dict[str, Callable[..., Any]] = {
    "Arrivals": _arrivals,
    "AudioLevel": AudioLevel,
    "CurrentLayerChanged": _layer_changed,
    "EncodingStarted": EncodingStarted,
    "EncodingStopped": EncodingStopped,
    "KeyframeWanted": KeyframeWanted,
    "PlaneFault": PlaneFault,
    "RembReceived": _remb,
    "TransportFeedback": _feedback,
}
