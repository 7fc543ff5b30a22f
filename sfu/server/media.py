"""Media of the whole server: one port, one plane, one policy, and the tick that drives them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sfu import clock
from sfu.config import Config
from sfu.ids import ParticipantId, PublicationId, PublicationKey, RoomName, SubscriptionKey, TransportKey
from sfu.media.attention import Attention
from sfu.media.decisions import Explanation, Notice, Wish
from sfu.media.plane import (
    EncodingStats,
    ExtensionIds,
    MediaPlane,
    PublicationConfig,
    SrtpKeys,
    SubscriptionConfig,
    SubscriptionStats,
)
from sfu.media.policy import Policy
from sfu.sdp.negotiate import LocalParameters
from sfu.sdp.publish import ReceivedMedia
from sfu.server.half_time import HalfTime
from sfu.server.places import RoomNumbers
from sfu.server.planes import make_plane, thread_count
from sfu.transport.peer import PeerTransport, TransportObserver
from sfu.transport.port import TransportPort

log = logging.getLogger(__name__)

TICK_S = 0.02
"""The plane's timers: RTCP, NACKs and feedback are due within this."""

PUMP_S = 0.005
"""Beat of the pacers while something waits in them."""

KNOCKS, KNOCK_S = 50, 0.02
"""How often, and how long apart, it is looked whether a datagram has been read."""


class RoomObserver(TransportObserver, Protocol):
    """Somebody in a room, who is told what happens to a transport."""

    @property
    def room(self) -> RoomName: ...


@dataclass(slots=True)
class Published:
    """A publication as the plane knows it, with what was negotiated for it."""

    id: PublicationId
    participant: ParticipantId
    key: PublicationKey
    transport: TransportKey
    received: ReceivedMedia


class Tap:
    """A publication as this process gets it, by its own subscription. `keys` unprotect what comes."""

    def __init__(self, keys: SrtpKeys, close: Callable[[], None], ask_keyframe: Callable[[], None]) -> None:
        self.keys = keys
        self.close = close
        self.ask_keyframe = ask_keyframe


class Media:
    """Made by `open`. Publications and subscriptions get their plane keys here.

    `on_notices` is called from the tick with what policy decided, when it decided anything.
    """

    def __init__(
        self, config: Config, rng: random.Random, on_notices: Callable[[list[Notice]], None]
    ) -> None:
        self.rng = rng
        self.published: dict[PublicationId, Published] = {}
        self._config = config
        self._on_notices = on_notices
        self._keys = itertools.count(1)
        self._by_key: dict[PublicationKey, Published] = {}
        self._transports: set[PeerTransport] = set()
        self._rooms = RoomNumbers()
        self._closing: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._decided_s = 0.0
        self._pumping: asyncio.TimerHandle | None = None
        self._port: TransportPort
        self._plane: MediaPlane
        self._policy: Policy

    @classmethod
    async def open(
        cls,
        config: Config,
        rng: random.Random,
        on_notices: Callable[[list[Notice]], None],
        sockets: Sequence[socket.socket] = (),
    ) -> Media:
        """Bind the media port, unless `sockets` are it.

        Raises `StartError` or `ConfigError` where that cannot be.
        """
        media = cls(config, rng, on_notices)
        media._port = await TransportPort.open(
            config.rtc, media._receive, media._pump, threads=thread_count(config.media), given=sockets
        )
        media._plane = make_plane(
            config.media.plane, media._port, rng=rng, cache_packets=config.media.cache_packets
        )
        media._policy = Policy(
            media._plane, config.media.keyframe_interval_ms * 1000, last_n=config.media.last_n
        )
        return media

    @property
    def port(self) -> int:
        """The media port's number."""
        return self._port.port

    @property
    def attention(self) -> Attention:
        """Who speaks, and who spoke last."""
        return self._policy.attention

    @property
    def m_lines(self) -> int:
        """How many m-lines one subscriber has at most."""
        return self._config.media.m_lines

    @property
    def policy_age_s(self) -> float:
        """How long ago policy decided last; 0 where there is nothing to decide."""
        return asyncio.get_running_loop().time() - self._decided_s if self._transports else 0.0

    async def receives(self) -> bool:
        """Whether what comes to the media port is read: tried with a datagram that is dropped and counted."""
        read = self._dropped()["unknown-datagram"]
        if not self._port.knock():
            return True
        for _ in range(KNOCKS):
            if self._dropped()["unknown-datagram"] > read:
                return True
            await asyncio.sleep(KNOCK_S)
        return False

    async def close(self) -> None:
        """End every transport and release the port."""
        for transport in list(self._transports):
            self.close_transport(transport)
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        while self._closing:
            await asyncio.wait(set(self._closing))
        if self._pumping is not None:
            self._pumping.cancel()
        await self._port.close()

    # --- transports ----------------------------------------------------------------------------

    def open_transport(self, observer: RoomObserver) -> PeerTransport:
        """A new transport, and the tick if it is the first."""
        transport = self._port.create(observer)
        self._plane.place_transport(transport.key, self._rooms.enter(transport.key, observer.room))
        self._transports.add(transport)
        if self._ticking is None:
            self._decided_s = asyncio.get_running_loop().time()
            self._ticking = asyncio.create_task(self._tick())
        return transport

    def start_srtp(self, transport: PeerTransport) -> None:
        """The DTLS handshake has ended: give the plane its keys."""
        if transport in self._transports and transport.srtp_keys is not None:
            self._plane.open_transport(transport.key, transport.srtp_keys)

    def close_transport(self, transport: PeerTransport) -> None:
        """End a transport; its DTLS goodbye goes out in the background."""
        if transport not in self._transports:
            return
        self._transports.remove(transport)
        self._rooms.leave(transport.key)
        self._plane.close_transport(transport.key)
        self._policy.remove_transport(transport.key)
        task = asyncio.create_task(transport.close())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def fail_room(self, number: int) -> RoomName | None:
        """What is left of a room has failed by a fault of the plane; what comes into it from now on is new.

        Returns its name, None where nothing is left of it.
        """
        room = self._rooms.fail(number)
        log.error("the media plane failed with something of this room, which is closed", extra={"room": room})
        return room

    def local_parameters(self, transport: PeerTransport) -> LocalParameters:
        """The server's side of a transport as descriptions carry it."""
        return LocalParameters(
            ice_ufrag=transport.ice_ufrag,
            ice_pwd=transport.ice_pwd,
            fingerprint=self._port.local_fingerprint,
            candidates=self._port.candidates(),
            sctp_max_message_size=self._config.limits.data_bytes,
            dtls_role=transport.dtls_role,
        )

    # --- publications and subscriptions --------------------------------------------------------

    def publish(
        self,
        publication: PublicationId,
        participant: ParticipantId,
        transport: TransportKey,
        received: ReceivedMedia,
        source: str,
    ) -> None:
        """Start receiving what was negotiated."""
        key = PublicationKey(next(self._keys))
        published = Published(publication, participant, key, transport, received)
        self.published[publication] = self._by_key[key] = published
        self._plane.open_publication(key, _publication_config(published))
        self._policy.add_publication(
            key, received.kind, participant=participant, source=source, rids=received.rids
        )

    def renegotiate(self, publication: PublicationId, received: ReceivedMedia) -> None:
        """A new description of a publication whose codecs stayed the same."""
        published = self.published[publication]
        if published.received != received:
            published.received = received
            self._plane.open_publication(published.key, _publication_config(published))

    def unpublish(self, publication: PublicationId) -> None:
        published = self.published.pop(publication, None)
        if published is not None:
            del self._by_key[published.key]
            self._policy.remove_publication(published.key)
            self._plane.close_publication(published.key)

    def set_muted(self, publication: PublicationId, muted: bool) -> None:
        if published := self.published.get(publication):
            self._plane.set_muted(published.key, muted)
            self._policy.set_muted(published.key, muted)

    def publication_of(self, key: PublicationKey) -> Published | None:
        """The publication with that plane key, None when it is gone."""
        return self._by_key.get(key)

    def new_subscription_key(self) -> SubscriptionKey:
        return SubscriptionKey(next(self._keys))

    def subscribe(self, key: SubscriptionKey, config: SubscriptionConfig, wish: Wish) -> None:
        self._plane.open_subscription(key, config)
        per_packet = bool(config.extensions.transport_cc)
        self._policy.add_subscription(
            key, config.publication, wish, transport=config.transport, per_packet=per_packet
        )

    def tap(self, publication: PublicationId, on_packet: Callable[[bytes], None]) -> Tap | None:
        """Get a publication's packets, of its smallest layer, as protected SRTP; None where it is gone."""
        published = self.published.get(publication)
        if published is None:
            return None
        master = self.rng.randbytes(28)
        transport, subscription = self._port.open_tap(on_packet), self.new_subscription_key()
        self._plane.place_transport(transport, self._rooms.number_of(published.transport))
        self._plane.open_transport(
            transport, SrtpKeys(profile="AEAD_AES_128_GCM", receive=self.rng.randbytes(28), send=master)
        )
        numbers = {codec.payload_type: codec.payload_type for codec in published.received.codecs}
        config = SubscriptionConfig(
            transport=transport,
            publication=published.key,
            mid="",
            ssrc=self.rng.getrandbits(32),
            rtx_ssrc=None,
            payload_types=numbers,
            rtx_payload_types={},
            extensions=ExtensionIds(),
            cname=published.participant,
        )
        self.subscribe(subscription, config, Wish(width=1, height=1))

        def close() -> None:
            self.unsubscribe(subscription)
            self._policy.remove_transport(transport)
            self._plane.close_transport(transport)
            self._port.close_tap(transport)

        def ask_keyframe() -> None:
            for encoding in self._plane.publication_stats(published.key):
                self._plane.request_keyframe(published.key, encoding.rid, clock.now_us())

        keys = SrtpKeys(profile="AEAD_AES_128_GCM", receive=master, send=master)
        return Tap(keys, close, ask_keyframe)

    def set_wish(self, key: SubscriptionKey, wish: Wish) -> None:
        self._policy.set_wish(key, wish)

    def unsubscribe(self, key: SubscriptionKey) -> None:
        self._policy.remove_subscription(key)
        self._plane.close_subscription(key)

    # --- what is known -------------------------------------------------------------------------

    def publication_stats(self, publication: PublicationId) -> list[EncodingStats]:
        published = self.published.get(publication)
        return self._plane.publication_stats(published.key) if published else []

    def subscription_stats(self, key: SubscriptionKey) -> SubscriptionStats | None:
        return self._plane.subscription_stats(key)

    def explain(self, key: SubscriptionKey) -> Explanation | None:
        """Why the subscription gets what it gets."""
        return self._policy.explain(key)

    def counts(self) -> dict[str, object]:
        """Counters of the plane and the port, for an overview."""
        counters = self._plane.counters()
        return {
            "transports": len(self._transports),
            "packets_received": counters.received,
            "packets_forwarded": counters.forwarded,
            "packets_dropped": dict(self._dropped()),
        }

    def _dropped(self) -> Counter[str]:
        return Counter(self._plane.counters().dropped) + Counter(self._port.dropped())

    # --- driving -------------------------------------------------------------------------------

    def _receive(self, transport: TransportKey, packet: bytes, now_us: int, arrival_us: int) -> None:
        self._plane.receive(transport, packet, now_us, arrival_us)

    def _pump(self) -> None:
        """Send what the pacers held back when its time has come; they need no finer beat than this."""
        if self._pumping is None and self._plane.pump(clock.now_us()) is not None:
            self._pumping = asyncio.get_running_loop().call_later(PUMP_S, self._pump_again)

    def _pump_again(self) -> None:
        self._pumping = None
        self._pump()

    async def _tick(self) -> None:
        """Runs while there are transports, on an even beat that a late wake-up does not shift."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        # With thousands of viewers who report, policy would leave signalling no time.
        policy = HalfTime()
        while self._transports:
            try:
                now_us = clock.now_us()
                self._plane.tick(now_us, clock.ntp_now())
                if policy.may_work(began := loop.time()):
                    if notices := self._policy.tick(now_us):
                        self._on_notices(notices)
                    self._decided_s = loop.time()
                    policy.worked(began, self._decided_s)
                self._pump()
                self._port.flush()
            except Exception:
                log.exception("the media tick failed")
            due = max(due + TICK_S, loop.time())
            await asyncio.sleep(due - loop.time())
        self._ticking = None

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a transport did not close cleanly", exc_info=error)


def _publication_config(published: Published) -> PublicationConfig:
    received = published.received
    return PublicationConfig(
        transport=published.transport,
        kind=received.kind,
        mid=received.mid,
        codecs=received.codecs,
        extensions=received.extensions,
        rids=received.rids,
        ssrcs=received.ssrcs,
        nack=received.nack,
        transport_cc=received.transport_cc,
        remb=received.remb,
        fir=received.fir,
    )
