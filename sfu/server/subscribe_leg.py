"""A participant's subscribe transport: the server offers, one offer at a time.

There is no time limit for an answer: a page that is frozen, or on a phone that sleeps, answers when it wakes.
Until then what has changed waits for the next offer, however much it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sfu import clock
from sfu.errors import ParseError, RequestError
from sfu.ids import PublicationId, SubscriptionKey
from sfu.media.decisions import Wish
from sfu.media.plane import Layer, SubscriptionConfig
from sfu.media.slots import Candidate, Claim, MLines
from sfu.room.model import Publication, Subscription
from sfu.sdp.negotiate import OTHER_ROLE, RemoteParameters
from sfu.sdp.subscribe import Offer, OutgoingMedia, SentMedia, SubscribeAnswer, SubscribeSession
from sfu.server.wire import Json

if TYPE_CHECKING:
    from sfu.server.media import Media, Published, RoomObserver
    from sfu.transport.peer import PeerTransport

SWAP_EVERY_S = 0.5
"""M-lines change hands at most so often: who begins to speak waits for it no longer, and a crowd that talks
all at once causes no more offers."""
SPREAD_S = 0.2
"""All subscribers of a room are offered a new speaker within this, not in one moment."""
RETRY_S = 1.0
"""Wait before a transport that died is made anew, so that what fails at once does not spin."""


@dataclass(slots=True)
class _Entry:
    """One subscription. `config` is what the plane was given, None while nothing is sent."""

    subscription: Subscription
    publication: Publication
    key: SubscriptionKey
    ssrc: int
    rtx_ssrc: int | None
    muted: bool
    config: SubscriptionConfig | None = None
    paused: str = ""
    silent: bool = False
    told: tuple[str, str] = ("", "")

    def wish(self) -> Wish:
        wanted = self.subscription
        return Wish(
            priority=wanted.priority,
            width=wanted.width,
            height=wanted.height,
            paused=wanted.paused,
            silent=self.silent,
        )

    def candidate(self) -> Candidate:
        """What decides whether it has an m-line."""
        return Candidate(
            key=self.publication.id,
            participant=self.publication.participant,
            screen=self.publication.source in {"screen", "screen_audio"},
            **self.claim(),
        )

    def claim(self) -> Claim:
        wanted = self.subscription
        return Claim(
            flows=not (self.muted or wanted.paused),
            priority=wanted.priority,
            sized=bool(wanted.width or wanted.height),
        )


class SubscribeLeg:
    """Negotiation of one subscribe transport, which is made by the first subscription.

    `send` takes a message for the client; while the client has no session, `attached` is False and
    nothing is offered. Of a `hidden` participant no publisher is to hear: it takes what is sent for others.
    """

    def __init__(
        self,
        media: Media,
        observer: RoomObserver,
        send: Callable[[Json], None],
        *,
        hidden: bool = False,
    ) -> None:
        self._hidden = hidden
        self.transport: PeerTransport | None = None
        self._media = media
        self._observer = observer
        self._send = send
        self._entries: dict[PublicationId, _Entry] = {}
        self._lines = MLines(media.m_lines)
        self._contested = False
        """Whether m-lines may have to change hands."""
        self._swap_us = 0
        """When they may next."""
        self._session = self._new_session()
        self._remote: RemoteParameters | None = None
        self._seq = 0
        self._outstanding: Json | None = None
        self._offered = False
        self._changed = False
        self._restart = False
        self._attached = False
        self._lost_untold = False
        self._planned: asyncio.Handle | None = None
        self._planned_s = 0.0

    # --- the room's wishes ---------------------------------------------------------------------

    def subscribe(self, subscription: Subscription, publication: Publication) -> SubscriptionKey:
        """A new subscription; it is in the next offer if there is an m-line for it.

        Returns the plane's key for it.
        """
        entry = _Entry(
            subscription=subscription,
            publication=publication,
            key=self._media.new_subscription_key(),
            ssrc=self._new_ssrc(),
            rtx_ssrc=self._new_ssrc() if publication.kind == "video" else None,
            muted=publication.muted,
            paused="client" if subscription.paused else "",
            silent=self._hidden,
        )
        self._entries[publication.id] = entry
        if self._lines.add(publication.kind, entry.candidate()):
            self._change()
        else:
            self._tell(entry)
            self._contest()
        return entry.key

    def adjust(self, subscription: Subscription) -> None:
        """Priority, size or pausing have changed."""
        if entry := self._entries.get(subscription.publication):
            entry.subscription = subscription
            self._media.set_wish(entry.key, entry.wish())
            self._claim(entry)

    def attend(self) -> None:
        """Others speak now."""
        if self._lines.crowded:
            self._contest()

    def unsubscribe(self, publication: PublicationId, *, tell: bool) -> SubscriptionKey | None:
        """Nothing more is sent from now on; the next offer says so. Returns the key it had."""
        entry = self._entries.pop(publication, None)
        if entry is None:
            return None
        self._media.unsubscribe(entry.key)
        if tell:
            self._send({"type": "subscription", "publication": publication, "state": "ended"})
        if not self._lines.waits(publication):
            self._change()
        self._lines.remove(publication)
        return entry.key

    def set_muted(self, publication: PublicationId, muted: bool) -> None:
        if entry := self._entries.get(publication):
            entry.muted = muted
            self._tell(entry)
            self._claim(entry)

    def set_paused(self, key: SubscriptionKey, reason: str) -> None:
        """Policy paused the subscription for `reason`, or lets it flow (empty)."""
        for entry in self._entries.values():
            if entry.key == key:
                entry.paused = reason
                self._tell(entry)

    # --- the client ----------------------------------------------------------------------------

    def attach(self) -> None:
        """The client has a session (again): what it may have missed is said again."""
        self._attached = True
        if self._lost_untold:
            self._say_lost()
        for entry in self._entries.values():
            entry.told = ("", "")
            self._tell(entry)
        self._plan(0)

    def detach(self) -> None:
        """The client's session is gone; nobody is there to answer."""
        self._attached = self._offered = False
        self._cancel_plan()

    def restart_ice(self) -> None:
        """The next offer carries fresh ICE credentials. Raises `RequestError` `bad_state`: no transport."""
        if self.transport is None:
            raise RequestError("bad_state", "there is no subscribe transport")
        self._restart = True
        self._change()

    def answer(self, seq: int, sdp: str) -> None:
        """Take an answer. Raises `RequestError` `bad_state` for a wrong `seq`, `bad_sdp` for a bad answer."""
        if self._outstanding is None or seq != self._seq or self.transport is None:
            if 0 < seq <= self._seq:
                # The answer to an offer that was sent again, or of a transport that has died.
                return
            raise RequestError("bad_state", f"no offer {seq} is waiting for an answer")
        try:
            answer = self._session.apply_answer(sdp)
        except ParseError as error:
            raise RequestError("bad_sdp", f"the answer cannot be used: {error.reason}") from None
        self._outstanding = None
        if not self._connect(self.transport, answer.remote):
            self.lost()
            return
        self._take(self.transport, answer)
        if self._changed:
            self._plan(0)
        elif self._contested:
            self._contest()

    def lost(self) -> None:
        """The transport died: a new one is offered, with everything on it."""
        self.close()
        self._session = self._new_session()
        for publication, entry in self._entries.items():
            entry.told = ("", "")
            if not self._lines.holds(publication) and not self._lines.waits(publication):
                # It failed on the transport that has died.
                self._lines.add(entry.publication.kind, entry.candidate())
        self._lost_untold = True
        if self._attached:
            self._say_lost()
        if self._entries:
            self._changed = True
            self._plan(RETRY_S)

    def close(self) -> None:
        """End the transport and forget what was offered; the subscriptions stay."""
        self._cancel_plan()
        self._outstanding = None
        self._remote = None
        self._changed = self._restart = False
        for entry in self._entries.values():
            if entry.config is not None:
                self._media.unsubscribe(entry.key)
                entry.config = None
        if self.transport is not None:
            self._media.close_transport(self.transport)
            self.transport = None

    def subscription_stats(self) -> dict[str, Json]:
        """What was sent, by publication; those not negotiated yet are left out."""
        result: dict[str, Json] = {}
        for publication, entry in self._entries.items():
            stats = self._media.subscription_stats(entry.key)
            if stats is not None:
                why = self._media.explain(entry.key)
                fields = asdict(stats) | (asdict(why) if why is not None else {})
                result[publication] = {
                    name: value._asdict() if isinstance(value, Layer) else value
                    for name, value in fields.items()
                }
        return result

    def stats(self) -> Json | None:
        return {"transport": "subscribe", **asdict(self.transport.stats())} if self.transport else None

    # --- offering ------------------------------------------------------------------------------

    def _change(self) -> None:
        self._changed = True
        self._plan(0)

    def _claim(self, entry: _Entry) -> None:
        """Its need of an m-line may be another."""
        if self._lines.change(entry.publication.id, **entry.claim()):
            self._contest()

    def _contest(self) -> None:
        """See soon whether others need the m-lines more."""
        self._contested = True
        wait_s = (self._swap_us - clock.now_us()) / 1_000_000
        self._plan(max(wait_s, self._media.rng.random() * SPREAD_S))

    def _plan(self, delay_s: float) -> None:
        """Offer soon: changes made until then, or until an outstanding offer is answered, go together."""
        if not self._attached:
            return
        loop = asyncio.get_running_loop()
        due_s = loop.time() + delay_s
        if self._planned is not None:
            if self._planned_s <= due_s:
                return
            self._planned.cancel()
        self._planned_s = due_s
        self._planned = loop.call_later(delay_s, self._offer) if delay_s else loop.call_soon(self._offer)

    def _offer(self) -> None:
        self._planned = None
        if self._outstanding is not None:
            if not self._offered:
                self._send_offer(self._outstanding)
            return
        self._settle()
        if not self._changed or (self.transport is None and not self._entries):
            return
        if self.transport is None:
            self.transport = self._media.open_transport(self._observer)
        elif self._restart:
            self.transport.restart_ice()
        self._changed = self._restart = False
        published = {
            publication: self._media.published[publication]
            for publication in self._entries
            if publication in self._media.published and self._lines.holds(publication)
        }
        offer = self._session.plan(
            [self._outgoing(self._entries[each.id], each) for each in published.values()],
            self._media.local_parameters(self.transport),
        )
        self._seq += 1
        self._outstanding = self._message(offer, published)
        self._send_offer(self._outstanding)
        # The places of m-lines that end with this offer are free in the next.
        self._changed = bool(offer.later)
        for publication in offer.left_out:
            self._failed(self._entries.get(PublicationId(str(publication))))

    def _settle(self) -> None:
        """Let m-lines change hands."""
        now_us = clock.now_us()
        attention = self._media.attention
        swap = self._contested and now_us >= self._swap_us
        settled = self._lines.settle(attention, swap=swap)
        for publication in settled.lost:
            entry = self._entries[publication]
            self._stop(entry)
            self._tell(entry)
        self._changed = self._changed or settled.changed
        if settled.lost:
            self._swap_us = now_us + round(SWAP_EVERY_S * 1_000_000)
        if swap:
            self._contested = settled.more
        if self._contested or self._lines.pressed(attention):
            # Whoever has one now may be silent by then.
            self._contested = True
            loop = asyncio.get_running_loop()
            self._planned_s = loop.time() + SWAP_EVERY_S
            self._planned = loop.call_later(SWAP_EVERY_S, self._offer)

    def _send_offer(self, message: Json) -> None:
        self._offered = True
        self._send(message)

    def _message(self, offer: Offer, published: dict[PublicationId, Published]) -> Json:
        media = [
            {"mid": mid, "publication": key, "participant": published[PublicationId(str(key))].participant}
            for mid, key in offer.media
        ]
        return {"type": "offer", "seq": self._seq, "sdp": offer.sdp, "media": media}

    def _outgoing(self, entry: _Entry, published: Published) -> OutgoingMedia:
        return OutgoingMedia(
            key=published.id,
            kind=published.received.kind,
            stream_id=published.participant,
            track_id=published.id,
            codecs=published.received.offered_codecs(),
            ssrc=entry.ssrc,
            rtx_ssrc=entry.rtx_ssrc,
            cname=published.participant,
        )

    def _cancel_plan(self) -> None:
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None

    # --- what an answer means ------------------------------------------------------------------

    def _connect(self, transport: PeerTransport, remote: RemoteParameters | None) -> bool:
        """Start or update the transport; False when the answer is of another peer connection."""
        before = self._remote
        if remote is None:
            return True
        if before is None:
            transport.start(
                remote.ice_ufrag, remote.ice_pwd, remote.fingerprints, None, OTHER_ROLE[remote.dtls_role]
            )
        elif not remote.continues(before):
            return False
        elif before.ice_ufrag != remote.ice_ufrag:
            transport.update_remote(remote.ice_ufrag, remote.ice_pwd)
        self._remote = remote
        return True

    def _take(self, transport: PeerTransport, answer: SubscribeAnswer) -> None:
        for sent in answer.media:
            self._send_media(transport, sent)
        for key in answer.inactive:
            if entry := self._entries.get(PublicationId(str(key))):
                self._stop(entry)
                entry.paused = "client"
                self._tell(entry)
        for key in answer.rejected:
            self._failed(self._entries.get(PublicationId(str(key))))

    def _send_media(self, transport: PeerTransport, sent: SentMedia) -> None:
        entry = self._entries.get(PublicationId(str(sent.key)))
        published = self._media.published.get(PublicationId(str(sent.key)))
        if entry is None or published is None:
            return
        config = SubscriptionConfig(
            transport=transport.key,
            publication=published.key,
            mid=sent.mid,
            ssrc=entry.ssrc,
            rtx_ssrc=entry.rtx_ssrc if sent.rtx_payload_types else None,
            payload_types=sent.payload_types,
            rtx_payload_types=sent.rtx_payload_types,
            extensions=sent.extensions,
            cname=published.participant,
        )
        if config != entry.config:
            if entry.config is None:
                entry.paused = "client" if entry.subscription.paused else ""
            entry.config = config
            self._media.subscribe(entry.key, config, entry.wish())
        self._tell(entry)

    def _stop(self, entry: _Entry) -> None:
        if entry.config is not None:
            self._media.unsubscribe(entry.key)
            entry.config = None

    def _say_lost(self) -> None:
        self._lost_untold = False
        self._send({"type": "transport_lost", "transport": "subscribe"})

    def _failed(self, entry: _Entry | None) -> None:
        """The client cannot take it: its m-line is of more use to others."""
        if entry is not None:
            self._stop(entry)
            self._lines.remove(entry.publication.id)
            self._say(entry, "failed", "codec_unsupported")
            if self._lines.crowded:
                self._changed = True

    def _tell(self, entry: _Entry) -> None:
        """Tell the client the state of a negotiated subscription where it has changed."""
        if self._lines.waits(entry.publication.id):
            self._say(entry, "paused", "no_m_line")
            return
        reason = entry.paused or ("muted" if entry.muted else "")
        if entry.config is not None or entry.paused:
            self._say(entry, "paused" if reason else "active", reason)

    def _say(self, entry: _Entry, state: str, reason: str) -> None:
        if entry.told != (state, reason):
            entry.told = (state, reason)
            message = {"type": "subscription", "publication": entry.subscription.publication, "state": state}
            self._send(message | ({"reason": reason} if reason else {}))

    def _new_session(self) -> SubscribeSession:
        return SubscribeSession(session_id=self._media.rng.getrandbits(62), most_lines=self._media.m_lines)

    def _new_ssrc(self) -> int:
        """Unique on this transport, never 0: some endpoints take 0 for none."""
        taken = {ssrc for entry in self._entries.values() for ssrc in (entry.ssrc, entry.rtx_ssrc)}
        while (ssrc := self._media.rng.randrange(1, 2**32)) in taken:
            pass
        return ssrc
