"""What a caller does in a room: the same commands as over the WebSocket, by a participant or from outside."""

from __future__ import annotations

from typing import Any

from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.room.acts import FromOutside
from sfu.room.commands import OPERATOR, DeleteChat, Operate, SendChat
from sfu.server.api.endpoint import Call
from sfu.server.conference import Conference
from sfu.server.requests import IN_ROOM
from sfu.server.revocations import Kept
from sfu.server.wire import Json


def act(conference: Conference, call: Call, message: Json, *, room: RoomName | None = None) -> None:
    """Do what the message of docs/protocol.md asks. Raises `RequestError`; nothing has changed then."""
    wanted = IN_ROOM[message["type"]](message)
    command = wanted.by(call.caller.actor or OPERATOR)
    assert isinstance(command, FromOutside)
    inside = call.caller.actor is not None
    with conference.paid_by(call.account):
        conference.apply(command if inside else from_outside(call, command, room or call.room))


async def durable(kept: Kept) -> None:
    """Wait until it is. Raises `RequestError` `storage_failed`."""
    if (error := await kept) is not None:
        raise error


def note(conference: Conference, call: Call, room: RoomName, act: str, **detail: Any) -> None:
    """Say, to the audit log and other listeners, that the caller did what is no act of the room."""
    who = {"participant": call.caller.participant, "identity": call.caller.identity}
    who |= {"name": call.caller.name, "role": call.caller.role}
    conference.events.emit("moderated", room, {**who, "act": act, **detail})


def only_owner(call: Call, what: str) -> None:
    """Raises `RequestError` `not_allowed`. An administrator is one everywhere."""
    if call.caller.role != "owner":
        raise RequestError("not_allowed", f"only an owner may {what}")


def from_outside(call: Call, command: FromOutside | SendChat | DeleteChat, room: RoomName) -> Operate:
    """`command`, whose participant is `OPERATOR`, by somebody who acts from outside the room."""
    caller = call.caller
    return Operate(
        room=room,
        identity=caller.identity,
        name=caller.name or caller.identity,
        role=caller.role,
        grants=caller.grants,
        command=command,
    )
