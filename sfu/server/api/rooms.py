"""Rooms: which there are, their settings, their end."""

from __future__ import annotations

from functools import partial

from sfu.ids import RoomName
from sfu.room import commands, views, visibility
from sfu.room.room import Room
from sfu.server import class_wire, costs
from sfu.server.api import schemas as s
from sfu.server.api.acting import act, note, only_owner
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.wire import Json

MAX_KEEP_S = 86_400
_SETTINGS = frozenset({"locked", "lobby", "silenced"})


def endpoints(conference: Conference) -> list[Endpoint]:
    room = "/rooms/{room}"
    return [
        Endpoint(
            method="GET",
            path="/rooms",
            summary="The rooms that are open, by name, from the one after `after`",
            needs="server",
            cost=Cost(us=1000),
            do=partial(_list, conference),
            query={"after": s.ROOM, "limit": s.PAGE},
            answer=s.answer(rooms=s.listing(s.ROOM_SUMMARY)),
        ),
        Endpoint(
            method="POST",
            path="/rooms",
            summary="Open a room; it stays for `keep_s` seconds without anybody in it",
            needs="admin",
            cost=Cost(us=4000),
            do=partial(_open, conference),
            status=201,
            body=s.closed(
                {"name": s.ROOM},
                {
                    "template": s.TEMPLATE,
                    "locked": s.BOOLEAN,
                    "lobby": s.BOOLEAN,
                    "silenced": s.BOOLEAN,
                    "keep_s": s.integer(0, MAX_KEEP_S),
                },
            ),
            answer=s.ROOM_VIEW,
            errors=("too_many_rooms", "bad_state", "storage_failed"),
        ),
        Endpoint(
            method="GET",
            path=room,
            summary="A room that is open",
            needs="inside",
            cost=costs.SMALL,
            do=partial(_get, conference),
            answer=s.ROOM_VIEW,
        ),
        Endpoint(
            method="PATCH",
            path=room,
            summary="Lock a room, open its lobby, silence its students, or show somebody large to all",
            needs="moderate",
            cost=costs.KEPT,
            do=partial(_set, conference),
            body=s.closed(
                {},
                {
                    "locked": s.BOOLEAN,
                    "lobby": s.BOOLEAN,
                    "silenced": s.BOOLEAN,
                    "spotlight": s.nullable(s.closed({"participant": s.ID}, {"publication": s.ID})),
                },
            ),
            answer=s.ROOM_VIEW,
        ),
        Endpoint(
            method="DELETE",
            path=room,
            summary="Close a room: everybody in it is removed. For owners",
            needs="moderate",
            cost=Cost(us=1000, person_us=100),
            do=partial(_close, conference),
            answer=s.answer(removed=s.NUMBER),
        ),
        Endpoint(
            method="POST",
            path=room + "/broadcast",
            summary="Show a text to everybody in the room and its breakout rooms",
            needs="moderate",
            cost=costs.SMALL,
            do=partial(_broadcast, conference),
            body=s.closed({"text": s.text(500, 1)}),
            answer=s.answer(),
        ),
        Endpoint(
            method="POST",
            path=room + "/breakouts",
            summary="Open breakout rooms of these names",
            needs="moderate",
            cost=Cost(us=500, each_us=10),
            do=partial(_breakouts, conference),
            body=s.closed({"names": s.listing(s.text(64, 1), minItems=1, maxItems=50)}),
            answer=s.ROOM_VIEW,
            errors=("bad_state",),
        ),
        Endpoint(
            method="DELETE",
            path=room + "/breakouts",
            summary="Call everybody back and close the breakout rooms",
            needs="moderate",
            cost=Cost(us=400, person_us=costs.SEEN_US),
            do=partial(_call_back, conference),
            answer=s.ROOM_VIEW,
        ),
    ]


def view(room: Room) -> Json:
    """All that is to be said of a room, to who is in it."""
    return {**class_wire.room(views.room_view(room)), **summary(room)}


def summary(room: Room) -> Json:
    """What may be known of a room by who could join it."""
    return {
        "name": room.name,
        "template": room.template.name,
        "locked": room.locked,
        "lobby": room.lobby.on,
        "participants": len(visibility.known_to_all(room.participants.values())),
        "publications": sum(len(each.publications) for each in room.participants.values()),
    }


async def _list(conference: Conference, call: Call) -> Json:
    after = call.query.get("after", "")
    names = [
        each.name
        for each in conference.core.summaries(call.caller.grants)
        if each.name > after and call.caller.room in {None, each.name}
    ]
    return {"rooms": [summary(conference.core.room(name)) for name in names[: call.query["limit"]]]}


async def _open(conference: Conference, call: Call) -> Json:
    name = RoomName(call.body["name"])
    await conference.open_room(
        name, template=call.body.get("template"), empty_us=call.body.get("keep_s", 0) * 1_000_000
    )
    note(conference, call, name, "open_room")
    if settings := {key: value for key, value in call.body.items() if key in _SETTINGS}:
        act(conference, call, {"type": "set_room", **settings}, room=name)
    return view(conference.core.room(name))


async def _get(conference: Conference, call: Call) -> Json:
    return view(conference.core.room(call.room, call.caller.grants))


async def _set(conference: Conference, call: Call) -> Json:
    # What may be refused comes first, so that a refusal has changed nothing.
    if "spotlight" in call.body:
        act(conference, call, {"type": "spotlight", **(call.body["spotlight"] or {})})
    if settings := {key: value for key, value in call.body.items() if key in _SETTINGS}:
        act(conference, call, {"type": "set_room", **settings})
    return await _get(conference, call)


async def _close(conference: Conference, call: Call) -> Json:
    only_owner(call, "close a room")
    grants = call.caller.grants
    people = conference.core.room(call.room, grants).participants.values()
    removed = sum(visibility.sees(grants, each, call.caller.participant) for each in people)
    note(conference, call, call.room, "close_room")
    with conference.paid_by(call.account):
        conference.apply(commands.CloseRoom(call.room))
    return {"removed": removed}


async def _broadcast(conference: Conference, call: Call) -> Json:
    act(conference, call, {"type": "broadcast", **call.body})
    return {}


async def _breakouts(conference: Conference, call: Call) -> Json:
    act(conference, call, {"type": "open_breakouts", **call.body})
    return await _get(conference, call)


async def _call_back(conference: Conference, call: Call) -> Json:
    act(conference, call, {"type": "close_breakouts"})
    return await _get(conference, call)
