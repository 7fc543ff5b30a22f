"""The seam between mechanism (per packet) and policy (per tick).

A plane owns everything that happens per packet: SRTP, rewriting, caching, retransmission, RTCP,
transport-wide feedback, layer switching at a switch point. Policy never sees a packet: it reads
batched events and counters, and sets targets. Every plane implements `MediaPlane`; the Python
plane is the readable reference.

Plain data only crosses the seam, so that a plane may live in another language and in other
threads. Times are monotonic integer microseconds; NTP time is passed apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from sfu.ids import PublicationKey, SubscriptionKey, TransportKey
from sfu.rtp.parameters import Codec as Codec
from sfu.rtp.parameters import EncodingSsrcs as EncodingSsrcs
from sfu.rtp.parameters import ExtensionIds as ExtensionIds
from sfu.rtp.parameters import Kind as Kind

SrtpProfile = Literal["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES128_CM_SHA1_80"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKeys:
    """Keying material of one DTLS-SRTP association, master key then master salt. Spec: RFC 5764 4.2."""

    profile: SrtpProfile
    receive: bytes
    send: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationConfig:
    """What the plane must know to receive one publication.

    `codecs` are those the answer accepted, the first being the media codec. `rids` is empty
    without simulcast. Streams are recognised by announced SSRC, else by MID and RID extensions,
    else (one candidate only) by payload type. Spec: RFC 8843 section 9.2.
    """

    transport: TransportKey
    kind: Kind
    mid: str
    codecs: tuple[Codec, ...]
    extensions: ExtensionIds
    rids: tuple[str, ...] = ()
    ssrcs: tuple[EncodingSsrcs, ...] = ()
    nack: bool = False
    transport_cc: bool = False
    remb: bool = False
    """The peer is told by REMB what may be sent: it takes that and no transport-wide feedback."""
    fir: bool = False
    """Keyframes are asked for by FIR, where the peer takes that and no PLI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionConfig:
    """What the plane must know to send one publication to one subscriber.

    `payload_types` maps the publication's payload types to this leg's; `rtx_payload_types` maps
    this leg's media payload types to its RTX ones (empty: NACKs are answered with nothing).
    """

    transport: TransportKey
    publication: PublicationKey
    mid: str
    ssrc: int
    rtx_ssrc: int | None
    payload_types: Mapping[int, int]
    rtx_payload_types: Mapping[int, int]
    extensions: ExtensionIds
    cname: str


class Layer(NamedTuple):
    """A step of quality: `spatial` 0 is the smallest picture, `temporal` 0 the lowest frame rate."""

    spatial: int
    temporal: int


# --- events, plane to policy -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncodingStarted:
    """The first packet of an encoding arrived, or it came back."""

    publication: PublicationKey
    rid: str
    ssrc: int


@dataclass(frozen=True, slots=True)
class EncodingStopped:
    """An encoding that flowed has sent nothing for a while (muted, dynacast, loss of the layer)."""

    publication: PublicationKey
    rid: str


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    """A subscriber (by PLI or FIR) or the plane itself needs a keyframe of this encoding.

    The plane's own reasons: a newcomer or a switch waits for one, or a loss could not be repaired.
    """

    publication: PublicationKey
    rid: str
    reason: Literal["pli", "fir", "join", "switch", "loss"]


@dataclass(frozen=True, slots=True)
class CurrentLayerChanged:
    """What flows to a subscriber has changed; `layer` is None while nothing does."""

    subscription: SubscriptionKey
    layer: Layer | None


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """An audio publication's loudest level since the last poll, in -dBov (0 loud, 127 silent)."""

    publication: PublicationKey
    level: int
    packets: int


BURST_US = 5_000
"""What is sent within this long is sent at once. Spec: draft-ietf-rmcat-gcc-02 section 5.2, `burst_time`."""


class BurstResult(NamedTuple):
    """What a transport-wide feedback report says of one packet, or of some that are a burst.

    Such a burst is of packets outside of probes that follow each other in the report, were sent within
    `BURST_US` and arrived in that order, within as long; every other packet is told alone.
    `sent_us` and `arrival_us` are those of the first packet, the spans from there to those of the last;
    `arrival_us` is None where it was lost. `probe_cluster` names the probe it was sent in (media and padding
    alike), 0 outside of probes.
    """

    sent_us: int
    arrival_us: int | None
    size_bytes: int
    probe_cluster: int = 0
    packets: int = 1
    sent_span_us: int = 0
    arrival_span_us: int = 0


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """A subscriber's transport-cc report matched with what was sent to it."""

    transport: TransportKey
    results: tuple[BurstResult, ...]


@dataclass(frozen=True, slots=True)
class RembReceived:
    """Receiver-estimated bitrate from a subscriber without transport-cc.

    It is of `subscriptions` together, in ascending order; of the whole transport where it names none.
    """

    transport: TransportKey
    bitrate_bps: int
    subscriptions: tuple[SubscriptionKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What came from a publisher that is told by REMB what it may send, and how many packets did not come.

    `sent_us` of the results are the publisher's clock, moved by an amount that stays the same for long, or
    those of arrival where it does not tell. Retransmissions are left out.
    """

    transport: TransportKey
    results: tuple[BurstResult, ...]
    lost: int


@dataclass(frozen=True, slots=True)
class PlaneFault:
    """A fault of the plane's own came between with something of this room: nothing of it works any more."""

    room: int


PlaneEvent = (
    PlaneFault
    | EncodingStarted
    | EncodingStopped
    | KeyframeWanted
    | CurrentLayerChanged
    | AudioLevel
    | TransportFeedback
    | RembReceived
    | Arrivals
)


# --- counters ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probe:
    """A cluster to send now at `target_bps`: at least `min_packets` and `min_bytes`, in some `duration_us`.

    Media that is due meanwhile counts; padding fills the rest. `cluster_id` (above 0, unique in a
    transport) comes back in `BurstResult.probe_cluster`.
    """

    cluster_id: int
    target_bps: int
    min_packets: int
    min_bytes: int
    duration_us: int


@dataclass(slots=True)
class EncodingStats:
    """Reception of one encoding, cumulative since it started. `jitter_ms` is RFC 3550 section 6.4.1.

    `sizes` is width and height of each spatial layer in this one stream, lowest first, empty where the codec
    tells none.
    """

    rid: str
    ssrc: int
    active: bool
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    recovered: int = 0
    duplicates: int = 0
    nacks_sent: int = 0
    plis_sent: int = 0
    keyframes: int = 0
    frames: int = 0
    jitter_ms: float = 0.0
    bitrate_bps: int = 0
    width: int = 0
    height: int = 0
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class SubscriptionStats:
    """What was sent to one subscriber of one publication, and what it reports back."""

    packets: int = 0
    bytes: int = 0
    nacks_received: int = 0
    retransmitted: int = 0
    retransmit_missed: int = 0
    plis_received: int = 0
    fraction_lost: float = 0.0
    lost: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float | None = None
    bitrate_bps: int = 0
    current: Layer | None = None
    current_rid: str = ""


@dataclass(slots=True)
class PlaneCounters:
    """Of the whole plane. `dropped` counts by reason: a reason is a constant, never peer-made text."""

    received: int = 0
    forwarded: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


class Egress(Protocol):
    """Where a plane's protected packets go. Sending must not block; a full socket drops."""

    def send(self, transport: TransportKey, packet: bytes) -> None: ...


Upward = tuple[int, str, int, int, bytes, int, int]
"""A datagram that is not media of a known peer: the number of the bound address that it came to; host, port
and scope that it came from; its bytes; when it was read, and how many microseconds before that it came."""


class Routes(Protocol):
    """Where a plane that uses UDP by itself is told how; without a route it uses `Egress.send`.

    Once it has been started it receives too: its threads take SRTP from the addresses it knows, and leave
    everything else to `take_upward`. Addresses are an IP address, a port, and for IPv6 a scope, else 0.
    """

    def start(self, groups: Sequence[Sequence[int]]) -> int:
        """Begin, with one thread for each group; every group has a socket for each bound address.

        Descriptors are duplicated now. Returns one that is readable while `take_upward` has something.
        """

    def stop(self) -> None:
        """End the threads."""

    def learn(self, transport: int, host: str, port: int, scope: int) -> None:
        """What comes from this address is this transport's from now on."""

    def unlearn(self, host: str, port: int, scope: int) -> None: ...

    def set_route(self, transport: int, descriptor: int, host: str, port: int, scope: int) -> None:
        """Send from the socket `descriptor`, one of those it was started with (else it is duplicated now)."""

    def clear_route(self, transport: int) -> None: ...

    def expect_checks(self, ufrag: str) -> None:
        """Connectivity checks that name this ufrag of ours go up; those that name no such one are dropped."""

    def refuse_checks(self, ufrag: str) -> None: ...

    def set_consent(
        self, transport: int, host: str, port: int, scope: int, username: str, password: str, checked_us: int
    ) -> None:
        """The peer was checked at this address, at `checked_us`.

        Further checks from there with that username and password are answered while they keep coming; all
        others go up. Spec: RFC 7675.
        """

    def withdraw_consent(self, transport: int) -> None:
        """All checks go up."""

    def checked_us(self, transport: int) -> int:
        """When the last check was that `set_consent` told of or that was answered, 0 where none was."""

    def forget(self, transport: int) -> None:
        """Nothing more is told of a transport."""

    def route_bytes(self, transport: int) -> int:
        """Bytes sent by itself since the transport has a route."""

    def received_bytes(self, transport: int) -> int:
        """Bytes of media received by itself."""

    def take_upward(self, most: int) -> tuple[list[Upward], list[tuple[int, bytes]]]:
        """`most` datagrams at most, and all packets for transports that have no route, in order."""


@runtime_checkable
class RoutedEgress(Egress, Protocol):
    """An egress that can spare a plane the way through Python."""

    def follow(self, routes: Routes) -> None:
        """Tell `routes` every transport's path from now on, and every change of it."""


class MediaPlane(Protocol):
    """See the module's text. No method blocks or raises for what a peer sent; unknown keys are ignored."""

    def place_transport(self, transport: TransportKey, room: int) -> None:
        """Tell that a transport is of a room (a number above 0), before anything else about the transport.

        A plane that works in parallel keeps what is of one room together while that is small, and what fails
        by a fault of its own fails by rooms.
        """

    def open_transport(self, transport: TransportKey, keys: SrtpKeys) -> None:
        """Start protecting and unprotecting. Publications and subscriptions may come before."""

    def close_transport(self, transport: TransportKey) -> None:
        """Forget a transport with all its publications and subscriptions."""

    def open_publication(self, publication: PublicationKey, config: PublicationConfig) -> None:
        """Start receiving. Opening an open key replaces its configuration, its streams stay."""

    def close_publication(self, publication: PublicationKey) -> None: ...

    def set_muted(self, publication: PublicationKey, muted: bool) -> None:
        """While muted nothing is forwarded, whatever arrives; un-muting asks for a keyframe."""

    def open_subscription(self, subscription: SubscriptionKey, config: SubscriptionConfig) -> None:
        """Start sending at the highest layer that flows, from a recent keyframe or one asked for at once."""

    def close_subscription(self, subscription: SubscriptionKey) -> None: ...

    def set_target(
        self, subscription: SubscriptionKey, target: Layer | None, *, at_once: bool = False
    ) -> None:
        """The best layer policy allows; None pauses. What flows changes at the next switch point.

        With `at_once` a larger encoding than that is left now, whatever there is to go on with: on a path
        that is overrun every packet of it delays what comes next.
        """

    def set_estimate(self, transport: TransportKey, estimate_bps: int) -> None:
        """What the transport's path carries now: the pace of what is sent on it."""

    def sent_bytes(self, transport: TransportKey) -> int:
        """Bytes sent with transport-wide numbers so far, 0 for an unknown transport."""

    def send_probe(self, transport: TransportKey, probe: Probe, now_us: int) -> None:
        """Send a cluster at the probe's rate, padding filling up. Nothing happens where nothing can pad."""

    def send_remb(self, transport: TransportKey, bitrate_bps: int) -> None:
        """Tell a publisher what it may send in all; nothing happens where none of its encodings flows."""

    def pump(self, now_us: int) -> int | None:
        """Send what the pacers held back; when to call again, None while nothing waits."""

    def request_keyframe(self, publication: PublicationKey, rid: str, now_us: int) -> None:
        """Send a PLI for one encoding now. Throttling is the caller's, see `media/keyframes.py`."""

    def layers(self, publication: PublicationKey) -> Sequence[tuple[Layer, str, int]]:
        """What flows now, lowest first: the layer, its rid, its bits per second."""

    def receive(
        self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int | None = None
    ) -> None:
        """One SRTP or SRTCP datagram from the transport's proven peer.

        `arrival_us` is when it came to this machine, where that is known apart from `now_us`, the moment it
        was read: feedback to the publisher, jitter and rates go by it.
        """

    def tick(self, now_us: int, ntp: int) -> None:
        """Timers: reports, NACKs, feedback, stopped encodings. Call every 20 ms while a transport is open."""

    def poll_events(self) -> list[PlaneEvent]:
        """What happened since the last poll, in order.

        What happened again in between is told as it was last: a keyframe wanted of the same encoding for the
        same reason, its beginning, its end, what flows to a subscriber, a bitrate of the same subscriptions.
        A transport's reports are told up to a number; more are dropped and counted.
        """

    def publication_stats(self, publication: PublicationKey) -> list[EncodingStats]:
        """One entry for each known encoding, empty when none arrived."""

    def subscription_stats(self, subscription: SubscriptionKey) -> SubscriptionStats | None: ...

    def counters(self) -> PlaneCounters: ...
