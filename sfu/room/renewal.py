"""Rooms in which hidden people are alone: to all others such a room is not open.

When the last of the others is gone for long enough the room is over for them, as if nobody were in it. When
one of them comes, the room begins as it would without the hidden people, who are taken over into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.ids import ParticipantId
from sfu.room import standing
from sfu.room.class_events import HandsChanged, RoomUpdated
from sfu.room.commands import OPERATOR
from sfu.room.effects import Announce, Effect, Event
from sfu.room.state import StatePatched
from sfu.room.views import room_view

if TYPE_CHECKING:
    from sfu.room.room import Room


def ended(room: Room) -> list[Effect]:
    """All but hidden people are gone, and what stood while they were here with them."""
    room.quiet, room.kept = True, False
    done = standing.ended(room)
    for participant in room.participants.values():
        done += room.move(participant, None)
    room.breakouts.close()
    room.hands.lower_all()
    for key in list(room.state.entries):
        done += room.tell_everybody(StatePatched(OPERATOR, key, None, room.state.delete(key)))
    return [*done, *_tell(room, tuple(room.participants))]


def adopt(room: Room, older: Room) -> None:
    """Take over hidden people, those who wait included, from the room that was quiet before."""
    room.participants.update(older.participants)
    room.lobby.adopt(older.lobby)


def told(room: Room, older: Room) -> list[Effect]:
    """Hidden people who were here before hear how the room is now."""
    done = [effect for each in older.participants.values() for effect in room.move(each, None)]
    return [*done, *_tell(room, tuple(older.participants))]


def _tell(room: Room, hidden: tuple[ParticipantId, ...]) -> list[Effect]:
    events: list[Event] = [RoomUpdated(room_view(room)), HandsChanged(room.hands.view())]
    return [Announce(hidden, event) for event in events] if hidden else []
