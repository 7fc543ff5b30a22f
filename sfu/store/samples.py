"""Telemetry that lasts: one row for each sample."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.store import Store
from sfu.store.tables import telemetry
from sfu.store.writes import Step as WriteStep

# The first value of a moment stays. SQLite has learnt this form from PostgreSQL.
_INSERT = insert(telemetry).on_conflict_do_nothing()
PAGE = 1000
"""Rows of an export that are in memory at once."""
PRUNED = 50_000
"""Rows deleted in one transaction: others wait to write meanwhile."""


Reading = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Gives a connection for queries."""


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


def added(samples: Iterable[StoredSample]) -> list[WriteStep]:
    """A sample of a moment that its series has already changes nothing."""
    return [(_INSERT, asdict(sample)) for sample in samples]


async def pages(reading: Reading, wanted: Filter) -> AsyncIterator[list[Any]]:
    """Every sample in the order of its time, by pages: `identity`, `series`, `unit`, `at_ms`, `value`.

    No connection is held between pages: whoever reads them slowly keeps nobody else from the database. Raises
    what `reading` does.
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
        async with reading() as connection:
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


async def since(connection: AsyncConnection, wanted: Filter, rows: int) -> int | None:
    """The time from which the last `rows` samples on are, None where there are not so many.

    They are counted where the index finds them one after the other: in the room, or in one series.
    """
    counted = wanted if wanted.identity and wanted.series else replace(wanted, identity=None, series=None)
    query = (
        select(telemetry.c.at_ms)
        .where(*_conditions(counted))
        .order_by(telemetry.c.at_ms.desc())
        .offset(rows)
        .limit(1)
    )
    found: int | None = await connection.scalar(query)
    return found


@dataclass(slots=True)
class Step:
    """Some samples of a series in one step of time."""

    count: int
    min: float
    max: float
    sum: float

    def add(self, other: Step) -> None:
        self.count += other.count
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        self.sum += other.sum


StepKey = tuple[int, str, str, str]
"""When it begins, whose, which series, in what unit."""


async def steps(
    connection: AsyncConnection, wanted: Filter, *, step_ms: int, limit: int
) -> dict[StepKey, Step]:
    """The samples, summed up in steps: the last `limit` of all series."""
    at_ms = (telemetry.c.at_ms - telemetry.c.at_ms % step_ms).label("at_ms")
    by = (at_ms, telemetry.c.identity, telemetry.c.series, telemetry.c.unit)
    value = telemetry.c.value
    query: Select[Any] = (
        select(*by, func.count(), func.min(value), func.max(value), func.sum(value))
        .where(*_conditions(wanted))
        .group_by(*by)
        .order_by(at_ms.desc(), *by[1:])
        .limit(limit)
    )
    return {tuple(row[:4]): Step(*row[4:]) for row in (await connection.execute(query)).all()}


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
