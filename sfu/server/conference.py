"""The conference: requests in, room effects done: sessions told, media opened and closed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import sfu
from sfu import clock
from sfu.config import Config
from sfu.errors import RequestError
from sfu.hosts import host_key
from sfu.ids import ParticipantId, RoomName, SubscriptionKey
from sfu.room import acts, commands, effects, visibility
from sfu.room.class_events import AlarmChanged
from sfu.room.class_records import ClassHistory
from sfu.room.commands import Command
from sfu.room.effects import Effect
from sfu.room.model import ChatHistory, Instant, LeaveReason, Participant, SessionKey
from sfu.room.permissions import Grants, Role
from sfu.room.registry import Rooms
from sfu.server import (
    act_requests,
    costs,
    exposure,
    ice_servers,
    joining,
    requests,
    settings,
    stats,
    tokens,
    wire,
)
from sfu.server.access import Access
from sfu.server.asking import Asking
from sfu.server.attendance import Attendance
from sfu.server.chat import Answer, Chat
from sfu.server.data_relay import DataRelay
from sfu.server.encoded import Encoded
from sfu.server.events import Events
from sfu.server.fairness import Account, Accounts, Turns
from sfu.server.lasting import Lasting
from sfu.server.measurements import Measurements
from sfu.server.media import Media
from sfu.server.member import Channel, Member
from sfu.server.notices import Notices
from sfu.server.passes import TTL_S as PASS_TTL_S
from sfu.server.passes import Passes
from sfu.server.queries import Queries
from sfu.server.quotas import ROW_BYTES, Payer, Quotas, bytes_of, cost
from sfu.server.revocations import Kept
from sfu.server.revoking import Revoking
from sfu.server.tokens import Claims
from sfu.server.wire import Json
from sfu.store import people
from sfu.store.store import Store

log = logging.getLogger(__name__)

VERSION = 1
"""Of the signalling protocol."""
RETRY_AFTER_MS = 1000
"""When clients of a stopping server come back: a restart takes about this long."""

_CLOSED_CODE: dict[LeaveReason, str] = {
    "left": "left",
    "timeout": "ping_timeout",
    "replaced": "replaced",
    "removed": "removed",
    "shutdown": "going_away",
    "error": "internal",
}


_TIMED = (commands.Disconnect, commands.Leave, acts.Remove, acts.DeclareSeries)
"""What may begin a time that ends by itself; the end of an alarm does as well."""
_KEPT = requests.Chat | requests.ChatEdit | requests.ChatDelete | requests.ChatReact | requests.Revoke
"""Requests beside acts that leave rows in the database, some of them in the audit log only."""


class Conference:
    """Made by `open`. What changes it is synchronous, so that requests never interleave."""

    def __init__(self, config: Config, rng: random.Random, store: Store) -> None:
        self._config = config
        self.accounts = Accounts(config.limits)
        self.turns = Turns()
        self.queries = Queries(store, self.turns)
        self._encoded = Encoded(self.turns)
        self._told_us = 0.0
        self.core = Rooms(settings.limits(config), rng, settings.templates(config), config.room.template)
        self.access = Access(config.auth, store)
        self.quotas = Quotas(config.limits, guarded=self.access.guarded)
        self.events = Events(rng)
        self._attendance = Attendance(store)
        # First of all: what others are told of is known to the store before.
        self.events.listen(self._attendance.listen)
        self._lasting = Lasting(store)
        self._measurements = Measurements(store, config.storage.telemetry_samples)
        self._passes = Passes(store.folder, clock.wall_ms() / 1000)
        self.chat = Chat(store, self.core, self.apply, config.room.chat_history, self.queries)
        self._members: dict[ParticipantId, Member] = {}
        self.data = DataRelay(config.limits, self.core, self._members)
        self._subscriptions: dict[SubscriptionKey, Member] = {}
        self.notices = Notices(self.core, self._members, self._subscriptions, self)
        self._waiting: dict[SessionKey, tuple[Channel, Claims | None]] = {}
        self._revoking = Revoking(self.access.revocations, self._opened_by_tokens)
        self._timer: asyncio.TimerHandle | None = None
        self._session_keys = itertools.count(1)
        self.more_counts: dict[str, Callable[[], Json]] = {}
        """What others count, by the name that it has in `counts`."""
        self.asking = Asking()
        self.media: Media

    @classmethod
    async def open(
        cls,
        config: Config,
        store: Store,
        rng: random.Random | None = None,
        sockets: Sequence[socket.socket] = (),
    ) -> Conference:
        """Bind the media port, unless `sockets` are it.

        Raises `StartError` or `ConfigError` where that cannot be.
        """
        rng = rng or random.SystemRandom()
        conference = cls(config, rng, store)
        await conference.access.load()
        if told := ice_servers.warning(config.ice, guarded=config.auth.guarded):
            log.warning(told)
        conference.media = await Media.open(config, rng, conference.notices.take, sockets)
        conference.notices.media = conference.media
        conference._revoking.start()
        if not conference.access.guarded:
            async with store.reading() as connection:
                conference._passes.cut_off = await people.cut_off(connection)
        return conference

    @property
    def chat_characters(self) -> int:
        """How long a chat message may be."""
        return self._config.limits.chat_characters

    def new_session_key(self) -> SessionKey:
        return SessionKey(next(self._session_keys))

    async def reload(self, config: Config) -> None:
        """Take over what a reload may change."""
        self._config = config
        for member in self._members.values():
            member.configure(config)
        await self.access.reload(config.auth)
        self._revoking.enforce()

    def going_away(self) -> None:
        """Tell everybody that the server stops, and end their sessions."""
        for channel, _ in list(self._waiting.values()):
            channel.close("going_away", "the server stops")
        for member in list(self._members.values()):
            member.send({"type": "going_away", "retry_after_ms": RETRY_AFTER_MS})
            member.close("going_away", "the server stops")

    async def close(self) -> None:
        """Release everything."""
        self.going_away()
        await self.chat.close()
        self._lasting.close()
        self._attendance.close()
        self._measurements.close()
        self.data.close()
        self.events.close()
        self._revoking.close()
        if self._timer is not None:
            self._timer.cancel()
        await self.access.close()
        await self.media.close()

    # --- sessions ------------------------------------------------------------------------------

    async def authorise(self, request: requests.Join, address: str) -> Claims | None:
        """What the token of who wants to join says, None in development mode. Raises `RequestError`.

        Who resumes was let in with it, so it may have expired meanwhile.
        """
        if not self.access.guarded:
            return None
        claims = await self.access.claims(request.token, address, may_be_old=request.resume is not None)
        return tokens.for_room(claims, request.room)

    async def join(
        self, channel: Channel, request: requests.Join, claims: Claims | None
    ) -> tuple[Member | None, Json]:
        """Make the session a participant's, or let it wait in the lobby.

        Only what the store has to tell is waited for, before anything changes. Returns the member and its
        `joined`, or None and `waiting`: then `Channel.admitted` follows, or the end of the session. Raises
        `RequestError`.
        """
        if request.version != VERSION:
            raise RequestError("bad_request", f"this server speaks version {VERSION}")
        now_s = clock.wall_ms() / 1000
        former = self._passes.read(request.pass_, request.room, now_s) if claims is None else None
        if former is not None and self.access.removals.refuses(former):
            former = None
        formerly = self._passes.formerly(former, now_s) if former is not None else None
        command = joining.command(
            channel.key, request, claims, former, formerly, host=host_key(channel.address)
        )
        if isinstance(command, commands.Resume):
            return self._enter(channel, request, command, claims)
        chat_read = await self.chat.read_position(command.room, command.identity)
        async with self._opening(command.room) as (chat, work):
            command = replace(command, chat=chat, chat_read=chat_read, work=work)
            return self._enter(channel, request, command, claims)

    @contextlib.asynccontextmanager
    async def _opening(self, room: RoomName) -> AsyncIterator[tuple[ChatHistory, ClassHistory]]:
        """What the store has of a room that is not open yet. Raises `RequestError` `storage_failed`."""
        async with self.chat.opening(room) as chat:
            opened = self.core.is_known(room)
            yield chat, ClassHistory() if opened else await self._lasting.history(room)

    def _enter(
        self, channel: Channel, request: requests.Join, command: Command, claims: Claims | None
    ) -> tuple[Member | None, Json]:
        if claims is not None:
            # Something may have been waited for since it was checked.
            self.access.check_withdrawn(claims)
        payer = self.quotas.payer(claims.identity if claims is not None else "", channel.address)
        if isinstance(command, commands.Join):
            self.quotas.check_join(payer)
        with self.paid_by(channel.account):
            return self._let_in(channel, request, command, claims, payer)

    def _let_in(
        self,
        channel: Channel,
        request: requests.Join,
        command: Command,
        claims: Claims | None,
        payer: Payer,
    ) -> tuple[Member | None, Json]:
        done = self.core.apply(command, _now())
        welcome = next((effect for effect in done if isinstance(effect, effects.Welcome)), None)
        if welcome is None:
            self.quotas.joined(payer)
            self._waiting[channel.key] = (channel, claims)
            self._execute(done)
            log.info("waits in the lobby", extra={"room": request.room})
            waiting = next(effect.waiting for effect in done if isinstance(effect, effects.WaitingBegun))
            return None, {"type": "waiting", "waiting": waiting}
        if not welcome.resumed:
            self.quotas.joined(payer)
        member = self._welcome(channel, welcome, claims)
        self._execute(done)
        how = "resumed" if welcome.resumed else "joined"
        log.info("%s with %s", how, request.client or "an unnamed client", extra=member.context())
        return member, self._joined(member, welcome)

    def _welcome(self, channel: Channel, welcome: effects.Welcome, claims: Claims | None) -> Member:
        member = self._members.get(welcome.participant.id) or self._new_member(welcome, channel.account)
        member.account = channel.account
        member.expires_s = clock.wall_ms() / 1000 + PASS_TTL_S
        if claims is not None:
            member.jti, member.expires_s = claims.jti, claims.expires_s
        member.payer = self.quotas.payer(welcome.participant.identity, channel.address)
        if member.channel is not None:
            member.channel.close("replaced", "a newer session has taken over")
        member.attach(channel)
        self._attendance.joined(welcome.participant, welcome.room)
        return member

    def _admit(self, welcome: effects.Welcome) -> None:
        """Somebody who waited in the lobby comes in; who joined at once is not among those who wait."""
        channel, claims = self._waiting.pop(welcome.session, (None, None))
        if channel is not None:
            member = self._welcome(channel, welcome, claims)
            channel.admitted(member, self._joined(member, welcome))
            log.info("joined from the lobby", extra=member.context())

    def stop_waiting(self, room: RoomName, session: SessionKey) -> None:
        """A session that may wait in the lobby is gone."""
        if self._waiting.pop(session, None) is not None:
            self.apply(commands.StopWaiting(room, session))
            self._arm()

    def disconnect(self, member: Member, session: SessionKey) -> None:
        """A session's connection has ended, with or without a word."""
        if member.channel is not None and member.channel.key == session:
            member.detach()
            log.info("session dropped", extra=member.context())
        self.apply(commands.Disconnect(member.id, session))

    def leave(self, member: Member, reason: LeaveReason) -> None:
        """The membership ends at once."""
        self.apply(commands.Leave(member.id, reason))

    def fail(self, member: Member, code: str, message: str) -> None:
        """End a membership that broke the protocol, or that a bug of ours broke."""
        if member.channel is not None:
            member.channel.close(code, message)
        self.leave(member, "error")

    def people_in(self, room: RoomName) -> int:
        """How many there are, 0 where the room is not open."""
        found = self.core.open_room(room)
        return len(found.participants) if found is not None else 0

    @contextlib.contextmanager
    def paid_by(self, account: Account) -> Iterator[None]:
        """What is told to others meanwhile is on this account."""
        before_us = self._told_us
        try:
            yield
        finally:
            account.charge(self._told_us - before_us, clock.now_us())

    def request(self, member: Member, request: requests.Request, answer: Answer) -> Json | None:
        """Do what a participant asks and return the answer; None: `answer` is called when it is there.

        Raises `RequestError` or `ProtocolError`.
        """
        with self.paid_by(member.account):
            return self._request(member, request, answer)

    def _request(self, member: Member, request: requests.Request, answer: Answer) -> Json | None:
        if isinstance(request, requests.Reading) and not member.grants.follows:
            raise RequestError("not_allowed", "no right to subscribe or to chat, so none to read")
        if isinstance(request, _KEPT):
            self.quotas.store(member.payer, member.room, ROW_BYTES + bytes_of(request))
        match request:
            case requests.Offer():
                return member.publish.negotiate(request)
            case requests.Answer():
                member.subscribe.answer(request.seq, request.sdp)
            case requests.RestartIce():
                member.subscribe.restart_ice()
            case requests.Mute():
                self.apply(commands.Mute(member.id, request.publication, request.muted))
            case requests.Unpublish():
                self.apply(commands.Unpublish(member.id, request.publication))
            case requests.Subscribe():
                self.apply(
                    commands.Subscribe(
                        participant=member.id,
                        publications=request.publications,
                        priority=request.priority,
                        width=request.width,
                        height=request.height,
                        paused=request.paused,
                    )
                )
            case requests.Unsubscribe():
                self.apply(commands.Unsubscribe(member.id, request.publications))
            case requests.Stats():
                participant = self.core.participant(member.id)
                return {"type": "stats", **stats.of(member, participant, self.media, addresses=True)}
            case requests.GetBoard():
                self.chat.later(member.id, self._board(member), answer)
                return None
            case requests.DataTopics():
                self.data.want(member, request.topics)
            case requests.Revoke():
                _answer_when_kept(self._revoke(member, request.target), answer)
                return None
            case act_requests.InRoom():
                if not member.acts.take(1, clock.now_us()):
                    raise RequestError("rate_limited", "too many acts a second")
                act = request.by(member.id)
                self.quotas.store(member.payer, member.room, cost(act))
                if isinstance(act, acts.Remove):
                    _answer_when_kept(self.remove(act), answer)
                    return None
                if isinstance(act, acts.SendSamples):
                    member.take_samples(len(act.samples))
                return self._lasting.act(act, self.apply, answer)
            case requests.Join() | requests.Candidate() | requests.Ping() | requests.Leave():
                # The session's affair, or nobody's.
                pass
            case requests.Chat() | requests.ChatEdit() if self._asked(member, request, answer):
                return None
            case _:
                self.chat.request(member.id, member.room, request, member.account, answer)
                return None
        return {"type": "ok"}

    async def _board(self, member: Member) -> Json:
        room = self.core.room_of(member.id)
        if room is None:
            raise RequestError("not_found", "not a participant")
        return {"type": "board", "strokes": await self._encoded.board(room.name, room.board, member.account)}

    def _asked(self, member: Member, request: requests.Chat | requests.ChatEdit, answer: Answer) -> bool:
        """Whether an extension is asked first."""
        participant = self.core.participant(member.id)
        if participant is None:
            raise RequestError("not_found", "not a participant")

        def go_on(agreed: requests.Chat | requests.ChatEdit) -> None:
            self.chat.request(member.id, member.room, agreed, member.account, answer)

        return self.asking.sent(member.room, participant, request, go_on, answer)

    def remove(self, command: acts.Remove | commands.Operate) -> Kept:
        """Remove a participant, which stays out: see `Removals`. Raises `RequestError`."""
        self.apply(command)
        assert self.access.removals.last is not None
        return self.access.removals.last

    def _revoke(self, member: Member, target: ParticipantId) -> Kept:
        """The room decides whether `target` may be removed; only then is its token spoilt."""
        found = self._members.get(target)
        participant = self.core.participant(target)
        known = participant is not None and visibility.sees(member.grants, participant, member.id)
        beside = found is not None and known and found.room == member.room
        if found and beside and member.grants.may_moderate and not found.jti:
            raise RequestError("bad_state", "its token has no id and cannot be revoked")
        self.apply(acts.Remove(member.id, target))
        assert found is not None
        return self.revoke(found.jti, found.expires_s)

    def revoke(self, jti: str, expires_s: float | None = None) -> Kept:
        """A token opens nothing any more; who is in a room with it, or waits in a lobby, is out.

        `expires_s` is when it expires, where that is known. Raises `RequestError` `overloaded`.
        """
        return self._revoking.add(jti, expires_s)

    def _opened_by_tokens(self) -> list[tuple[str, Callable[[], None]]]:
        members = [(each.jti, partial(self.leave, each, "removed")) for each in self._members.values()]
        waiting = [
            (claims.jti, partial(self._turn_away, channel, RoomName(claims.room)))
            for channel, claims in self._waiting.values()
            if claims is not None
        ]
        return [*members, *waiting]

    def _turn_away(self, channel: Channel, room: RoomName) -> None:
        channel.close("denied", "your token was revoked")
        self.stop_waiting(room, channel.key)

    def present(self, room: RoomName, identity: str) -> Participant | None:
        """The participant of that identity in the room, None where there is none."""
        found = self.core.open_room(room)
        people = found.participants.values() if found else ()
        return next((each for each in people if each.identity == identity), None)

    async def open_room(self, room: RoomName, *, template: str | None, empty_us: int) -> None:
        """Open a room for those who will come. Raises `RequestError` `bad_state` where it is open."""
        async with self._opening(room) as (chat, work):
            self.apply(
                commands.OpenRoom(room=room, template=template, empty_us=empty_us, chat=chat, work=work)
            )
        self._arm()

    async def room_stats(
        self,
        room: RoomName,
        grants: Grants,
        viewer: ParticipantId | None,
        account: Account,
        *,
        addresses: bool,
    ) -> list[Json]:
        """What each participant that `viewer`, with these rights, may see sends and gets, and why.

        The addresses that they have are there only with `addresses`. Each participant is counted in a turn of
        its own. Raises `RequestError` `not_found`.
        """
        found: list[Json] = []
        people = list(self.core.room(room, grants).participants.values())
        for each in people:
            await self.turns.take(account, costs.REQUESTS["stats"].of(0, len(people)))
            member = self._members.get(each.id)
            if member is not None and visibility.sees(grants, each, viewer):
                told = stats.of(member, each, self.media, addresses=addresses)
                found.append({"participant": each.id, "name": each.name, **told})
        return found

    def claimed(self, claims: Claims) -> tuple[Role, Grants]:
        """The role and the rights that a token gives in its room as it is, or as it would be opened.

        What moderators took there is gone; what they gave belongs to who is there, not to every token.
        """
        name = RoomName(claims.room)
        template = self.core.template(name, claims.template)
        role = claims.role or template.entry
        grants = claims.grants.applied(template.roles[role])
        room = self.core.open_room(name)
        if room is None or room.quiet:
            return role, grants
        now, left = room.changed.applied(claims.identity, role, grants)
        return (now if role == "owner" else role), grants.within(left)

    def token_of(self, participant: ParticipantId) -> tuple[str, float]:
        """The id of the token it came with, empty without, and when that expires (Unix seconds)."""
        member = self._members.get(participant)
        return (member.jti, member.expires_s) if member is not None else ("", 0)

    def counts(self) -> Json:
        """Of the whole server."""
        sessions = sum(member.channel is not None for member in self._members.values())
        return {
            "rooms": len(self.core.summaries()),
            "participants": len(self._members),
            "sessions": sessions,
            "publications": len(self.media.published),
            "telemetry_lost": self._measurements.lost,
            **self.media.counts(),
            **{name: count() for name, count in self.more_counts.items()},
        }

    # --- room effects --------------------------------------------------------------------------

    def apply(self, command: Command) -> list[Effect]:
        """Apply a command to its room and do what follows. Raises `RequestError`."""
        by_anybody = command.command if isinstance(command, commands.Operate) else command
        if isinstance(by_anybody, acts.Admit):
            self._revoking.enforce()
        removed: Participant | None = None
        if isinstance(by_anybody, acts.Remove):
            removed = self.core.participant(by_anybody.target)
            self.access.removals.check()
        done = self.core.apply(command, _now())
        if removed is not None:
            member = self._members[removed.id]
            self.access.removals.add(
                member.room, removed.identity, member.expires_s, hidden=removed.grants.hidden
            )
        self._execute(done)
        self.events.command(command, done)
        if isinstance(by_anybody, _TIMED) or any(map(_about_alarm, done)):
            self._arm()
        return done

    def _arm(self) -> None:
        """Wake up for the next end of a grace period or of an empty room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_us = self.core.deadline_us()
        if deadline_us is not None:
            delay_s = max(0, deadline_us - clock.now_us()) / 1_000_000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._execute(self.core.tick(_now()))
        self._arm()

    def _execute(self, done: Iterable[Effect]) -> None:
        for effect in done:
            self.events.effect(effect)
            match effect:
                case effects.Announce():
                    self.announce(effect.to, wire.event(effect.event))
                case effects.PublicationMuted():
                    self._mute(effect)
                case effects.PublicationClosed():
                    self._members[effect.participant].forget_publication(effect.publication)
                case effects.SubscriptionOpened():
                    self._open_subscription(effect)
                case effects.SubscriptionAdjusted():
                    self._members[effect.subscription.subscriber].subscribe.adjust(effect.subscription)
                case effects.SubscriptionClosed():
                    self._close_subscription(effect)
                case effects.ParticipantClosed():
                    self._close_participant(effect)
                case effects.RoomOpened(room):
                    log.info("room opened", extra={"room": room})
                    # What stood in it may wait for its people.
                    self._arm()
                case effects.RoomClosed(room):
                    self._encoded.forget(room)
                    log.info("room closed", extra={"room": room})
                case effects.Welcome():
                    self._admit(effect)
                case effects.WaitingEnded():
                    channel, _ = self._waiting.pop(effect.session)
                    channel.close(effect.code, "you were not let in")
                case effects.Granted():
                    self._members[effect.participant].grants = effect.grants
                case effects.ClassToStore():
                    self._lasting.keep(effect.room, effect.change)
                case effects.SamplesToStore():
                    self._measurements.keep(effect)
                case (
                    effects.WaitingBegun()
                    | effects.SessionReplaced()
                    | effects.PublicationOpened()
                    | effects.ChatToStore()
                    | effects.ChatReadTo()
                ):
                    # Done by who applied the command: `join`, the publish leg, the chat.
                    pass

    def announce(self, to: Iterable[ParticipantId], message: Json) -> None:
        """Tell participants; those without a session just now are passed over."""
        frame = wire.encode(message)
        told = 0
        for participant in to:
            member = self._members.get(participant)
            if member is not None and member.channel is not None:
                member.channel.send(frame)
                told += 1
        self._told_us += told * costs.TOLD_US + (len(frame.text) * costs.SAID_US if told else 0)

    def _mute(self, effect: effects.PublicationMuted) -> None:
        self.media.set_muted(effect.publication, effect.muted)
        publication = self.core.publication(effect.publication)
        room = self.core.room_of(publication.participant) if publication else None
        for participant in room.participants if room else ():
            if member := self._members.get(participant):
                member.subscribe.set_muted(effect.publication, effect.muted)

    def _open_subscription(self, effect: effects.SubscriptionOpened) -> None:
        subscription = effect.subscription
        publication = self.core.publication(subscription.publication)
        if publication is not None:
            member = self._members[subscription.subscriber]
            key = member.subscribe.subscribe(subscription, publication)
            self._subscriptions[key] = member

    def _close_subscription(self, effect: effects.SubscriptionClosed) -> None:
        key = self._members[effect.subscriber].subscribe.unsubscribe(effect.publication, tell=effect.asked)
        if key is not None:
            del self._subscriptions[key]

    def _close_participant(self, effect: effects.ParticipantClosed) -> None:
        member = self._members.pop(effect.participant)
        self.data.left(member)
        self._attendance.left(effect.participant, effect.reason)
        log.info("left: %s", effect.reason, extra=member.context())
        member.close(_CLOSED_CODE[effect.reason], effect.reason)

    # --- shared --------------------------------------------------------------------------------

    def _new_member(self, welcome: effects.Welcome, account: Account) -> Member:
        participant = welcome.participant.id
        member = Member(
            participant=participant,
            room=welcome.room,
            grants=welcome.participant.grants,
            config=self._config,
            media=self.media,
            owner=self,
            account=account,
            apply=self.apply,
            refusal=lambda source, kind, beside: self.core.refusal(participant, source, kind, beside),
        )
        self._members[participant] = member
        return member

    def _joined(self, member: Member, welcome: effects.Welcome) -> Json:
        kept = {}
        if not self.access.guarded:
            kept["pass"] = self._passes.give(welcome.participant, welcome.room, clock.wall_ms() / 1000)
        return {
            "type": "joined",
            "version": VERSION,
            **self._encoded.welcome(welcome),
            "data": self.data.terms(member),
            **kept,
            "ice_servers": member.ice_servers(),
            "grace_s": self._config.room.grace_s,
            "max_publications": self._config.room.max_publications,
            "max_file_bytes": self._config.storage.file_bytes,
            "server": f"pysfu/{sfu.__version__}",
            "open": exposure.is_open(self._config),
        }


def _answer_when_kept(kept: Kept, answer: Answer) -> None:
    def done(_: Kept) -> None:
        error = kept.result()
        answer({"type": "ok"} if error is None else error)

    kept.add_done_callback(done)


def _about_alarm(effect: Effect) -> bool:
    return isinstance(effect, effects.Announce) and isinstance(effect.event, AlarmChanged)


def _now() -> Instant:
    return Instant(clock.now_us(), clock.wall_ms())
