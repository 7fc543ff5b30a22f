"""Chat: reading it, searching it, writing from outside, taking a message out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from sfu.errors import RequestError
from sfu.extensions import Message
from sfu.room.chat import MAX_NEWS
from sfu.room.commands import OPERATOR, DeleteChat, SendChat
from sfu.server import chat, costs, requests
from sfu.server.api import schemas as s
from sfu.server.api.acting import from_outside, note
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.queries import Queries
from sfu.server.wire import Json
from sfu.store import messages


def endpoints(conference: Conference, characters: int) -> list[Endpoint]:
    path = "/rooms/{room}/messages"
    return [
        Endpoint(
            method="GET",
            path=path,
            summary="Messages the caller may read: the newest, those before or after one, or with a text",
            needs="follow",
            cost=Cost(us=1000),
            do=partial(_list, conference.queries),
            query={"before": s.NUMBER, "after": s.NUMBER, "text": s.SEARCH, "limit": s.LIMIT},
            answer=s.answer(messages=s.listing(s.MESSAGE), more=s.BOOLEAN),
            errors=("storage_failed",),
        ),
        Endpoint(
            method="POST",
            path=path,
            summary="Write to everybody in a room, an administrator as anybody; answered when it is durable",
            needs="moderate",
            cost=costs.TOLD_LATER,
            do=partial(_send, conference),
            status=201,
            body=s.closed(
                {"text": s.text(characters, 1, pattern="^[^\\u0000]*$")},
                {"identity": s.IDENTITY, "name": s.NAME},
            ),
            answer=s.MESSAGE,
            errors=("overloaded", "refused", "storage_failed"),
        ),
        Endpoint(
            method="DELETE",
            path=path + "/{message}",
            summary="Take a message out; an empty place stays",
            needs="moderate",
            cost=Cost(us=1000, person_us=costs.TOLD_US),
            do=partial(_delete, conference),
            answer=s.MESSAGE,
            errors=("overloaded", "storage_failed"),
        ),
    ]


async def _list(queries: Queries, call: Call) -> Json:
    query, who = call.query, call.caller.identity
    before, after, text = query.get("before"), query.get("after"), query.get("text")
    if after is not None and (before is not None or text is not None):
        raise RequestError("bad_request", "after excludes before and text")
    if text is not None and "\0" in text:
        raise RequestError("bad_request", "text has a NUL character")
    most = {"limit": query["limit"], "characters": MAX_NEWS}
    if text is not None:
        found = await queries.search(call.account, call.room, who, text, before=before, **most)
    else:
        async with queries.reading(call.account) as connection:
            found = await messages.page(connection, call.room, who, before=before, after=after, **most)
        await queries.read(call.account, found.rows, found.characters)
    return {"messages": [chat.to_wire(each) for each in found.messages], "more": found.more}


async def _send(conference: Conference, call: Call) -> Json:
    by = call.caller.actor
    by_whom = call
    another = {name: call.body[name] for name in ("identity", "name") if name in call.body}
    if another:
        if not call.caller.admin:
            raise RequestError("not_allowed", "only an administrator writes as another")
        caller = replace(call.caller, **{"name": another.get("identity", ""), **another})
        by_whom = replace(call, caller=caller)
    message = Message(
        room=call.room,
        participant=by or "",
        identity=by_whom.caller.identity,
        name=by_whom.caller.name or by_whom.caller.identity,
        text=requests.chat_text(call.body, conference.chat_characters),
        to=None,
    )
    text = await conference.asking.agreed(message)
    if another:
        note(conference, call, call.room, "chat", subject=call.body.get("identity", call.caller.identity))
    return await _kept(conference, by_whom, SendChat(by or OPERATOR, text))


async def _delete(conference: Conference, call: Call) -> Json:
    number = call.part("message")
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise RequestError("not_found", f"no message {number}")
    async with conference.queries.reading(call.account) as connection:
        found = await messages.one(connection, call.room, int(number))
    loaded = chat.to_room(found) if found is not None else None
    by = call.caller.actor
    return await _kept(conference, call, DeleteChat(by or OPERATOR, int(number), loaded))


async def _kept(conference: Conference, call: Call, command: SendChat | DeleteChat) -> Json:
    """Do it, and wait until it is durable."""
    done: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

    def answer(result: Json | RequestError) -> None:
        if done.done():
            return
        if isinstance(result, RequestError):
            done.set_exception(result)
        else:
            done.set_result(result["message"])

    outside = call.caller.actor is None
    conference.chat.keep(from_outside(call, command, call.room) if outside else command, answer)
    return await done
