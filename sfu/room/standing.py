"""What stands while a room is open, raised hands and breakout rooms: kept in case the server ends first.

It is kept by identity, for who comes back has another participant id; who brings none, neither a token nor a
pass, is a stranger and finds nothing. It ends with the room: the next lesson begins without the hands and the
groups of the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.room.class_events import HandsChanged
from sfu.room.class_records import BreakoutPlaced, BreakoutsClosed, ClassChange, HandLowered
from sfu.room.effects import Announce, ClassToStore, Effect
from sfu.room.model import Instant, LeaveReason, Participant

if TYPE_CHECKING:
    from sfu.room.room import Room


def keep(room: Room, *changes: ClassChange) -> list[Effect]:
    """Make changes of the class last."""
    return [ClassToStore(room.name, change) for change in changes]


def returned(room: Room, participant: Participant, now: Instant) -> list[Effect]:
    """Somebody has joined: the hand that it has up goes on in its place, and the others see it."""
    identity = participant.identity
    lost = room.hands.returned(participant.id, identity, now.us, may=participant.grants.may_chat)
    if not lost and not room.hands.up(identity):
        return []
    kept = keep(room, HandLowered(identity)) if lost else []
    watchers = room.watchers(participant)
    return [*kept, *([Announce(watchers, HandsChanged(room.hands.view()))] if watchers else [])]


def left(room: Room, participant: Participant, reason: LeaveReason) -> list[Effect]:
    """Somebody has left: its hand is down, and its breakout room is kept for it unless it was removed."""
    forgotten = room.breakouts.left(participant.identity, participant.breakout, keep=reason != "removed")
    done = keep(room, BreakoutPlaced(forgotten, None)) if forgotten else []
    # Who is replaced is itself here again at once, and its hand goes on in its place.
    if reason != "replaced" and room.hands.lower(participant.identity):
        done += keep(room, HandLowered(participant.identity))
        done += room.tell(HandsChanged(room.hands.view()))
    return done


def expired(room: Room, now: Instant) -> list[Effect]:
    """Hands whose owners have not come back since the server ended go down; nobody has seen them."""
    return keep(room, *(HandLowered(identity) for identity in room.hands.expire(now.us)))


def ended(room: Room) -> list[Effect]:
    """The room is over."""
    done = keep(room, HandLowered(None)) if len(room.hands) else []
    return done + (keep(room, BreakoutsClosed()) if room.breakouts.groups else [])
