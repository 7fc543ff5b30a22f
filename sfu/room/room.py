"""One room: its participants, what they publish and to what they subscribe. Nothing crosses a room."""

from __future__ import annotations

import hmac
import random
from dataclasses import replace

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName, participant_id, publication_id, random_text
from sfu.room import commands, effects
from sfu.room.chat import Chat
from sfu.room.effects import Announce, Effect, Event
from sfu.room.model import ChatHistory, Instant, LeaveReason, Limits, Participant, Publication, Subscription
from sfu.room.permissions import Source, source_fits
from sfu.rtp.parameters import Kind

SECRET_CHARACTERS = 32
"""About 185 bits: a resume secret takes over a participant, so it must be unguessable."""


class Room:
    """Each method is one command's work: it returns effects in order, or raises `RequestError` unchanged."""

    def __init__(
        self, name: RoomName, limits: Limits, rng: random.Random, now: Instant, chat: ChatHistory
    ) -> None:
        self.name = name
        self.participants: dict[ParticipantId, Participant] = {}
        self.empty_since_us: int | None = now.us
        self._limits = limits
        self._rng = rng
        self.chat = Chat(name, self.participants, limits.chat_history, chat)

    def publication(self, publication: PublicationId) -> Publication | None:
        """The publication of that id, None where the room has none such."""
        for participant in self.participants.values():
            if found := participant.publications.get(publication):
                return found
        return None

    # --- membership ----------------------------------------------------------------------------

    def join(self, command: commands.Join, now: Instant) -> list[Effect]:
        """Raises `RequestError` `room_full`."""
        older = [p for p in self.participants.values() if p.identity == command.identity]
        if len(self.participants) - len(older) >= self._limits.max_participants:
            raise RequestError("room_full", "the room has no place left")
        done: list[Effect] = []
        for participant in older:
            done += self.leave(participant, "replaced", now)
        participant = Participant(
            id=participant_id(self._rng),
            identity=command.identity or "guest-" + random_text(self._rng, 12),
            name=command.name,
            grants=command.grants,
            wants=command.wants,
            joined_at_ms=now.wall_ms,
            secret=random_text(self._rng, SECRET_CHARACTERS),
            session=command.session,
            chat_read=command.chat_read,
        )
        self.participants[participant.id] = participant
        self.empty_since_us = None
        done.append(self._welcome(participant, command.chat_after, resumed=False))
        done += self._tell_others(participant, effects.ParticipantJoined(participant.view()))
        for other in self.participants.values():
            for publication in other.publications.values():
                done += self._subscribe_by_itself(participant, publication)
        return done

    def resume(self, command: commands.Resume) -> list[Effect]:
        """Raises `RequestError` `resume_failed`, whatever was wrong: a guesser learns nothing."""
        participant = self.participants.get(command.participant)
        if (
            participant is None
            or not hmac.compare_digest(participant.secret.encode(), command.secret.encode())
            or (command.identity is not None and command.identity != participant.identity)
        ):
            raise RequestError("resume_failed", "there is nothing to resume: join anew")
        done: list[Effect] = []
        was_reconnecting = participant.session is None
        if participant.session is not None:
            done.append(effects.SessionReplaced(participant.session))
        participant.session = command.session
        participant.expires_us = None
        done.append(self._welcome(participant, command.chat_after, resumed=True))
        if was_reconnecting:
            done += self._tell_others(participant, effects.ParticipantUpdated(participant.view()))
        return done

    def disconnect(self, participant: Participant, now: Instant) -> list[Effect]:
        """The session is gone; media runs on until the grace period ends."""
        participant.session = None
        participant.expires_us = now.us + self._limits.grace_us
        return self._tell_others(participant, effects.ParticipantUpdated(participant.view()))

    def leave(self, participant: Participant, reason: LeaveReason, now: Instant) -> list[Effect]:
        done: list[Effect] = []
        for publication in list(participant.publications):
            done += self._remove_publication(participant, publication)
        for publication in list(participant.subscriptions):
            del participant.subscriptions[publication]
            done.append(effects.SubscriptionClosed(participant.id, publication, asked=False))
        del self.participants[participant.id]
        if not self.participants:
            self.empty_since_us = now.us
        done.append(effects.ParticipantClosed(participant.id, participant.session, reason))
        done += self._tell_others(participant, effects.ParticipantLeft(participant.id, reason))
        return done

    def expire(self, now: Instant) -> list[Effect]:
        """Whose grace period has ended leaves."""
        done: list[Effect] = []
        for participant in list(self.participants.values()):
            if participant.expires_us is not None and participant.expires_us <= now.us:
                done += self.leave(participant, "timeout", now)
        return done

    def deadline_us(self) -> int | None:
        """When `expire`, or the room's own end, is due; None: nothing is waited for."""
        if self.empty_since_us is not None:
            return self.empty_since_us + self._limits.empty_us
        pending = [p.expires_us for p in self.participants.values() if p.expires_us is not None]
        return min(pending, default=None)

    # --- publications --------------------------------------------------------------------------

    def refusal(self, participant: Participant, source: Source, kind: Kind, beside: int) -> str | None:
        """The error code that refuses one more publication, `beside` others being about to be added."""
        if not source_fits(source, kind):
            return "bad_request"
        if not participant.grants.may_publish(source):
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
        done += self._tell_others(participant, effects.PublicationAdded(publication))
        for other in self.participants.values():
            done += self._subscribe_by_itself(other, publication)
        return done

    def unpublish(self, participant: Participant, publication: PublicationId) -> list[Effect]:
        """Raises `RequestError` `not_found`."""
        self._own(participant, publication)
        return self._remove_publication(participant, publication)

    def mute(self, participant: Participant, publication: PublicationId, muted: bool) -> list[Effect]:
        """Raises `RequestError` `not_found`."""
        before = self._own(participant, publication)
        if before.muted == muted:
            return []
        after = participant.publications[publication] = replace(before, muted=muted)
        return [
            effects.PublicationMuted(publication, muted),
            *self._tell_others(participant, effects.PublicationUpdated(after)),
        ]

    def describe(self, command: commands.Describe) -> list[Effect]:
        """A publication that is gone, or is so already, changes nothing. The publisher is told too."""
        before = self.publication(command.publication)
        if before is None or (before.width, before.height) == (command.width, command.height):
            return []
        after = replace(before, width=command.width, height=command.height)
        self.participants[before.participant].publications[before.id] = after
        return [Announce(tuple(self.participants), effects.PublicationUpdated(after))]

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

    def _welcome(self, participant: Participant, chat_after: int | None, *, resumed: bool) -> Effect:
        assert participant.session is not None
        return effects.Welcome(
            session=participant.session,
            room=self.name,
            participant=participant.view(),
            others=tuple(p.view() for p in self.participants.values() if p is not participant),
            secret=participant.secret,
            resumed=resumed,
            chat=self.chat.log.news(participant.identity, chat_after),
            chat_read=participant.chat_read,
        )

    def _tell_others(self, participant: Participant, event: Event) -> list[Effect]:
        others = tuple(other for other in self.participants if other != participant.id)
        return [Announce(others, event)] if others else []

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
        done += self._tell_others(participant, effects.PublicationRemoved(publication, participant.id))
        return done

    def _subscribe_by_itself(self, participant: Participant, publication: Publication) -> list[Effect]:
        if (
            publication.participant == participant.id
            or not participant.grants.subscribe
            or not participant.wants.covers(publication.kind)
        ):
            return []
        subscription = Subscription(subscriber=participant.id, publication=publication.id)
        participant.subscriptions[publication.id] = subscription
        return [effects.SubscriptionOpened(subscription)]
