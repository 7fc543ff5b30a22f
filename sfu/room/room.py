"""One room: its participants, what they publish and to what they subscribe. Nothing crosses a room."""

from __future__ import annotations

import hmac
import random
from collections.abc import Iterable
from dataclasses import replace

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName, participant_id, publication_id, random_text
from sfu.room import commands, effects, following, standing, views, visibility
from sfu.room.alarms import Alarm
from sfu.room.attendance import Attendance, Visit
from sfu.room.board import Board
from sfu.room.breakout import Breakouts
from sfu.room.changed_rights import ChangedRights
from sfu.room.chat import Chat
from sfu.room.class_events import (
    AlarmChanged,
    LobbyChanged,
    RecordingChanged,
    RoomUpdated,
    Spotlight,
)
from sfu.room.class_records import ClassHistory, RoomSettings
from sfu.room.effects import Announce, Effect, Event
from sfu.room.hands import RETURN_US, Hands
from sfu.room.lobby import Lobby, Waiting
from sfu.room.model import (
    BreakoutId,
    ChatHistory,
    Instant,
    LeaveReason,
    Limits,
    Participant,
    Publication,
    SessionKey,
    Subscription,
)
from sfu.room.permissions import Grants, Role, Source, Template, source_fits
from sfu.room.polls import Polls
from sfu.room.questions import Questions
from sfu.room.silence import Silence
from sfu.room.state import StateDocument
from sfu.room.telemetry import Telemetry
from sfu.rtp.parameters import Kind

SECRET_CHARACTERS = 32
"""About 185 bits: a resume secret takes over a participant, so it must be unguessable."""


class Room:
    """Each method is one command's work: it returns effects in order, or raises `RequestError` unchanged."""

    def __init__(
        self,
        name: RoomName,
        template: Template,
        limits: Limits,
        rng: random.Random,
        now: Instant,
        chat: ChatHistory,
        work: ClassHistory,
    ) -> None:
        self.name = name
        self.template = template
        self.participants: dict[ParticipantId, Participant] = {}
        self.empty_since_us: int | None = now.us
        """Since when nobody is here whom everybody may know of; None while somebody is."""
        self.host = ""
        """From where somebody without a token has opened it."""
        self.quiet = False
        """Whether it is over, or has not begun, for all who know of no hidden participant."""
        self.kept = False
        """Whether somebody wants it open although nobody is here."""
        self.locked = False
        self.spotlight: Spotlight | None = None
        self.lobby = Lobby(on=template.lobby)
        self.breakouts = Breakouts(work.breakouts, work.places)
        self.silence = Silence()
        self.hands = Hands(work.turns, work.hands, now.us + RETURN_US)
        self.questions = Questions(work.questions)
        self.polls = Polls(work.polls)
        self.board = Board(work.strokes)
        self.state = StateDocument(limits.state)
        self.attendance = Attendance()
        self.telemetry = Telemetry(work.thresholds)
        self.recording: dict[ParticipantId, None] = {}
        self.changed = ChangedRights(template.roles)
        self.owners: dict[str, bool] = {}
        """Who has owned the room, and whether it still does: by identity."""
        self._limits = limits
        self._rng = rng
        self.chat = Chat(name, self.participants, self.owners, limits.chat_history, chat)

    def settings(self) -> RoomSettings:
        """What a later room of this name begins with."""
        return RoomSettings(
            template=self.template.name,
            locked=self.locked,
            lobby=self.lobby.on,
            silenced=self.silence.on,
        )

    def publication(self, publication: PublicationId) -> Publication | None:
        """The publication of that id, None where the room has none such."""
        for participant in self.participants.values():
            if found := participant.publications.get(publication):
                return found
        return None

    def together(self, one: ParticipantId, other: ParticipantId) -> bool:
        """Whether two of the room are in the same breakout room, or both in none."""
        return self.participants[one].breakout == self.participants[other].breakout

    # --- membership ----------------------------------------------------------------------------

    def join(self, command: commands.Join, now: Instant) -> list[Effect]:
        """Enter, or wait in the lobby. Raises `RequestError` `not_allowed`, `room_full`, `room_locked`."""
        role, grants = self._rights(command)
        if not grants.join:
            raise RequestError("not_allowed", "no right to join")
        older = [p for p in self.participants.values() if p.identity == command.identity]
        if self.locked and not older and not grants.may_moderate:
            raise RequestError("room_locked", "the room is locked")
        self._check_place(grants.hidden, older)
        if self.lobby.on and not older and not grants.may_moderate:
            return self._wait(command, now, hidden=grants.hidden)
        return self._replace(older, grants, now) + self._enter(command, role, grants, now)

    def admit(self, waiting: str, now: Instant) -> list[Effect]:
        """Let somebody in who waits. Raises `RequestError` `not_found`, `room_full`."""
        command = self.lobby.find(waiting).join
        role, grants = self._rights(command)
        self._check_place(grants.hidden, [])
        taken = self.lobby.take(waiting)
        older = [p for p in self.participants.values() if p.identity == command.identity]
        done = self._replace(older, grants, now)
        return done + self._enter(command, role, grants, now) + self.tell_lobby(hidden=taken.hidden)

    def _check_place(self, hidden: bool, older: list[Participant]) -> None:
        """Whether there is place for one more, who replaces the older ones."""
        beside = [each for each in self.participants.values() if each not in older]
        if len(visibility.beside(beside, hidden=hidden)) >= self._limits.max_participants:
            raise RequestError("room_full", "the room has no place left")

    def _replace(self, older: list[Participant], grants: Grants, now: Instant) -> list[Effect]:
        """The same identity joins anew. To others who comes hidden has left: it has not come again."""
        done: list[Effect] = []
        for participant in older:
            gone = grants.hidden and not participant.grants.hidden
            done += self.leave(participant, "replaced", now, told="left" if gone else None)
        return done

    def stop_waiting(self, session: SessionKey, now: Instant) -> list[Effect]:
        """A session is gone. Nothing happens if it does not wait."""
        waiting = self.lobby.of_session(session)
        if waiting is None:
            return []
        taken = self.lobby.take(waiting)
        self._note_empty(now, hidden=taken.hidden)
        return self.tell_lobby(hidden=taken.hidden)

    def _wait(self, command: commands.Join, now: Instant, *, hidden: bool) -> list[Effect]:
        older = self.lobby.of_identity(command.identity)
        if older is None and self.lobby.count(hidden=hidden) >= self._limits.max_participants:
            raise RequestError("room_full", "the lobby has no place left")
        before = self.lobby.take(older) if older is not None else None
        waiting = Waiting("WA_" + random_text(self._rng, 12), command, now.wall_ms, hidden)
        self.lobby.add(waiting)
        done: list[Effect] = []
        if before is not None:
            done.append(effects.WaitingEnded(before.join.session, "replaced"))
        done.append(effects.WaitingBegun(command.session, self.name, waiting.id))
        return done + self.tell_lobby(hidden=hidden and (before is None or before.hidden))

    def hides(self, command: commands.Join) -> bool:
        """Whether who joins with this will be hidden."""
        return self._rights(command)[1].hidden

    def _rights(self, command: commands.Join) -> tuple[Role, Grants]:
        role: Role = command.role or self.template.entry
        if command.role is None and not command.guarded and self._owns(command):
            role = "owner"
        return self.changed.applied(command.identity, role, command.grants.applied(self.template.roles[role]))

    def role_of(self, command: commands.Join) -> Role:
        """The role of somebody who comes, or waits, with this."""
        return self._rights(command)[0]

    def _owns(self, command: commands.Join) -> bool:
        """Without tokens: who makes the room owns it, and again whenever it comes back; nobody else does.

        Devices and who only watches, which say so, make no room.
        """
        known = self.owners.get(command.identity or "")
        if known is not None:
            return known
        if command.formerly is not None:
            return command.formerly == "owner"
        people = visibility.known_to_all(self.participants.values())
        makers = (p for p in people if p.role not in {"device", "observer"})
        return not self.owners and not any(makers)

    def _enter(self, command: commands.Join, role: Role, grants: Grants, now: Instant) -> list[Effect]:
        id_ = participant_id(self._rng)
        grants = self.silence.applied(id_, role, grants)
        participant = Participant(
            id=id_,
            identity=command.identity or "guest-" + random_text(self._rng, 12),
            name=command.name,
            role=role,
            grants=grants,
            wants=command.wants,
            joined_at_ms=now.wall_ms,
            secret=random_text(self._rng, SECRET_CHARACTERS),
            session=command.session,
            breakout=None if grants.hidden else self.breakouts.entered(command.identity or ""),
            chat_read=command.chat_read,
        )
        self.participants[participant.id] = participant
        if role == "owner":
            self.owners[participant.identity] = True
        returned: list[Effect] = []
        if not grants.hidden:
            self.empty_since_us = None
            visit = Visit(
                identity=participant.identity, name=participant.name, role=role, joined_at_ms=now.wall_ms
            )
            self.attendance.joined(participant.id, visit)
            returned = standing.returned(self, participant, now)
        done: list[Effect] = [views.welcome(self, participant, command.chat_after, resumed=False)]
        done += self._tell_others(participant, effects.ParticipantJoined(participant.view()))
        return done + returned + self.subscribe_by_itself(participant)

    def authenticate(self, participant: ParticipantId, secret: str) -> Participant | None:
        """The participant, if that is its secret."""
        found = self.participants.get(participant)
        if found is None or not hmac.compare_digest(found.secret.encode(), secret.encode()):
            return None
        return found

    def resume(self, command: commands.Resume) -> list[Effect]:
        """Raises `RequestError` `resume_failed`, whatever was wrong: a guesser learns nothing."""
        participant = self.authenticate(command.participant, command.secret)
        if participant is None or command.identity not in {None, participant.identity}:
            raise RequestError("resume_failed", "there is nothing to resume: join anew")
        done: list[Effect] = []
        was_reconnecting = participant.session is None
        if participant.session is not None:
            done.append(effects.SessionReplaced(participant.session))
        participant.session = command.session
        participant.expires_us = None
        done.append(views.welcome(self, participant, command.chat_after, resumed=True))
        if was_reconnecting:
            done += following.updated(participant, self._others(participant))
        return done

    def disconnect(self, participant: Participant, now: Instant) -> list[Effect]:
        """The session is gone; media runs on until the grace period ends."""
        participant.session = None
        participant.expires_us = now.us + self._limits.grace_us
        return following.updated(participant, self._others(participant))

    def leave(
        self,
        participant: Participant,
        reason: LeaveReason,
        now: Instant,
        *,
        told: LeaveReason | None = None,
    ) -> list[Effect]:
        """Its membership ends. `told` is the reason that others hear, where that is another."""
        done: list[Effect] = self.stop_recording(participant)
        done += self.tell_alarms(self.telemetry.forget(participant.id, reason, now.wall_ms))
        for publication in list(participant.publications):
            done += self._remove_publication(participant, publication)
        for publication in list(participant.subscriptions):
            del participant.subscriptions[publication]
            done.append(effects.SubscriptionClosed(participant.id, publication, asked=False))
        del self.participants[participant.id]
        self.silence.taken.pop(participant.id, None)
        self._note_empty(now, hidden=participant.grants.hidden)
        self.attendance.left(participant.id, now.wall_ms, told or reason)
        done.append(effects.ParticipantClosed(participant.id, participant.session, reason))
        done += self._tell_others(participant, effects.ParticipantLeft(participant.id, told or reason))
        if not participant.grants.hidden:
            done += standing.left(self, participant, told or reason)
        if self.spotlight is not None and self.spotlight.participant == participant.id:
            self.spotlight = None
            done += self.tell_room()
        return done

    def _note_empty(self, now: Instant, *, hidden: bool) -> None:
        """Somebody is gone. Hidden people keep a room open for themselves only."""
        if hidden and not self.quiet:
            return
        if not visibility.known_to_all(self.participants.values()):
            self.empty_since_us = now.us

    def stop_recording(self, participant: Participant) -> list[Effect]:
        """It does not record any more, if it did."""
        if participant.id not in self.recording:
            return []
        del self.recording[participant.id]
        return self.tell_everybody(RecordingChanged(participant.id, False))

    def expire(self, now: Instant) -> list[Effect]:
        """Whose grace period has ended leaves; what has been silent for too long is an alarm."""
        done: list[Effect] = self.tell_alarms(self.telemetry.silent(now)) + standing.expired(self, now)
        for participant in list(self.participants.values()):
            if participant.expires_us is not None and participant.expires_us <= now.us:
                done += self.leave(participant, "timeout", now)
        return done

    @property
    def unneeded_since_us(self) -> int | None:
        """Since when nobody is here, nobody waits and nobody wants it kept; None while somebody does."""
        needed = self.kept or self.participants or len(self.lobby)
        return None if needed else self.empty_since_us

    def deadline_us(self) -> int | None:
        """When `expire`, or the room's own end, is due; None: nothing is waited for."""
        pending = [self.hands.deadline_us(), *(p.expires_us for p in self.participants.values())]
        if self.empty_since_us is None:
            pending.append(self.telemetry.deadline_us())
        elif self.over_when_empty:
            pending.append(self.empty_since_us + self._limits.empty_us)
        return min((each for each in pending if each is not None), default=None)

    @property
    def over_when_empty(self) -> bool:
        """Whether it ends when it has been empty for long enough, be it for all but hidden people."""
        if self.quiet:
            return not self.participants and not len(self.lobby)
        return not self.lobby.count(hidden=False)

    # --- publications --------------------------------------------------------------------------

    def refusal(self, participant: Participant, source: Source, kind: Kind, beside: int) -> str | None:
        """The error code that refuses one more publication, `beside` others being about to be added."""
        if not source_fits(source, kind):
            return "bad_request"
        if not participant.grants.may_publish(source, kind):
            return "not_allowed"
        if len(participant.publications) + beside >= self._limits.max_publications:
            return "too_many_publications"
        return None

    def publish(self, participant: Participant, command: commands.Publish) -> list[Effect]:
        """Raises `RequestError` with the code `refusal` gives."""
        if code := self.refusal(participant, command.source, command.kind, 0):
            raise RequestError(code, "this cannot be published")
        publication = Publication(
            id=publication_id(self._rng),
            participant=participant.id,
            kind=command.kind,
            source=command.source,
            name=command.name,
            muted=command.muted,
            codec=command.codec,
            simulcast=command.simulcast,
        )
        participant.publications[publication.id] = publication
        done: list[Effect] = [effects.PublicationOpened(publication)]
        if publication.muted:
            done.append(effects.PublicationMuted(publication.id, True))
        done += self._tell_watchers(participant, effects.PublicationAdded(publication))
        for other in self.participants.values():
            done += self._subscribe_by_itself(other, publication)
        return done

    def withdraw(self, participant: Participant, publication: PublicationId) -> list[Effect]:
        """End a publication against its publisher's will, who is told as well."""
        removed = effects.PublicationRemoved(publication, participant.id)
        return [*self._remove_publication(participant, publication), Announce((participant.id,), removed)]

    def unpublish(self, participant: Participant, publication: PublicationId) -> list[Effect]:
        """Raises `RequestError` `not_found`."""
        self._own(participant, publication)
        return self._remove_publication(participant, publication)

    def mute(self, participant: Participant, publication: PublicationId, muted: bool) -> list[Effect]:
        """Raises `RequestError` `not_found`."""
        self._own(participant, publication)
        return self.set_muted(participant, publication, muted, tell=self.watchers(participant))

    def set_muted(
        self,
        participant: Participant,
        publication: PublicationId,
        muted: bool,
        *,
        tell: tuple[ParticipantId, ...],
    ) -> list[Effect]:
        """Mute a publication, or the opposite; `tell` hears of it."""
        before = participant.publications[publication]
        if before.muted == muted:
            return []
        after = participant.publications[publication] = replace(before, muted=muted)
        event = effects.PublicationUpdated(after)
        return [effects.PublicationMuted(publication, muted), *([Announce(tell, event)] if tell else [])]

    def describe(self, command: commands.Describe) -> list[Effect]:
        """A publication that is gone, or is so already, changes nothing. The publisher is told too."""
        before = self.publication(command.publication)
        if before is None or (before.width, before.height) == (command.width, command.height):
            return []
        after = replace(before, width=command.width, height=command.height)
        publisher = self.participants[before.participant]
        publisher.publications[before.id] = after
        told = (publisher.id, *self.watchers(publisher))
        return [Announce(told, effects.PublicationUpdated(after))]

    # --- subscriptions -------------------------------------------------------------------------

    def subscribe(self, participant: Participant, command: commands.Subscribe) -> list[Effect]:
        """All or nothing. Raises `RequestError` `not_allowed`, `not_found`, `bad_request` for one's own."""
        if not participant.grants.subscribe:
            raise RequestError("not_allowed", "no right to subscribe")
        for wanted in command.publications:
            publication = self.publication(wanted)
            if publication is None:
                raise RequestError("not_found", f"no publication {wanted}")
            if publication.participant == participant.id:
                raise RequestError("bad_request", "one's own publication")
            if self.participants[publication.participant].breakout != participant.breakout:
                raise RequestError("not_allowed", "the publication is in another breakout room")
        done: list[Effect] = []
        for wanted in dict.fromkeys(command.publications):
            before = participant.subscriptions.get(wanted)
            base = before or Subscription(subscriber=participant.id, publication=wanted)
            after = replace(
                base,
                priority=base.priority if command.priority is None else command.priority,
                width=base.width if command.width is None else command.width,
                height=base.height if command.height is None else command.height,
                paused=base.paused if command.paused is None else command.paused,
            )
            participant.subscriptions[wanted] = after
            if before is None:
                done.append(effects.SubscriptionOpened(after))
            elif before != after:
                done.append(effects.SubscriptionAdjusted(after))
        return done

    def unsubscribe(self, participant: Participant, publications: tuple[PublicationId, ...]) -> list[Effect]:
        return [
            effects.SubscriptionClosed(participant.id, publication, asked=True)
            for publication in publications
            if participant.subscriptions.pop(publication, None)
        ]

    # --- shared --------------------------------------------------------------------------------

    def tell(self, event: Event, also: ParticipantId | None = None) -> list[Effect]:
        """Who follows the room is told, and `also`."""
        told = tuple(p.id for p in self.participants.values() if p.grants.follows or p.id == also)
        return [Announce(told, event)] if told else []

    def tell_everybody(self, event: Event) -> list[Effect]:
        """Devices that only send are told too."""
        return [Announce(tuple(self.participants), event)] if self.participants else []

    def tell_alarms(self, alarms: Iterable[Alarm]) -> list[Effect]:
        """Everybody hears what has become of alarms by themselves."""
        return [
            effect for alarm in alarms for effect in self.tell(AlarmChanged(alarm, None), alarm.participant)
        ]

    def tell_room(self) -> list[Effect]:
        """Everybody hears how the room itself is now."""
        return self.tell_everybody(RoomUpdated(views.room_view(self)))

    def moderators(self) -> tuple[ParticipantId, ...]:
        return tuple(p.id for p in self.participants.values() if p.grants.may_moderate)

    def tell_lobby(self, *, hidden: bool) -> list[Effect]:
        """Who moderates hears who waits. Where the one that came or went is `hidden`: who may know of it."""
        groups: dict[bool, list[Participant]] = {True: [], False: []}
        for each in self.participants.values():
            if each.grants.may_moderate and visibility.tells(each.grants, hidden=hidden):
                groups[each.grants.see_hidden].append(each)
        return [
            Announce(tuple(each.id for each in told), LobbyChanged(self.lobby.views(told[0].grants)))
            for told in groups.values()
            if told
        ]

    def tell_of(self, participant: Participant) -> list[Effect]:
        """All who see the participant, and it itself, hear how it is now."""
        return following.updated(participant, [participant, *self._others(participant)])

    def _others(self, participant: Participant) -> list[Participant]:
        """Who else may know of the participant."""
        return [
            other
            for other in self.participants.values()
            if other is not participant and visibility.sees(other.grants, participant)
        ]

    def watchers(self, participant: Participant) -> tuple[ParticipantId, ...]:
        """Who else may know what it publishes."""
        return tuple(other.id for other in self._others(participant) if other.grants.follows)

    def _tell_others(self, participant: Participant, event: Event) -> list[Effect]:
        others = tuple(other.id for other in self._others(participant))
        return [Announce(others, event)] if others else []

    def _tell_watchers(self, participant: Participant, event: Event) -> list[Effect]:
        watchers = self.watchers(participant)
        return [Announce(watchers, event)] if watchers else []

    def _own(self, participant: Participant, publication: PublicationId) -> Publication:
        found = participant.publications.get(publication)
        if found is None:
            raise RequestError("not_found", f"no publication {publication} of yours")
        return found

    def _remove_publication(self, participant: Participant, publication: PublicationId) -> list[Effect]:
        done: list[Effect] = [
            effects.SubscriptionClosed(other.id, publication, asked=False)
            for other in self.participants.values()
            if other.subscriptions.pop(publication, None)
        ]
        del participant.publications[publication]
        done.append(effects.PublicationClosed(publication, participant.id))
        done += self._tell_watchers(participant, effects.PublicationRemoved(publication, participant.id))
        if self.spotlight is not None and self.spotlight.publication == publication:
            self.spotlight = None
            done += self.tell_room()
        return done

    def move(self, participant: Participant, breakout: BreakoutId | None) -> list[Effect]:
        """Change the breakout room: subscriptions across end, those within begin."""
        if participant.breakout == breakout:
            return []
        participant.breakout = breakout
        done: list[Effect] = []
        for other in self.participants.values():
            if other.breakout != breakout:
                done += self._unsubscribe_from(participant, other)
                done += self._unsubscribe_from(other, participant)
        done += self.tell_of(participant)
        done += following.met(self, participant)
        done += self.subscribe_by_itself(participant)
        for publication in participant.publications.values():
            for other in self.participants.values():
                done += self._subscribe_by_itself(other, publication)
        return done

    def subscribe_by_itself(self, participant: Participant) -> list[Effect]:
        """Subscribe to everything present that the participant wants and has not."""
        done: list[Effect] = []
        for other in self.participants.values():
            for publication in other.publications.values():
                done += self._subscribe_by_itself(participant, publication)
        return done

    def _unsubscribe_from(self, subscriber: Participant, publisher: Participant) -> list[Effect]:
        return self.unsubscribe(subscriber, tuple(publisher.publications))

    def _subscribe_by_itself(self, participant: Participant, publication: Publication) -> list[Effect]:
        if (
            publication.participant == participant.id
            or publication.id in participant.subscriptions
            or self.participants[publication.participant].breakout != participant.breakout
            or not participant.grants.subscribe
            or not participant.wants.covers(publication.kind)
        ):
            return []
        subscription = Subscription(subscriber=participant.id, publication=publication.id)
        participant.subscriptions[publication.id] = subscription
        return [effects.SubscriptionOpened(subscription)]
