"""Telemetry that lasts: one row for each sample."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.store import Store
from sfu.store.tables import telemetry
from sfu.store.writes import Step

# The first value of a moment stays. SQLite has learnt this form from PostgreSQL.
_INSERT = insert(telemetry).on_conflict_do_nothing()
PAGE = 1000
"""Rows of an export that are in memory at once."""
PRUNED = 50_000
"""Rows deleted in one transaction: others wait to write meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    room: str
    identity: str
    series: str
    unit: str
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Of which samples; None is no limit. `from_ms` counts, `to_ms` does not any more."""

    room: str
    identity: str | None = None
    series: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


def added(samples: Iterable[StoredSample]) -> list[Step]:
    """A sample of a moment that its series has already changes nothing."""
    return [(_INSERT, asdict(sample)) for sample in samples]


async def pages(store: Store, wanted: Filter) -> AsyncIterator[list[Any]]:
    """Every sample in the order of its time, by pages: `identity`, `series`, `unit`, `at_ms`, `value`.

    No connection is held between pages: whoever reads them slowly keeps nobody else from the database. Raises
    `RequestError` `storage_failed`.
    """
    last: tuple[int, int] | None = None
    while True:
        query = (
            select(telemetry)
            .where(*_conditions(wanted))
            .order_by(telemetry.c.at_ms, telemetry.c.id)
            .limit(PAGE)
        )
        if last is not None:
            query = query.where(
                telemetry.c.at_ms >= last[0],
                (telemetry.c.at_ms > last[0]) | and_(telemetry.c.at_ms == last[0], telemetry.c.id > last[1]),
            )
        async with store.reading() as connection:
            page = list((await connection.execute(query)).all())
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = (page[-1].at_ms, page[-1].id)


async def prune(store: Store, room: str, most: int) -> int:
    """Delete the oldest samples of whoever has most in the room, until `most` are left.

    Returns how many went. Raises `RequestError` `storage_failed`.
    """
    count = func.count()
    query = (
        select(telemetry.c.identity, count)
        .where(telemetry.c.room == room)
        .group_by(telemetry.c.identity)
        .order_by(count.desc(), telemetry.c.identity)
    )
    async with store.reading() as connection:
        counts = {row[0]: int(row[1]) for row in (await connection.execute(query)).all()}
    gone = 0
    while (excess := sum(counts.values()) - most) > 0:
        identity = max(counts, key=lambda each: counts[each])
        part = min(excess, counts[identity], PRUNED)
        await store.writes.transact(partial(_delete_oldest, room=room, identity=identity, count=part))
        counts[identity] -= part
        gone += part
    return gone


async def _delete_oldest(connection: AsyncConnection, room: str, identity: str, count: int) -> None:
    oldest = (
        select(telemetry.c.id)
        .where(telemetry.c.room == room, telemetry.c.identity == identity)
        .order_by(telemetry.c.at_ms, telemetry.c.id)
        .limit(count)
    )
    await connection.execute(delete(telemetry).where(telemetry.c.id.in_(oldest)))


async def summary(
    connection: AsyncConnection, wanted: Filter, *, step_ms: int, limit: int
) -> list[dict[str, Any]]:
    """The last `limit` steps of each series that has any in them: how many samples, least, mean, greatest."""
    step = (telemetry.c.at_ms - telemetry.c.at_ms % step_ms).label("at_ms")
    by = (telemetry.c.identity, telemetry.c.series, telemetry.c.unit, step)
    query: Select[Any] = (
        select(
            *by,
            func.count().label("count"),
            func.min(telemetry.c.value).label("min"),
            func.avg(telemetry.c.value).label("mean"),
            func.max(telemetry.c.value).label("max"),
        )
        .where(*_conditions(wanted))
        .group_by(*by)
        .order_by(step.desc(), telemetry.c.identity, telemetry.c.series)
        .limit(limit)
    )
    found = [dict(row._mapping) for row in (await connection.execute(query)).all()]
    return found[::-1]


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions = [telemetry.c.room == wanted.room]
    if wanted.identity is not None:
        conditions.append(telemetry.c.identity == wanted.identity)
    if wanted.series is not None:
        conditions.append(telemetry.c.series == wanted.series)
    if wanted.from_ms is not None:
        conditions.append(telemetry.c.at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        conditions.append(telemetry.c.at_ms < wanted.to_ms)
    return conditions
