"""What stands in a room while it is open: raised hands, breakout rooms and who is in which.

A room that ends takes it out, so what is here of a room that is not open was left by a server that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import BindParameter, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import breakout_places, breakouts, hands
from sfu.store.writes import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHand:
    """`number` is its place in the order of raising."""

    identity: str
    number: int
    raised_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStanding:
    """Hands in the order of raising, breakout rooms as number and name, and by identity who is in which.

    `last_ms` is when any of it was last changed (Unix milliseconds), 0 where there is nothing.
    """

    hands: tuple[StoredHand, ...] = ()
    breakouts: tuple[tuple[int, str], ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    last_ms: int = 0


_ROOM: BindParameter[str] = bindparam("of_room")
_WHO: BindParameter[str] = bindparam("of_identity")

_RAISE = insert(hands)
_LOWER = delete(hands).where(hands.c.room == _ROOM, hands.c.identity == _WHO)
_LOWER_ALL = delete(hands).where(hands.c.room == _ROOM)
_DIVIDE = insert(breakouts)
_UNITE = delete(breakouts).where(breakouts.c.room == _ROOM)
_PLACE = insert(breakout_places)
_CALL = delete(breakout_places).where(breakout_places.c.room == _ROOM, breakout_places.c.identity == _WHO)
_CALL_ALL = delete(breakout_places).where(breakout_places.c.room == _ROOM)


def raised(room: str, hand: StoredHand) -> list[Step]:
    """A hand is up."""
    row = {"identity": hand.identity, "number": hand.number, "raised_ms": hand.raised_ms}
    return [*lowered(room, hand.identity), (_RAISE, {"room": room, **row})]


def lowered(room: str, identity: str | None) -> list[Step]:
    """The hand of `identity` is down, or with None every hand."""
    if identity is None:
        return [(_LOWER_ALL, {"of_room": room})]
    return [(_LOWER, {"of_room": room, "of_identity": identity})]


def divided(room: str, groups: Sequence[tuple[int, str]], at_ms: int) -> list[Step]:
    """There are breakout rooms of these numbers and names, and nobody is in one yet."""
    rows = [{"room": room, "id": id_, "name": name, "opened_ms": at_ms} for id_, name in groups]
    return [*united(room), *((_DIVIDE, row) for row in rows)]


def united(room: str) -> list[Step]:
    """There are no breakout rooms."""
    return [(_UNITE, {"of_room": room}), (_CALL_ALL, {"of_room": room})]


def placed(room: str, identities: Sequence[str], breakout: int | None, at_ms: int) -> list[Step]:
    """These people are in a breakout room, or with None in the main one."""
    steps: list[Step] = [(_CALL, {"of_room": room, "of_identity": each}) for each in identities]
    if breakout is not None:
        there = {"room": room, "breakout": breakout, "at_ms": at_ms}
        steps += [(_PLACE, {**there, "identity": each}) for each in identities]
    return steps


def cleared(room: str) -> list[Step]:
    """Nothing stands any more."""
    return [*lowered(room, None), *united(room)]


async def standing_in(connection: AsyncConnection, room: str) -> StoredStanding:
    """What stood in the room when it was last open, where its end was the server's."""
    up = select(hands).where(hands.c.room == room).order_by(hands.c.number)
    of_hands = (await connection.execute(up)).all()
    groups = select(breakouts).where(breakouts.c.room == room).order_by(breakouts.c.id)
    of_groups = (await connection.execute(groups)).all()
    inside = select(breakout_places).where(breakout_places.c.room == room).order_by(breakout_places.c.at_ms)
    of_places = (await connection.execute(inside)).all()
    times = (
        *(row.raised_ms for row in of_hands),
        *(row.opened_ms for row in of_groups),
        *(row.at_ms for row in of_places),
    )
    return StoredStanding(
        hands=tuple(
            StoredHand(identity=row.identity, number=row.number, raised_ms=row.raised_ms) for row in of_hands
        ),
        breakouts=tuple((row.id, row.name) for row in of_groups),
        places={row.identity: row.breakout for row in of_places},
        last_ms=max(times, default=0),
    )
