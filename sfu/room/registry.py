"""All rooms: finds the room a command belongs to, opens rooms on demand and closes empty ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from sfu.errors import RequestError
from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room import acts, commands, renewal, standing, visibility
from sfu.room.class_records import ClassHistory
from sfu.room.classroom import act
from sfu.room.commands import Command
from sfu.room.effects import (
    ClassToStore,
    Effect,
    ParticipantClosed,
    PublicationClosed,
    PublicationOpened,
    RoomClosed,
    RoomOpened,
    WaitingEnded,
    Welcome,
)
from sfu.room.expiry import expire
from sfu.room.model import ChatHistory, Instant, Limits, Participant, Publication, RoomSummary, Wants
from sfu.room.permissions import MEETING, Grants, Source, Template
from sfu.room.room import Room
from sfu.room.state import Judge, accept_all
from sfu.room.state_changes import change_state
from sfu.rtp.parameters import Kind


class Rooms:
    """The room core: commands and the moment in, effects out.

    `rng` makes ids and secrets; pass `random.SystemRandom()` in production. After each call ask
    `deadline_us` again, and call `tick` no later than it says.
    """

    def __init__(
        self,
        limits: Limits,
        rng: random.Random,
        templates: Mapping[str, Template] | None = None,
        template: str = "meeting",
    ) -> None:
        self._limits = limits
        self._templates = templates or {MEETING.name: MEETING}
        self._template = template
        self._rng = rng
        self.judge: Judge = accept_all
        """Decides about every change of the shared state of every room."""
        self._rooms: dict[RoomName, Room] = {}
        self._room_of: dict[ParticipantId, Room] = {}
        self._room_with: dict[PublicationId, Room] = {}

    def apply(self, command: Command, now: Instant) -> list[Effect]:
        """Do what `command` asks. Raises `RequestError` when it is refused; nothing has changed then."""
        done = self._apply(command, now)
        self._index(done)
        return done

    def tick(self, now: Instant) -> list[Effect]:
        """End grace periods and rooms that have been empty for long enough."""
        done: list[Effect] = []
        for room in list(self._rooms.values()):
            deadline = room.deadline_us()
            if deadline is None or deadline > now.us:
                continue
            done += room.expire(now)
            if room.empty_since_us is None or not room.over_when_empty:
                continue
            if (due := room.deadline_us()) is not None and due <= now.us:
                needed = room.participants or len(room.lobby)
                done += renewal.ended(room) if needed else self._end_room(room)
        self._index(done)
        return done

    def deadline_us(self) -> int | None:
        """When `tick` is due next, monotonic microseconds; None while nothing is waited for."""
        return min(
            (d for room in self._rooms.values() if (d := room.deadline_us()) is not None), default=None
        )

    def participant(self, participant: ParticipantId) -> Participant | None:
        room = self._room_of.get(participant)
        return room.participants[participant] if room else None

    def publication(self, publication: PublicationId) -> Publication | None:
        room = self._room_with.get(publication)
        return room.publication(publication) if room else None

    def open_room(self, name: RoomName) -> Room | None:
        """The room of that name, None where it is not open."""
        return self._rooms.get(name)

    def is_known(self, name: RoomName) -> bool:
        """Whether the room is open to others than hidden people: what the store has of it is here, then."""
        room = self._rooms.get(name)
        return room is not None and not room.quiet

    def owners(self, room: RoomName) -> Mapping[str, bool]:
        """`Room.owners`; nobody where the room is not open."""
        found = self._rooms.get(room)
        return found.owners if found is not None else {}

    def room(self, room: RoomName, grants: Grants | None = None) -> Room:
        """Raises `RequestError` `not_found`, also where somebody with these `grants` may not know of it."""
        found = self._rooms.get(room)
        if found is None or (found.quiet and grants is not None and not grants.see_hidden):
            raise RequestError("not_found", "no such room")
        return found

    def room_of(self, participant: ParticipantId) -> Room | None:
        return self._room_of.get(participant)

    def refusal(self, participant: ParticipantId, source: Source, kind: Kind, beside: int) -> str | None:
        """See `Room.refusal`."""
        room, member = self._membership(participant)
        return room.refusal(member, source, kind, beside)

    def summaries(self, grants: Grants | None = None) -> list[RoomSummary]:
        """Every room with its counts, by name; with `grants` those that somebody with these may know of."""
        return [
            RoomSummary(
                name,
                len(visibility.known_to_all(room.participants.values())),
                sum(len(p.publications) for p in room.participants.values()),
            )
            for name, room in sorted(self._rooms.items())
            if grants is None or grants.see_hidden or not room.quiet
        ]

    def _apply(self, command: Command, now: Instant) -> list[Effect]:
        match command:
            case commands.Join():
                return self._join(command, now)
            case commands.Resume():
                return self._resume(command)
            case commands.StopWaiting():
                room_of = self._rooms.get(command.room)
                return room_of.stop_waiting(command.session, now) if room_of else []
            case commands.Describe():
                room_with = self._room_with.get(command.publication)
                return room_with.describe(command) if room_with else []
            case commands.ChatStored():
                of = self._rooms.get(command.room)
                return of.chat.stored(command) if of else []
            case commands.ChatLost():
                of = self._rooms.get(command.room)
                return of.chat.lost(command) if of else []
            case commands.Expire():
                return [each for of in self._rooms.values() for each in expire(of, command.before_ms)]
            case commands.Disconnect() | commands.Leave():
                return self._end(command, now)
            case commands.OpenRoom():
                return self._open(command, now)
            case commands.CloseRoom():
                return self._close(self.room(command.room), now)
            case commands.Operate():
                return self._operate(command, now)
        room, member = self._membership(command.participant)
        match command:
            case commands.Publish():
                return room.publish(member, command)
            case commands.Unpublish():
                return room.unpublish(member, command.publication)
            case commands.Mute():
                return room.mute(member, command.publication, command.muted)
            case commands.Subscribe():
                return room.subscribe(member, command)
            case commands.Unsubscribe():
                return room.unsubscribe(member, command.publications)
            case commands.SendChat():
                return room.chat.send(member, command, now)
            case commands.EditChat():
                return room.chat.edit(member, command, now)
            case commands.DeleteChat():
                return room.chat.delete(member, command)
            case commands.ReactChat():
                return room.chat.react(member, command)
            case commands.ReadChat():
                return room.chat.read(member, command)
            case commands.TypeChat():
                return room.chat.typing(member, command, now)
            case acts.ChangeState():
                return change_state(room, member, command, self.judge, now)
            case _:
                return act(room, member, command, now)

    def _join(self, command: commands.Join, now: Instant) -> list[Effect]:
        older = self._rooms.get(command.room)
        if older is not None and not older.quiet:
            return older.join(command, now)
        # Whoever comes first has some link; what the room is, its own people know it by.
        wish = command.template if command.work.settings is None else None
        room = self._made(
            command.room, command.appointed or wish, self._limits, now, command.chat, command.work
        )
        room.quiet = room.hides(command)
        if older is not None and room.quiet:
            return older.join(command, now)
        room.host = command.host
        unneeded = self._unneeded(quiet=room.quiet, host=room.host)
        if older is not None:
            renewal.adopt(room, older)
        done = room.join(command, now)
        return [*self._end_room(unneeded), *self._opened(room, older, command.work), *done]

    def _unneeded(self, *, quiet: bool, host: str = "") -> Room | None:
        """The room that makes place for another: the one empty for longest that nobody asked to keep open.

        None: there is place. Rooms of hidden people alone are `quiet`, and take no place from others. A
        `host` has as many rooms as there are places left for others, and no more than its limit: so whoever
        has none finds a place for longest. Raises `RequestError` `too_many_rooms`.
        """
        open_ = [room for room in self._rooms.values() if room.quiet == quiet]
        mine = [room for room in open_ if host and room.host == host]
        left = self._limits.max_rooms - len(open_)
        if len(mine) >= min(self._limits.max_rooms_of_host, max(left, 1)):
            open_ = mine
        elif left > 0:
            return None
        empty = {room: since for room in open_ if (since := room.unneeded_since_us) is not None}
        if not empty:
            raise RequestError("too_many_rooms", "the server has no place for another room")
        return min(empty, key=lambda room: empty[room])

    def _end_room(self, room: Room | None) -> list[Effect]:
        if room is None:
            return []
        del self._rooms[room.name]
        return [*standing.ended(room), RoomClosed(room.name)]

    def template(self, name: RoomName, wish: str | None) -> Template:
        """The kind of the room if it is open, else of one that `wish` opens."""
        room = self._rooms.get(name)
        if room is not None and not room.quiet:
            return room.template
        return self._templates.get(wish or self._template, MEETING)

    def _open(self, command: commands.OpenRoom, now: Instant) -> list[Effect]:
        older = self._rooms.get(command.room)
        if older is not None and not older.quiet:
            raise RequestError("bad_state", "the room is open")
        unneeded = self._unneeded(quiet=False)
        limits = replace(self._limits, empty_us=max(command.empty_us, self._limits.empty_us))
        room = self._made(command.room, command.template, limits, now, command.chat, command.work)
        room.kept = command.empty_us > 0
        if older is not None:
            renewal.adopt(room, older)
        return [*self._end_room(unneeded), *self._opened(room, older, command.work)]

    def _made(
        self,
        name: RoomName,
        wish: str | None,
        limits: Limits,
        now: Instant,
        chat: ChatHistory,
        work: ClassHistory,
    ) -> Room:
        """A room as the last one of its name was, where `wish` does not make it another kind."""
        before = work.settings
        template = self.template(name, wish or (before.template if before is not None else None))
        room = Room(name, template, limits, self._rng, now, chat, work)
        if before is not None and before.template == template.name:
            room.locked, room.lobby.on, room.silence.on = before.locked, before.lobby, before.silenced
        return room

    def _opened(self, room: Room, older: Room | None, work: ClassHistory) -> list[Effect]:
        """`older` is the one in whose place it is, in which hidden people were alone."""
        self._rooms[room.name] = room
        settings = room.settings()
        kept: list[Effect] = []
        if settings != work.settings and not room.quiet:
            kept.append(ClassToStore(room.name, settings))
        if older is None:
            return [RoomOpened(room.name), *kept]
        self._room_of |= dict.fromkeys(older.participants, room)
        return [*kept, *renewal.told(room, older)]

    def _close(self, room: Room, now: Instant) -> list[Effect]:
        done: list[Effect] = []
        for waiting in room.lobby.everybody():
            done.append(WaitingEnded(room.lobby.take(waiting).join.session, "denied"))
        for participant in list(room.participants.values()):
            done += room.leave(participant, "removed", now)
        return done + self._end_room(room)

    def _operate(self, command: commands.Operate, now: Instant) -> list[Effect]:
        room, wanted = self.room(command.room, command.grants), command.command
        operator = Participant(
            id=commands.OPERATOR,
            identity=command.identity,
            name=command.name,
            role=command.role,
            grants=command.grants,
            wants=Wants(subscribe=False),
            joined_at_ms=now.wall_ms,
            secret="",
            session=None,
        )
        match wanted:
            case commands.SendChat():
                return room.chat.send(operator, wanted, now)
            case commands.DeleteChat():
                return room.chat.delete(operator, wanted)
            case acts.ChangeState():
                # The server itself: the judge is its word about what others want.
                return change_state(room, operator, wanted, accept_all, now)
            case _:
                return act(room, operator, wanted, now)

    def _resume(self, command: commands.Resume) -> list[Effect]:
        room = self._rooms.get(command.room)
        if room is None:
            raise RequestError("resume_failed", "there is nothing to resume: join anew")
        return room.resume(command)

    def _end(self, command: commands.Disconnect | commands.Leave, now: Instant) -> list[Effect]:
        room = self._room_of.get(command.participant)
        if room is None:
            return []
        member = room.participants[command.participant]
        if isinstance(command, commands.Leave):
            return room.leave(member, command.reason, now)
        return room.disconnect(member, now) if member.session == command.session else []

    def _membership(self, participant: ParticipantId) -> tuple[Room, Participant]:
        room = self._room_of.get(participant)
        if room is None:
            raise RequestError("not_found", "not a participant")
        return room, room.participants[participant]

    def _index(self, done: list[Effect]) -> None:
        for effect in done:
            match effect:
                case Welcome():
                    self._room_of[effect.participant.id] = self._rooms[effect.room]
                case ParticipantClosed():
                    del self._room_of[effect.participant]
                case PublicationOpened(publication):
                    self._room_with[publication.id] = self._room_of[publication.participant]
                case PublicationClosed():
                    del self._room_with[effect.publication]
