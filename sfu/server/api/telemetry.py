"""Telemetry of the past: as summaries over steps of time, and every sample as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from sfu.ids import ParticipantId
from sfu.server import costs, telemetry_wire
from sfu.server.api import schemas as s
from sfu.server.api.acting import act
from sfu.server.api.endpoint import Call, Endpoint
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.csv_cells import cell
from sfu.server.exports import Exports
from sfu.server.fairness import Account
from sfu.server.queries import Queries
from sfu.server.telemetry_wire import LARGEST, MAX_NAME
from sfu.server.tokens import MAX_IDENTITY
from sfu.server.wire import Json
from sfu.store import samples
from sfu.store.samples import Filter
from sfu.store.store import Store

COLUMNS = ("time", "identity", "series", "value", "unit")
DAY_MS = 86_400_000
MAX_STEPS = 2000

_FILTER = {
    "identity": s.text(MAX_IDENTITY, 1),
    "series": s.text(MAX_NAME, 1),
    "from_ms": s.NUMBER,
    "to_ms": s.NUMBER,
}


_LIMIT = s.nullable({"type": "number", "minimum": -LARGEST, "maximum": LARGEST})
_SERIES = s.answer(
    name={"type": "string"},
    title={"type": "string"},
    unit={"type": "string"},
    low=_LIMIT,
    high=_LIMIT,
    hysteresis={"type": "number"},
    silent_s=s.nullable({"type": "number"}),
)


def endpoints(conference: Conference, store: Store) -> list[Endpoint]:
    one = "/rooms/{room}/participants/{participant}/telemetry/{series}"
    return [
        Endpoint(
            method="PATCH",
            path=one,
            summary="Say where the alarms of a series are (null: nowhere), for good",
            needs="moderate",
            cost=costs.KEPT,
            do=partial(_set_thresholds, conference, store),
            body=s.closed({"low": _LIMIT, "high": _LIMIT}),
            answer=_SERIES,
        ),
        Endpoint(
            method="POST",
            path=one + "/acknowledge",
            summary="Say that the alarm of a series was seen",
            needs="moderate",
            cost=costs.SMALL,
            do=partial(_acknowledge, conference),
            answer=s.answer(),
            errors=("bad_state",),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/telemetry",
            summary="Series over time, summed up in steps; of closed rooms too",
            needs="moderate",
            cost=Cost(us=1000),
            do=partial(_summary, conference.queries),
            query={
                **_FILTER,
                "step_ms": s.integer(1, DAY_MS, default=1000),
                "limit": s.integer(1, MAX_STEPS, default=MAX_STEPS),
            },
            answer=s.answer(
                steps=s.listing(
                    s.answer(
                        identity={"type": "string"},
                        series={"type": "string"},
                        unit={"type": "string"},
                        at_ms=s.TIME_MS,
                        count=s.NUMBER,
                        min={"type": "number"},
                        mean={"type": "number"},
                        max={"type": "number"},
                    )
                )
            ),
            errors=("storage_failed",),
        ),
        Endpoint(
            method="GET",
            path="/rooms/{room}/telemetry.csv",
            summary="Every sample, in the order of time; of closed rooms too",
            needs="moderate",
            cost=Cost(us=1000),
            do=partial(_csv, conference.queries, Exports()),
            query=_FILTER,
            media_type="text/csv",
            errors=("storage_failed", "overloaded"),
        ),
    ]


def _filter(call: Call) -> Filter:
    return Filter(room=call.room, **{name: call.query.get(name) for name in _FILTER})


async def _set_thresholds(conference: Conference, store: Store, call: Call) -> Json:
    act(conference, call, {"type": "telemetry_thresholds", **_target(call), **call.body})
    await store.writes.flush()
    participant = ParticipantId(call.part("participant"))
    return telemetry_wire.series(
        conference.core.room(call.room, call.caller.grants).telemetry.series(participant, call.part("series"))
    )


async def _acknowledge(conference: Conference, call: Call) -> Json:
    act(conference, call, {"type": "alarm_acknowledge", **_target(call)})
    return {}


def _target(call: Call) -> Json:
    return {"participant": call.part("participant"), "series": call.part("series")}


async def _summary(queries: Queries, call: Call) -> Json:
    found = await queries.summary(
        call.account, _filter(call), step_ms=call.query["step_ms"], limit=call.query["limit"]
    )
    return {"steps": found}


async def _csv(queries: Queries, exports: Exports, call: Call) -> web.StreamResponse:
    """Page by page: a month of samples is never in memory at once."""
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="telemetry.csv"',
    }
    return await exports.send(call.request, call.room, headers, _parts(queries, call.account, _filter(call)))


async def _parts(queries: Queries, account: Account, wanted: Filter) -> AsyncIterator[bytes]:
    head = ("\ufeff" + _lines([COLUMNS])).encode()
    async for page in samples.pages(lambda: queries.reading(account), wanted):
        await queries.read(account, len(page))
        yield head + _page(page)
        head = b""
    if head:
        yield head


def _page(rows: Iterable[Any]) -> bytes:
    return _lines(
        (_time(row.at_ms), cell(row.identity), cell(row.series), repr(row.value), cell(row.unit))
        for row in rows
    ).encode()


def _lines(rows: Iterable[Iterable[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds")
