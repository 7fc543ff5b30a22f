"""What happens in rooms, as plain values for whoever listens inside the server: webhooks, extensions.

One place turns the room core's commands and effects into events; listeners get them in order, each once.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sfu import clock
from sfu.config import EventType
from sfu.ids import ParticipantId, RoomName, random_text
from sfu.room import acts, commands, effects
from sfu.room.class_events import AlarmChanged, HandsChanged, RecordingChanged
from sfu.room.commands import Command
from sfu.room.effects import Effect
from sfu.room.model import ChatMessage, LeaveReason
from sfu.server import telemetry_wire, wire

log = logging.getLogger(__name__)

_MODERATION: Mapping[type[Command], str] = {
    acts.SetRole: "set_role",
    acts.SetGrants: "set_grants",
    acts.MuteOthers: "mute_participant",
    acts.Remove: "remove",
    acts.SetRoom: "set_room",
    acts.SetSpotlight: "spotlight",
    acts.Admit: "admit",
    acts.Deny: "deny",
    acts.OpenBreakouts: "open_breakouts",
    acts.AssignBreakout: "assign_breakout",
    acts.CloseBreakouts: "close_breakouts",
    acts.Broadcast: "broadcast",
    acts.SetThresholds: "telemetry_thresholds",
    acts.AcknowledgeAlarm: "alarm_acknowledge",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomEvent:
    """`id` is unique for ever, `at_ms` Unix milliseconds, `data` the type's own fields, ready for JSON."""

    id: str
    at_ms: int
    room: RoomName
    type: EventType
    data: Mapping[str, Any]


_WEIGHTY = frozenset({"room_started", "room_ended", "moderated", "alarm", "recording"})


def weighty(kind: str) -> bool:
    """Whether events of this type outlast others where too many wait: few may cause them, and they matter."""
    return kind in _WEIGHTY


def source(room: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """Who has caused an event: queues that are bounded share their places among these."""
    told = data.get("message") or data
    return room, str(told.get("identity", ""))


Listener = Callable[[RoomEvent], None]
"""Called at once, in the server's one thread: it must neither block nor wait."""


@dataclass(frozen=True, slots=True)
class _Person:
    room: RoomName
    identity: str
    name: str
    role: str | None


class Events:
    """The stream of a server. `rng` makes ids that no other server and no earlier run has used."""

    def __init__(self, rng: random.Random) -> None:
        self._run = random_text(rng, 12)
        self._numbers = itertools.count(1)
        self._listeners: list[Listener] = []
        self._people: dict[ParticipantId, _Person] = {}
        self._rooms: dict[RoomName, None] = {}
        self._recording: set[ParticipantId] = set()

    def listen(self, listener: Listener) -> None:
        """Tell `listener` everything from now on."""
        self._listeners.append(listener)

    def emit(self, kind: EventType, room: RoomName, data: Mapping[str, Any]) -> None:
        """Tell everybody. A listener that fails is logged, and harms nobody."""
        number = f"EV_{self._run}_{next(self._numbers)}"
        event = RoomEvent(id=number, at_ms=clock.wall_ms(), room=room, type=kind, data=data)
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", kind, extra={"room": room})

    def effect(self, effect: Effect) -> None:
        """What the room core wants done has happened."""
        match effect:
            case effects.RoomOpened(room):
                self._rooms[room] = None
                self.emit("room_started", room, {})
            case effects.RoomClosed(room):
                self._rooms.pop(room, None)
                self.emit("room_ended", room, {})
            case effects.Welcome() if not effect.resumed:
                self._joined(effect)
            case effects.ParticipantClosed():
                self._left(effect.participant, effect.reason)
            case effects.PublicationOpened(publication):
                person = self._people[publication.participant]
                data = {**_of(publication.participant, person), "publication": wire.publication(publication)}
                self.emit("published", person.room, data)
            case effects.Announce(event=AlarmChanged(alarm, by)):
                if (owner := self._people.get(alarm.participant)) is not None:
                    data = {**_of(alarm.participant, owner), "alarm": telemetry_wire.alarm(alarm, by)}
                    self.emit("alarm", owner.room, data)
            case effects.PublicationClosed():
                person = self._people[effect.participant]
                data = {**_of(effect.participant, person), "publication": effect.publication}
                self.emit("unpublished", person.room, data)
            case effects.Announce(event=RecordingChanged(by, on)):
                (self._recording.add if on else self._recording.discard)(by)
                self._act(by, "recording", {"on": on})

    def crashed(self, dead: Iterable[Mapping[str, Any]]) -> None:
        """An earlier run was killed: its sessions (rows of the store) and their rooms are over."""
        rooms: dict[str, list[Mapping[str, Any]]] = {}
        for session in dead:
            rooms.setdefault(session["room"], []).append(session)
        for room, sessions in rooms.items():
            for session in sessions:
                person = _Person(RoomName(room), session["identity"], session["name"], None)
                who = _of(ParticipantId(session["id"]), person)
                if session["recording"]:
                    self.emit("recording", person.room, {**who, "on": False, "reason": "crashed"})
                self.emit("participant_left", person.room, {**who, "reason": "crashed"})
            self.emit("room_ended", RoomName(room), {})

    def close(self) -> None:
        """The server stops: everybody leaves, every room ends."""
        for participant in list(self._people):
            if participant in self._recording:
                self._act(participant, "recording", {"on": False, "reason": "shutdown"})
            self._left(participant, "shutdown")
        for room in self._rooms:
            self.emit("room_ended", room, {})
        self._rooms.clear()

    def command(self, command: Command, done: Iterable[Effect]) -> None:
        """A command has been carried out, with these effects."""
        match command:
            case commands.ChatStored() if command.change == "added":
                self.emit("message", command.room, {"message": _message(command.message)})
            case commands.Operate():
                who = {"participant": None, "identity": command.identity, "name": command.name}
                who["role"] = command.role
                if isinstance(command.command, acts.LowerHand | acts.CallOn):
                    self._hand(command.command, command.room, who, done)
                else:
                    self._moderated(command.command, command.room, who)
            case acts.RaiseHand() | acts.LowerHand() | acts.CallOn():
                if (person := self._people.get(command.participant)) is not None:
                    self._hand(command, person.room, _of(command.participant, person), done)
            case _ if type(command) in _MODERATION:
                by = getattr(command, "participant")  # noqa: B009 - every act has one
                if (person := self._people.get(by)) is not None:
                    self._moderated(command, person.room, _of(by, person))

    def _hand(
        self,
        act: acts.RaiseHand | acts.LowerHand | acts.CallOn,
        room: RoomName,
        who: Mapping[str, Any],
        done: Iterable[Effect],
    ) -> None:
        if not any(
            isinstance(each, effects.Announce) and isinstance(each.event, HandsChanged) for each in done
        ):
            return
        match act:
            case acts.RaiseHand(raised=raised):
                self.emit("hand", room, {**who, "act": "raise_hand" if raised else "lower_hand"})
            case acts.LowerHand(target=target):
                self.emit("hand", room, {**who, "act": "lower_hand", "target": target})
            case acts.CallOn(target=target):
                self.emit("hand", room, {**who, "act": "call_on", "target": target})

    def _moderated(self, command: Command, room: RoomName, who: Mapping[str, Any]) -> None:
        name = _MODERATION.get(type(command))
        if name is not None:
            details = asdict(command, dict_factory=_given)
            details.pop("participant")
            if name == "mute_participant" and "target" not in details:
                name = "mute_all"
            self.emit("moderated", room, {**who, "act": name, **details})

    def _joined(self, welcome: effects.Welcome) -> None:
        participant = welcome.participant
        person = _Person(welcome.room, participant.identity, participant.name, participant.role)
        self._people[participant.id] = person
        who = _of(participant.id, person)
        self.emit("participant_joined", person.room, who)
        if any(hand.participant == participant.id for hand in welcome.work.hands.queue):
            # As somebody of an earlier membership it had raised it; that has been told to have ended.
            self.emit("hand", person.room, {**who, "act": "raise_hand"})

    def _left(self, participant: ParticipantId, reason: LeaveReason) -> None:
        self._recording.discard(participant)
        person = self._people.pop(participant, None)
        if person is not None:
            self.emit("participant_left", person.room, {**_of(participant, person), "reason": reason})

    def _act(self, by: ParticipantId, kind: EventType, data: Mapping[str, Any]) -> None:
        person = self._people.get(by)
        if person is not None:
            self.emit(kind, person.room, {**_of(by, person), **data})


def _of(participant: ParticipantId, person: _Person) -> dict[str, Any]:
    return {
        "participant": participant,
        "identity": person.identity,
        "name": person.name,
        "role": person.role,
    }


def _given(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Without what is None: it changes nothing."""
    return {name: value for name, value in fields if value is not None}


def _message(message: ChatMessage) -> dict[str, Any]:
    """Of direct messages only that there was one: their text is for two people."""
    whole = wire.chat_message(message)
    return whole if message.to is None else {**whole, "text": "", "mentions": [], "file": None}
