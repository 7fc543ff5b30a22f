"""Participants: who is there, and what may be done to them."""

from __future__ import annotations

from functools import partial
from typing import Any

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room import following, visibility
from sfu.server import class_wire, costs, wire
from sfu.server.api import schemas as s
from sfu.server.api.acting import act, durable, note
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.wire import Json


def endpoints(conference: Conference) -> list[Endpoint]:
    everybody, one = "/rooms/{room}/participants", "/rooms/{room}/participants/{participant}"
    return [
        Endpoint(
            method="GET",
            path=everybody,
            summary="Who is in a room, in the order they came, from the one after `after`",
            needs="inside",
            cost=Cost(us=500, person_us=costs.SEEN_US),
            do=partial(_list, conference),
            query={"after": s.ID, "limit": s.PAGE},
            answer=s.answer(participants=s.listing(s.PARTICIPANT)),
        ),
        Endpoint(
            method="GET",
            path=one,
            summary="A participant",
            needs="inside",
            cost=Cost(us=300, person_us=costs.SEEN_US),
            do=partial(_get, conference),
            answer=s.PARTICIPANT,
        ),
        Endpoint(
            method="PATCH",
            path=one,
            summary="Change one thing of a participant: its role, rights, or breakout room (null: back)",
            needs="moderate",
            cost=Cost(us=600, each_us=200, person_us=costs.SEEN_US),
            do=partial(_set, conference),
            # One, because a second that is refused could not take the first back.
            body={
                **s.closed(
                    {}, {"role": s.ROLE, "grants": s.GRANTS, "breakout": s.nullable(s.integer(1, 1000))}
                ),
                "minProperties": 1,
                "maxProperties": 1,
            },
            answer=s.PARTICIPANT,
            errors=("bad_state",),
        ),
        Endpoint(
            method="DELETE",
            path=one,
            summary="Remove a participant, which stays out; with `revoke` its token opens nothing any more",
            needs="moderate",
            cost=Cost(us=600, person_us=costs.SEEN_US),
            do=partial(_remove, conference),
            query={"revoke": {**s.BOOLEAN, "default": False}},
            answer=s.answer(),
            errors=("bad_state", "overloaded", "storage_failed"),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/removed",
            summary="Who was removed from a room and stays out, the last one first",
            needs="moderate",
            cost=Cost(us=500),
            do=partial(_removed, conference),
            answer=s.answer(removed=s.listing(s.answer(identity={"type": "string"}, at_ms=s.TIME_MS))),
        ),
        Endpoint(
            method="POST",
            path="/rooms/{room}/readmit",
            summary="Let somebody come back who was removed",
            needs="moderate",
            cost=costs.KEPT,
            do=partial(_readmit, conference),
            body=s.closed({"identity": s.IDENTITY}),
            answer=s.answer(),
            errors=("overloaded", "storage_failed"),
        ),
        Endpoint(
            method="POST",
            path=one + "/mute",
            summary="Mute what a participant publishes of a source",
            needs="moderate",
            cost=Cost(us=600, person_us=costs.SEEN_US),
            do=partial(_mute, conference),
            body=s.closed({}, {"source": s.SOURCE}),
            answer=s.PARTICIPANT,
        ),
        Endpoint(
            method="POST",
            path="/rooms/{room}/mute",
            summary="Mute a source of everybody who does not moderate",
            needs="moderate",
            cost=Cost(us=300, person_us=costs.TOLD_US),
            do=partial(_mute_all, conference),
            body=s.closed({}, {"source": s.SOURCE}),
            answer=s.answer(),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/lobby",
            summary="Who waits to be let in",
            needs="moderate",
            cost=costs.SMALL,
            do=partial(_lobby, conference),
            answer=s.answer(
                waiting=s.listing(
                    s.answer(
                        id=s.ID,
                        name={"type": "string"},
                        name_key={"type": "string"},
                        since_ms=s.TIME_MS,
                    )
                )
            ),
        ),
        Endpoint(
            method="POST",
            path="/rooms/{room}/lobby/{waiting}",
            summary="Let somebody in who waits, or do not",
            needs="moderate",
            cost=Cost(us=4000, person_us=costs.SEEN_US),
            do=partial(_admit, conference),
            body=s.closed({"admit": s.BOOLEAN}),
            answer=s.answer(),
            errors=("room_full",),
        ),
    ]


def _seen(conference: Conference, call: Call) -> dict[str, Json]:
    grants = call.caller.grants
    room = conference.core.room(call.room, grants)
    return {
        each.id: wire.participant(following.seen(each.view(), grants))
        for each in room.participants.values()
        if visibility.sees(grants, each, call.caller.participant)
    }


async def _list(conference: Conference, call: Call) -> Json:
    people = list(_seen(conference, call).values())
    if after := call.query.get("after"):
        ids = [each["id"] for each in people]
        if after not in ids:
            raise RequestError("not_found", "no such participant")
        people = people[ids.index(after) + 1 :]
    return {"participants": people[: call.query["limit"]]}


async def _get(conference: Conference, call: Call) -> Json:
    found = _seen(conference, call).get(call.part("participant"))
    if found is None:
        raise RequestError("not_found", "no such participant")
    return found


async def _set(conference: Conference, call: Call) -> Json:
    target: dict[str, Any] = {"participant": (await _get(conference, call))["id"]}
    if "role" in call.body:
        act(conference, call, {"type": "set_role", **target, "role": call.body["role"]})
    if call.body.get("grants"):
        act(conference, call, {"type": "set_grants", **target, "grants": call.body["grants"]})
    if "breakout" in call.body:
        move = {"participants": [target["participant"]], "breakout": call.body["breakout"]}
        act(conference, call, {"type": "assign_breakout", **move})
    return await _get(conference, call)


async def _remove(conference: Conference, call: Call) -> Json:
    target = ParticipantId((await _get(conference, call))["id"])
    jti, expires_s = conference.token_of(target)
    if call.query["revoke"] and not jti:
        raise RequestError("bad_state", "its token has no id and cannot be revoked")
    act(conference, call, {"type": "remove", "participant": target})
    removed = conference.access.removals.last
    assert removed is not None
    revoked = conference.revoke(jti, expires_s) if call.query["revoke"] else removed
    await durable(removed)
    await durable(revoked)
    return {}


async def _removed(conference: Conference, call: Call) -> Json:
    found = conference.access.removals.of_room(call.room, call.caller.grants)
    return {"removed": [{"identity": each.identity, "at_ms": each.at_ms} for each in found]}


async def _readmit(conference: Conference, call: Call) -> Json:
    identity = call.body["identity"]
    await durable(conference.access.removals.lift(call.room, identity, call.caller.grants))
    note(conference, call, call.room, "readmit", subject=identity)
    return {}


async def _mute(conference: Conference, call: Call) -> Json:
    target = (await _get(conference, call))["id"]
    act(conference, call, {"type": "mute_participant", "participant": target, **call.body})
    return await _get(conference, call)


async def _mute_all(conference: Conference, call: Call) -> Json:
    act(conference, call, {"type": "mute_all", **call.body})
    return {}


async def _lobby(conference: Conference, call: Call) -> Json:
    grants = call.caller.grants
    return {"waiting": class_wire.lobby(conference.core.room(call.room, grants).lobby.views(grants))}


async def _admit(conference: Conference, call: Call) -> Json:
    kind = "admit" if call.body["admit"] else "deny"
    act(conference, call, {"type": kind, "waiting": call.part("waiting")})
    return {}
