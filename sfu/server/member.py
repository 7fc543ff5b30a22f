"""A participant as the server serves it: its session, its two transports, its limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from sfu import clock
from sfu.config import Config
from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room.model import SessionKey
from sfu.room.permissions import Grants
from sfu.server import data, wire
from sfu.server.data import LABELS
from sfu.server.data_relay import DataEnd, DataRelay
from sfu.server.fairness import Account
from sfu.server.frames import Frame
from sfu.server.ice_servers import ice_servers, renewal_s
from sfu.server.publish_leg import Apply, PublishLeg, Refusal
from sfu.server.quotas import NOBODY
from sfu.server.rates import TokenBucket
from sfu.server.subscribe_leg import SubscribeLeg
from sfu.server.wire import Json

if TYPE_CHECKING:
    from sfu.server.media import Media
    from sfu.transport.peer import PeerTransport

log = logging.getLogger(__name__)


class Channel(Protocol):
    """A session as the conference sees it."""

    key: SessionKey
    address: str
    """Where it comes from."""
    account: Account
    """Who pays for what is asked over it."""

    def send(self, frame: Frame) -> None: ...

    def close(self, code: str, message: str = "") -> None: ...

    def admitted(self, member: Member, joined: Json) -> None:
        """The session waited in the lobby and is the member's now."""


class Owner(Protocol):
    """What a member tells the conference."""

    def fail(self, member: Member, code: str, message: str) -> None:
        """The participant broke the protocol, or a bug of ours broke it: it ends."""

    @property
    def data(self) -> DataRelay:
        """What carries data from member to member."""


class Member:
    """Observes both transports; an exception in what they cause closes only this participant."""

    def __init__(
        self,
        participant: ParticipantId,
        room: RoomName,
        grants: Grants,
        config: Config,
        media: Media,
        owner: Owner,
        account: Account,
        apply: Apply,
        refusal: Refusal,
    ) -> None:
        self.id = participant
        self.room = room
        self.grants = grants
        self.account = account
        self.payer = NOBODY
        """Whose share is used by what it makes the server keep."""
        self.jti = ""
        """Id of the token it came with, empty without."""
        self.expires_s: float = 0
        """When its token or pass expires (Unix seconds)."""
        self.acts = TokenBucket(config.limits.acts_per_s, config.limits.acts_burst, clock.now_us())
        limits = config.limits
        self._samples = TokenBucket(limits.telemetry_samples_per_s, limits.telemetry_burst, clock.now_us())
        self.channel: Channel | None = None
        self.data = DataEnd(config.limits)
        self.publish = PublishLeg(participant, media, self, self.send, apply, refusal)
        self.subscribe = SubscribeLeg(media, self, self.send, hidden=grants.hidden)
        self._config = config
        self._media = media
        self._owner = owner
        self._publish_lost_untold = False
        self._catching_up: asyncio.Handle | None = None
        self._renewal: asyncio.TimerHandle | None = None

    def context(self) -> dict[str, str]:
        """For log records."""
        return {"room": self.room, "participant": self.id}

    # --- session -------------------------------------------------------------------------------

    def attach(self, channel: Channel) -> None:
        """The participant has a session; what it must hear follows its `joined`."""
        self._stop_timers()
        self.subscribe.detach()
        self.channel = channel
        loop = asyncio.get_running_loop()
        self._catching_up = loop.call_soon(self._catch_up)
        if (after := renewal_s(self._config.ice, guarded=self._config.auth.guarded)) is not None:
            self._renewal = loop.call_later(after, self._renew_ice_servers, after)

    def detach(self) -> None:
        """The session is gone; media runs on."""
        self._stop_timers()
        self.channel = None
        self.subscribe.detach()

    def configure(self, config: Config) -> None:
        """The configuration has changed: ICE servers are told as it says from now on."""
        self._config = config

    def send(self, message: Json) -> None:
        """Queue a message; without a session it is nobody's."""
        if self.channel is not None:
            self.channel.send(wire.encode(message))

    def ice_servers(self) -> list[Json]:
        config, now_s = self._config, clock.wall_ms() / 1000
        return ice_servers(config.ice, self.id, now_s, guarded=config.auth.guarded)

    def take_samples(self, count: int) -> None:
        """Raises `RequestError` `rate_limited`, which says when there is place for so many."""
        now_us = clock.now_us()
        if not self._samples.take(count, now_us):
            after_ms = math.ceil(self._samples.wait_us(count, now_us) / 1000)
            raise RequestError("rate_limited", "too many samples a second", {"retry_after_ms": after_ms})

    def close(self, code: str, message: str) -> None:
        """The membership has ended: transports and session end."""
        self._stop_timers()
        self.publish.close()
        self.subscribe.close()
        if self.channel is not None:
            self.channel.close(code, message)
            self.channel = None

    def _catch_up(self) -> None:
        self._catching_up = None
        if self._publish_lost_untold:
            self._say_publish_lost()
        self.publish.attach()
        self.subscribe.attach()

    def _renew_ice_servers(self, after_s: float) -> None:
        self.send({"type": "ice_servers", "ice_servers": self.ice_servers()})
        loop = asyncio.get_running_loop()
        self._renewal = loop.call_later(after_s, self._renew_ice_servers, after_s)

    def _stop_timers(self) -> None:
        for timer in (self._catching_up, self._renewal):
            if timer is not None:
                timer.cancel()
        self._catching_up = self._renewal = None

    # --- media ---------------------------------------------------------------------------------

    def forget_publication(self, publication: PublicationId) -> None:
        self.publish.forget(publication)
        self._media.unpublish(publication)

    def put_data(self, label: str, topic: str, message: bytes, now_us: int) -> None:
        """Send on a data channel; who has none just now misses the message."""
        if (transport := self.publish.transport) is not None:
            self.data.outbox.put(label, topic, message, transport, now_us)

    def pump_data(self, label: str) -> None:
        """Give the channel what it takes of what waits."""
        self.data.outbox.pump(label, self.publish.transport)

    def say_data(self, label: str, header: Json) -> None:
        """Tell something about data itself, before all data that waits."""
        if (transport := self.publish.transport) is not None:
            transport.send_data(label, data.pack(header))

    def _say_publish_lost(self) -> None:
        self._publish_lost_untold = False
        self.send({"type": "transport_lost", "transport": "publish"})

    # --- observer of the transports ------------------------------------------------------------

    def on_connected(self, transport: PeerTransport) -> None:
        with self._guarded():
            self._media.start_srtp(transport)
            log.info("transport connected", extra=self._transport_context(transport))

    def on_disconnected(self, transport: PeerTransport) -> None:
        log.info("transport disconnected", extra=self._transport_context(transport))

    def on_reconnected(self, transport: PeerTransport) -> None:
        log.info("transport reconnected", extra=self._transport_context(transport))

    def on_closed(self, transport: PeerTransport, reason: str) -> None:
        with self._guarded():
            log.info("transport lost: %s", reason, extra=self._transport_context(transport))
            if transport is self.publish.transport:
                self.publish.lost()
                self._publish_lost_untold = True
                if self.channel is not None:
                    self._say_publish_lost()
            elif transport is self.subscribe.transport:
                self.subscribe.lost()

    def on_data(self, transport: PeerTransport, label: str, message: bytes) -> None:
        with self._guarded():
            if transport is self.publish.transport and label in LABELS:
                self._owner.data.receive(self, label, message)

    def on_data_ready(self, transport: PeerTransport, label: str) -> None:
        with self._guarded():
            if transport is self.publish.transport:
                self._owner.data.ready(self, label)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            log.exception("an event of a transport failed", extra=self.context())
            self._owner.fail(self, "internal", "an error of the server")

    def _transport_context(self, transport: PeerTransport) -> dict[str, str]:
        name = "publish" if transport is self.publish.transport else "subscribe"
        return self.context() | {"transport": name}
