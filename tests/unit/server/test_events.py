"""The stream of what happens in rooms."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from test_conference import World

from sfu.ids import RoomName
from sfu.room import acts, commands
from sfu.room.model import ChatMessage, Instant, SessionKey
from sfu.room.permissions import GrantChanges, Grants
from sfu.server import wire
from sfu.server.events import Events, RoomEvent

ROOM = RoomName("r")


def heard(events: Events) -> list[RoomEvent]:
    kept: list[RoomEvent] = []
    events.listen(kept.append)
    return kept


def message(to: str | None) -> ChatMessage:
    values: dict[str, Any] = {
        "id": 1, "rev": 1, "sender": "PA_1", "identity": "ann", "name": "Ann", "text": "hello", "to": to,
        "to_identity": None if to is None else "ben", "mentions": (), "sent_at_ms": 5,
    }  # fmt: skip
    return ChatMessage(**values)


async def test_a_call_from_its_beginning_to_its_end() -> None:
    world = World()
    events = heard(world.conference.events)
    ann, _ = world.join("Ann")
    publication = world.publish(ann)
    ben, _ = world.join("Ben")
    world.conference.leave(ben, "left")
    world.conference.leave(ann, "left")
    assert [(each.type, each.data.get("name")) for each in events] == [
        ("room_started", None),
        ("participant_joined", "Ann"),
        ("published", "Ann"),
        ("participant_joined", "Ben"),
        ("participant_left", "Ben"),
        ("unpublished", "Ann"),
        ("participant_left", "Ann"),
    ]
    assert events[2].data["publication"]["id"] == publication
    assert events[4].data["reason"] == "left"
    assert {each.room for each in events} == {ROOM}
    assert len({each.id for each in events}) == len(events)
    for each in events:
        json.dumps(dict(each.data))


async def test_acts_name_who_and_whom() -> None:
    world = World()
    ann, _ = world.join("Ann")
    ben, _ = world.join("Ben")
    events = heard(world.conference.events)
    for act in (
        acts.RaiseHand(ben.id, True),
        acts.CallOn(ann.id, ben.id),
        acts.RaiseHand(ben.id, True),
        acts.LowerHand(ann.id, None),
        acts.MuteOthers(ann.id, None, "microphone"),
        acts.SetGrants(ann.id, ben.id, GrantChanges(chat=False)),
        acts.Remove(ann.id, ben.id),
    ):
        world.conference.apply(act)
    told = [(each.type, each.data["act"], each.data["name"]) for each in events if "act" in each.data]
    assert told == [
        ("hand", "raise_hand", "Ben"),
        ("hand", "call_on", "Ann"),
        ("hand", "raise_hand", "Ben"),
        ("hand", "lower_hand", "Ann"),
        ("moderated", "mute_all", "Ann"),
        ("moderated", "set_grants", "Ann"),
        ("moderated", "remove", "Ann"),
    ]
    assert events[5].data["target"] == ben.id
    assert events[5].data["changes"] == {"chat": False}


async def test_hands_are_told_of_where_they_changed_whoever_did_it() -> None:
    world = World()
    ben, _ = world.join("Ben")
    events = heard(world.conference.events)

    def outside(act: acts.FromOutside) -> commands.Operate:
        grants = Grants(moderate=True)
        return commands.Operate(
            room=ROOM, identity="server", name="Server", role="owner", grants=grants, command=act
        )

    for command in (
        acts.RaiseHand(ben.id, True),
        acts.RaiseHand(ben.id, True),
        outside(acts.LowerHand(commands.OPERATOR, ben.id)),
        outside(acts.LowerHand(commands.OPERATOR, None)),
        acts.RaiseHand(ben.id, False),
        outside(acts.CallOn(commands.OPERATOR, ben.id)),
    ):
        world.conference.apply(command)
    assert [(each.data["act"], each.data["name"], each.data.get("target")) for each in events] == [
        ("raise_hand", "Ben", None),
        ("lower_hand", "Server", ben.id),
        ("call_on", "Server", ben.id),
    ]


async def test_a_recording_is_told_with_its_end() -> None:
    world = World()
    ann, _ = world.join("Ann")
    events = heard(world.conference.events)
    for on in (True, True, False, True):
        world.conference.apply(acts.SetRecording(ann.id, on))
    world.conference.leave(ann, "left")
    told = [(each.type, each.data.get("on")) for each in events]
    assert told == [
        ("recording", True), ("recording", False), ("recording", True), ("recording", False),
        ("participant_left", None),
    ]  # fmt: skip


async def test_a_recording_ends_with_the_server_however_that_ends() -> None:
    world = World()
    ann, _ = world.join("Ann")
    world.conference.apply(acts.SetRecording(ann.id, True))
    events = heard(world.conference.events)
    world.conference.events.close()
    ben = {"id": "PA_ben", "room": "s", "identity": "ben", "name": "Ben", "recording": True}
    cid = {**ben, "id": "PA_cid", "identity": "cid", "name": "Cid", "recording": False}
    world.conference.events.crashed([ben, cid])
    told = [
        (each.type, each.data.get("name"), each.data.get("on"), each.data.get("reason")) for each in events
    ]
    assert told == [
        ("recording", "Ann", False, "shutdown"), ("participant_left", "Ann", None, "shutdown"),
        ("room_ended", None, None, None),
        ("recording", "Ben", False, "crashed"), ("participant_left", "Ben", None, "crashed"),
        ("participant_left", "Cid", None, "crashed"), ("room_ended", None, None, None),
    ]  # fmt: skip


async def test_who_comes_back_with_its_hand_up_is_told_to_have_raised_it() -> None:
    world = World()
    ann, _ = world.join("Ann")
    identity = world.conference.core.room(ROOM).participants[ann.id].identity
    world.conference.apply(acts.RaiseHand(ann.id, True))
    events = heard(world.conference.events)
    join = commands.Join(session=SessionKey(9), room=ROOM, name="Ann", identity=identity)
    for effect in world.conference.core.apply(join, Instant(1, 1)):
        world.conference.events.effect(effect)
    assert [(each.type, each.data.get("act")) for each in events] == [
        ("participant_left", None), ("participant_joined", None), ("hand", "raise_hand"),
    ]  # fmt: skip
    assert events[2].data["participant"] == events[1].data["participant"] != ann.id


async def test_a_message_is_told_when_it_is_durable_and_a_direct_one_without_its_text() -> None:
    world = World()
    ann, _ = world.join("Ann")
    events = heard(world.conference.events)
    for to in (None, "PA_2"):
        world.conference.apply(commands.ChatStored(ROOM, message(to), "added", ann.id))
    world.conference.apply(commands.ChatStored(ROOM, message(None), "reacted", ann.id))
    assert [(each.type, each.data["message"]["text"]) for each in events] == [
        ("message", "hello"),
        ("message", ""),
    ]
    assert events[0].data["message"] == wire.chat_message(message(None))


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events(random.Random(1))

    def fail(event: RoomEvent) -> None:
        raise ZeroDivisionError

    events.listen(fail)
    kept = heard(events)
    events.emit("alarm", ROOM, {"value": 1})
    assert [each.type for each in kept] == ["alarm"]
    assert "a listener failed" in caplog.text
