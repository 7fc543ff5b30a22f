"""What is written down: sessions, attendance, the audit log, statistics."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from sfu import clock
from sfu.server import attendance_report
from sfu.server.api import schemas as s
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.queries import Queries
from sfu.server.wire import Json
from sfu.store import people

LINES = s.integer(1, s.MAX_PAGE, default=100)
_OUR_OWN = {"hidden", "recording"}
"""What is written of a session for the server itself."""


def endpoints(conference: Conference) -> list[Endpoint]:
    return [
        Endpoint(
            method="GET",
            path="/stats",
            summary="Counts of the whole server; in development mode for everybody",
            needs="admin" if conference.access.guarded else "nothing",
            cost=Cost(us=1000),
            do=partial(_counts, conference),
            answer=s.answer(
                rooms=s.NUMBER,
                participants=s.NUMBER,
                sessions=s.NUMBER,
                publications=s.NUMBER,
                telemetry_lost=s.NUMBER,
                webhooks=s.answer(
                    delivered=s.NUMBER,
                    failed=s.NUMBER,
                    refused=s.NUMBER,
                    dropped=s.NUMBER,
                    waiting=s.NUMBER,
                ),
                extensions=s.answer(
                    calls=s.NUMBER, failures=s.NUMBER, dropped=s.NUMBER, switched_off=s.NUMBER
                ),
            ),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/stats",
            summary="What each participant sends and gets, and why; their addresses for administrators",
            needs="moderate",
            cost=Cost(us=500),
            do=partial(_stats, conference),
            answer=s.answer(participants=s.listing(s.answer(participant=s.ID))),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/attendance.csv",
            summary="Who was in a room that is open, from when to when",
            needs="moderate",
            cost=Cost(us=500),
            do=partial(_attendance, conference),
            media_type="text/csv",
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/sessions",
            summary="A room's sessions, newest first: who, when, why they left; of closed rooms too",
            needs="moderate",
            cost=Cost(us=1000),
            do=partial(_sessions, conference.queries),
            query={"before_ms": s.NUMBER, "before": s.CURSOR, "limit": LINES},
            answer=s.answer(sessions=s.listing(s.SESSION)),
            errors=("storage_failed",),
        ),
        Endpoint(
            method="GET",
            path="/audit",
            summary="Who changed what for others, newest first",
            needs="admin",
            cost=Cost(us=1000),
            do=partial(_audit, conference.queries),
            query={"room": s.ROOM, "before": s.NUMBER, "limit": LINES},
            answer=s.answer(
                entries=s.listing(
                    s.answer(
                        id=s.NUMBER,
                        at_ms=s.TIME_MS,
                        room={"type": "string"},
                        identity={"type": "string"},
                        action={"type": "string"},
                        detail=s.ANYTHING,
                    )
                )
            ),
            errors=("storage_failed",),
        ),
    ]


async def _counts(conference: Conference, call: Call) -> Json:
    return conference.counts()


async def _stats(conference: Conference, call: Call) -> Json:
    caller = call.caller
    told = await conference.room_stats(
        call.room, caller.grants, caller.participant, call.account, addresses=caller.admin
    )
    return {"participants": told}


async def _attendance(conference: Conference, call: Call) -> web.Response:
    visits = conference.core.room(call.room, call.caller.grants).attendance.visits()
    return web.Response(
        text="\ufeff" + attendance_report.to_csv(visits, clock.wall_ms()),
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": 'attachment; filename="attendance.csv"'},
    )


async def _sessions(queries: Queries, call: Call) -> Json:
    async with queries.reading(call.account) as connection:
        rows = await people.attendance(
            connection,
            call.room,
            limit=call.query["limit"],
            before=call.cursor(),
            hidden=call.caller.grants.see_hidden,
        )
    await queries.read(call.account, len(rows))
    renamed = {"joined_ms": "joined_at_ms", "left_ms": "left_at_ms"}
    told = [{name: value for name, value in row.items() if name not in _OUR_OWN} for row in rows]
    return {"sessions": [{renamed.get(name, name): value for name, value in row.items()} for row in told]}


async def _audit(queries: Queries, call: Call) -> Json:
    query = call.query
    async with queries.reading(call.account) as connection:
        rows = await people.audit_log(
            connection, room=query.get("room"), limit=query["limit"], before=query.get("before")
        )
    await queries.read(call.account, len(rows))
    return {"entries": rows}
