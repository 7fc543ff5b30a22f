"""What policy and plane notice of media: told to publishers, subscribers and who hears, or ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from sfu.ids import ParticipantId, PublicationKey, SubscriptionKey
from sfu.media.decisions import LayersWanted, Notice, PublicationSized, Speakers, SubscriptionState
from sfu.media.plane import PlaneFault
from sfu.room import commands
from sfu.room.commands import Command
from sfu.room.effects import Effect
from sfu.room.registry import Rooms
from sfu.server.media import Media
from sfu.server.member import Member
from sfu.server.speakers import Place, SpeakerLists
from sfu.server.wire import Json


class Doer(Protocol):
    """What a conference does about it."""

    def apply(self, command: Command) -> list[Effect]: ...

    def announce(self, to: Iterable[ParticipantId], message: Json) -> None: ...

    def fail(self, member: Member, code: str, message: str) -> None: ...


class Notices:
    """`members` and `subscriptions` are the conference's, as they are at each moment; `media` comes later."""

    def __init__(
        self,
        core: Rooms,
        members: Mapping[ParticipantId, Member],
        subscriptions: Mapping[SubscriptionKey, Member],
        doer: Doer,
    ) -> None:
        self._core = core
        self._members = members
        self._subscriptions = subscriptions
        self._doer = doer
        self._speakers = SpeakerLists(self._tell_speakers)
        self._heard: list[tuple[Place, ParticipantId]] = []
        self.media: Media

    def take(self, notices: list[Notice]) -> None:
        """Do what follows, in order."""
        for notice in notices:
            match notice:
                case PublicationSized():
                    if published := self.media.publication_of(notice.publication):
                        self._doer.apply(commands.Describe(published.id, notice.width, notice.height))
                case SubscriptionState():
                    if member := self._subscriptions.get(notice.subscription):
                        reason = notice.reason if notice.paused else ""
                        member.subscribe.set_paused(notice.subscription, reason)
                case LayersWanted():
                    published = self.media.publication_of(notice.publication)
                    if published and (publisher := self._members.get(published.participant)):
                        publisher.publish.want_layers(published.id, notice.rids)
                case Speakers():
                    self._speaking(notice.speakers)
                case PlaneFault():
                    failed = self.media.fail_room(notice.room)
                    for member in [each for each in self._members.values() if each.room == failed]:
                        self._doer.fail(member, "internal", "an error of the server")

    def _speaking(self, speakers: Iterable[tuple[PublicationKey, float]]) -> None:
        heard = []
        for key, level in speakers:
            published = self.media.publication_of(key)
            member = self._members.get(published.participant) if published else None
            if member is not None:
                heard.append((self._place(member), member.id, level))
        self._speakers.update(heard)
        self._attend([(place, participant) for place, participant, _ in heard])

    def _attend(self, heard: list[tuple[Place, ParticipantId]]) -> None:
        """Others may speak now, or in another order: where there are few m-lines, they are for them."""
        if heard == self._heard:
            return
        self._heard = heard
        places = {place for place, _ in heard}
        for member in self._members.values():
            if self._place(member) in places:
                member.subscribe.attend()

    def _tell_speakers(self, place: Place, message: Json) -> None:
        members = self._members.values()
        there = [member.id for member in members if member.grants.follows and self._place(member) == place]
        self._doer.announce(there, message)

    def _place(self, member: Member) -> Place:
        participant = self._core.participant(member.id)
        return member.room, participant.breakout if participant else None
