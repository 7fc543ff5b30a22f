"""Raised hands and breakout rooms of a room that was open when the server ended, and how they end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_moderation import ROOMY, entered
from test_rooms import World, of, only, told

from sfu.ids import ParticipantId, RoomName
from sfu.room import acts, breakout, commands, effects
from sfu.room.breakout import Breakout
from sfu.room.class_events import HandsChanged
from sfu.room.class_records import (
    BreakoutPlaced,
    BreakoutsClosed,
    BreakoutsOpened,
    ClassChange,
    ClassHistory,
    HandLowered,
    HandRaised,
    TurnTaken,
)
from sfu.room.effects import Effect
from sfu.room.hands import RETURN_US, HandRecord
from sfu.room.model import BreakoutId, SessionKey
from sfu.room.permissions import GrantChanges

ROOM = RoomName("r")
RETURN_S = RETURN_US / 1_000_000
GROUPS = (Breakout(BreakoutId(1), "One"), Breakout(BreakoutId(2), "Two"))
STOOD = ClassHistory(
    hands=(HandRecord("cid", 4, 30), HandRecord("ben", 2, 20)),
    breakouts=GROUPS,
    places={"ben": BreakoutId(2), "dan": BreakoutId(7)},
)


def opened(world: World, work: ClassHistory = STOOD, empty_s: float = 30) -> list[Effect]:
    command = commands.OpenRoom(room=ROOM, template=None, empty_us=round(empty_s * 1_000_000))
    return world.do(replace(command, work=work))


def kept(done: list[Effect]) -> list[ClassChange]:
    """What is to last, but for how the room is set."""
    return [each.change for each in of(done, effects.ClassToStore)]


def queue(world: World) -> list[tuple[ParticipantId, int]]:
    hands = world.rooms.room(ROOM).hands.view().queue
    return [(hand.participant, hand.raised_at_ms) for hand in hands]


def coming(world: World, name: str, **grants: Any) -> list[Effect]:
    world.sessions += 1
    join = commands.Join(session=SessionKey(world.sessions), room=ROOM, name=name, identity=name)
    return world.do(replace(join, grants=GrantChanges(**grants)))


def test_hands_are_in_their_order_again_as_their_owners_come() -> None:
    world = World(ROOMY)
    opened(world)
    ann = entered(world, "ann", "owner")
    assert queue(world) == [], "nobody sees a hand without its owner"
    done = coming(world, "cid")
    welcome = only(done, effects.Welcome)
    cid = welcome.participant.id
    assert [hand.participant for hand in welcome.work.hands.queue] == [cid], "it finds its own hand up"
    ((to, event),) = told(done, HandsChanged)
    assert (to, [hand.participant for hand in event.hands.queue]) == ((ann,), [cid])
    events = [each.event for each in of(done, effects.Announce) if ann in each.to]
    assert isinstance(events[0], effects.ParticipantJoined), "who it is comes before its hand"
    world.do(acts.RaiseHand(ann, True))
    ben = entered(world, "ben")
    assert queue(world) == [(ben, 20), (cid, 30), (ann, world.now.wall_ms)]
    assert kept(done) == [], "it is kept as it is"


def test_a_hand_whose_owner_does_not_come_goes_down() -> None:
    world = World(ROOMY)
    opened(world)
    entered(world, "ann", "owner")
    ben = entered(world, "ben")
    assert world.rooms.deadline_us() == RETURN_US
    assert kept(world.advance(RETURN_S - 1)) == []
    assert kept(world.advance(1)) == [HandLowered("cid")]
    entered(world, "cid")
    assert [who for who, _ in queue(world)] == [ben]
    assert world.rooms.deadline_us() is None


def test_a_hand_does_not_wait_longer_because_nobody_looks() -> None:
    world = World(ROOMY)
    opened(world, empty_s=10 * RETURN_S)
    world.us += RETURN_US
    assert kept(coming(world, "ben")) == [HandLowered("ben")], "as the tick comes a little late"
    assert queue(world) == []
    world.do(commands.Leave(next(iter(world.rooms.room(ROOM).participants)), "left"))
    assert kept(world.advance(0)) == [HandLowered("cid")], "in an empty room, too"
    assert [room.name for room in world.rooms.summaries()] == [ROOM]


def test_who_may_not_have_a_hand_up_any_more_loses_it() -> None:
    world = World(ROOMY)
    opened(world)
    done = coming(world, "ben", chat=False)
    assert kept(done) == [HandLowered("ben")]
    assert queue(world) == []


def test_a_hand_is_kept_and_goes_with_its_owner() -> None:
    world = World(ROOMY)
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    raised = kept(world.do(acts.RaiseHand(ben, True)))
    assert raised == [HandRaised(HandRecord("ben", 1, world.now.wall_ms))]
    assert kept(world.do(acts.RaiseHand(ben, True))) == []
    world.do(acts.RaiseHand(cid, True))
    assert kept(world.do(acts.CallOn(ann, ben))) == [HandLowered("ben"), TurnTaken("ben", 1)]
    assert kept(world.do(acts.CallOn(ann, ben))) == [TurnTaken("ben", 2)]
    world.do(acts.RaiseHand(ben, True))
    assert kept(world.do(acts.LowerHand(ann, ben))) == [HandLowered("ben")]
    assert world.do(acts.LowerHand(ann, ben)) == []
    assert kept(world.do(commands.Leave(cid, "timeout"))) == [HandLowered("cid")]
    world.do(acts.RaiseHand(ben, True))
    assert kept(world.do(acts.LowerHand(ann, None))) == [HandLowered(None)]


def test_who_replaces_itself_keeps_its_place() -> None:
    world = World(ROOMY)
    ben, cid = entered(world, "ben"), entered(world, "cid")
    for who in (ben, cid):
        world.do(acts.RaiseHand(who, True))
    done = coming(world, "ben")
    ben = only(done, effects.Welcome).participant.id
    assert [who for who, _ in queue(world)] == [ben, cid]
    assert told(done, HandsChanged)[-1][1].hands.queue[0].participant == ben
    assert kept(done) == []
    assert kept(coming(world, "ben", chat=False)) == [HandLowered("ben")]
    assert [who for who, _ in queue(world)] == [cid]


def test_lowering_all_hands_is_for_those_who_are_away_as_well() -> None:
    world = World(ROOMY)
    opened(world)
    ann = entered(world, "ann", "owner")
    assert kept(world.do(acts.LowerHand(ann, None))) == [HandLowered(None)]
    entered(world, "cid")
    assert queue(world) == []


def test_breakout_rooms_are_there_again_with_their_people() -> None:
    world = World(ROOMY)
    opened(world)
    ann = entered(world, "ann", "owner")
    room = world.rooms.room(ROOM)
    done = coming(world, "ben")
    assert only(done, effects.Welcome).participant.breakout == 2
    assert only(done, effects.Welcome).view.breakouts == GROUPS
    assert room.participants[ann].breakout is None
    assert room.participants[entered(world, "dan")].breakout is None, "there is no seventh"
    assert kept(world.do(acts.CloseBreakouts(ann))) == [BreakoutsClosed()]
    assert {each.breakout for each in room.participants.values()} == {None}


def test_every_change_of_breakout_rooms_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakout, "MAX_PLACES", 1)
    world = World(ROOMY)
    ann, ben, cid = entered(world, "ann", "owner"), entered(world, "ben"), entered(world, "cid")
    assert kept(world.do(acts.CloseBreakouts(ann))) == []
    assert kept(world.do(acts.OpenBreakouts(ann, ("One", "Two")))) == [BreakoutsOpened(GROUPS)]
    first = BreakoutId(1)
    moved = kept(world.do(acts.AssignBreakout(ann, (ben, cid), first)))
    assert moved == [BreakoutPlaced(("ben", "cid"), first)]
    assert kept(world.do(acts.AssignBreakout(ann, (ben, ann), first))) == [BreakoutPlaced(("ann",), first)]
    assert world.do(acts.AssignBreakout(ann, (ben,), first)) == []
    assert kept(world.do(acts.AssignBreakout(ann, (ann,), None))) == [BreakoutPlaced(("ann",), None)]
    assert kept(world.do(commands.Leave(ben, "left"))) == [], "its place is kept for it"
    forgotten = kept(world.do(commands.Leave(cid, "left")))
    assert forgotten == [BreakoutPlaced(("ben",), None)], "where there are too many"
    cid = entered(world, "cid")
    assert kept(world.do(acts.Remove(ann, cid))) == [BreakoutPlaced(("cid",), None)]


def test_what_stands_ends_with_the_room() -> None:
    world = World(ROOMY)
    opened(world)
    ann = entered(world, "ann", "owner")
    world.do(commands.Leave(ann, "left"))
    done = world.advance(30)
    assert kept(done) == [HandLowered(None), BreakoutsClosed()]
    assert only(done, effects.RoomClosed).room == ROOM
    opened(world, ClassHistory())
    assert kept(world.do(commands.CloseRoom(ROOM))) == []
