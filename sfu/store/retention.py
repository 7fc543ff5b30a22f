"""What is older than it may be goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu import clock
from sfu.store import classwork, properties
from sfu.store.store import Store
from sfu.store.tables import (
    audit,
    breakout_places,
    breakouts,
    files,
    hands,
    messages,
    polls,
    questions,
    reactions,
    read_positions,
    rooms,
    sessions,
    strokes,
    telemetry,
    thresholds,
    turns,
    users,
)
from sfu.store.writes import Writes

_AGED = (
    sessions.c.joined_ms,
    reactions.c.at_ms,
    read_positions.c.at_ms,
    questions.c.asked_ms,
    polls.c.opened_ms,
    strokes.c.at_ms,
    turns.c.at_ms,
    hands.c.raised_ms,
    breakouts.c.opened_ms,
    breakout_places.c.at_ms,
    thresholds.c.at_ms,
    telemetry.c.at_ms,
    audit.c.at_ms,
    files.c.created_ms,
    messages.c.sent_ms,
    users.c.last_seen_ms,
)
"""Each table's column that says how old a row is."""


PORTION = 2_000
"""Rows deleted in one transaction: others wait to write meanwhile."""


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows of which tables are gone, and the hashes of contents that files had among them."""

    counts: Counter[str]
    hashes: list[str]


async def expire(store: Store, before_ms: int) -> Expired:
    """Delete everything from before `before_ms` (Unix milliseconds), in portions that let others write.

    A room keeps its counter, so that ids go on, and forgets what it was; one that has nothing else is gone.
    Raises `RequestError` `storage_failed`: what is gone until then is gone.
    """
    writes = store.writes
    hashes = await writes.transact(partial(_expiring_contents, before_ms=before_ms))
    await writes.transact(partial(_keep_heads, before_ms=before_ms))
    counts: Counter[str] = Counter()
    for column in _AGED:
        counts[column.table.name] += await _delete(writes, column.table, column < before_ms)
    await _delete_orphans(store)
    counts[rooms.name] = await _forget_rooms(writes, before_ms)
    return Expired(+counts, hashes)


async def expire_telemetry(writes: Writes, before_ms: int) -> int:
    """Delete samples from before `before_ms` (Unix milliseconds), in portions; how many they were.

    Raises `RequestError` `storage_failed`.
    """
    return await _delete(writes, telemetry, telemetry.c.at_ms < before_ms)


async def _delete(writes: Writes, table: Table, condition: ColumnElement[bool]) -> int:
    """Half of the time at most is spent here: others write in the other half."""
    keys = [*table.primary_key]
    key = keys[0] if len(keys) == 1 else tuple_(*keys)
    statement = delete(table).where(key.in_(select(*keys).where(condition).limit(PORTION)))
    total = 0
    while True:
        began_us = clock.now_us()
        gone = await writes.transact(partial(_execute, statement=statement))
        total += gone
        if gone < PORTION:
            return total
        await asyncio.sleep((clock.now_us() - began_us) / 1e6)


async def _execute(connection: AsyncConnection, statement: Delete) -> int:
    return (await connection.execute(statement)).rowcount


async def _delete_orphans(store: Store) -> None:
    """Votes, ballots and reactions go with what they were for: a later one of that number has its own.

    To look for them takes long where there are many, so that is done beside those who write.
    """
    shown = select(literal(1)).where(
        messages.c.room == reactions.c.room, messages.c.id == reactions.c.message, ~messages.c.deleted
    )
    for table, orphaned in (*classwork.orphans(), (reactions, ~shown.exists())):
        keys = [*table.primary_key]
        one = delete(table).where(*(key == bindparam(f"of_{key.name}") for key in keys))
        found: list[dict[str, Any]] = [{}]
        while found:
            async with store.reading() as connection:
                rows = await connection.execute(select(*keys).where(orphaned).limit(PORTION))
                found = [{f"of_{name}": value for name, value in row._mapping.items()} for row in rows]
            if found:
                await store.writes.durable([(one, each) for each in found])


async def _forget_rooms(writes: Writes, before_ms: int) -> int:
    """Rooms that nobody has used since, and of which no message is left: their names may be another's."""
    old = (rooms.c.last_seen_ms < before_ms) & ~(
        select(literal(1)).where(messages.c.room == rooms.c.name).exists()
    )
    await writes.transact(partial(_raise_floor, old=old))
    return await _delete(writes, rooms, old)


async def _raise_floor(connection: AsyncConnection, old: ColumnElement[bool]) -> None:
    """A room that is made anew begins past every number of those that are gone: clients may remember one."""
    highest = await connection.scalar(select(func.max(rooms.c.chat_head)).where(old))
    if (highest or 0) > (await properties.number(connection, "chat_floor") or 0):
        await properties.set_number(connection, "chat_floor", highest)
    unused_rooms = update(rooms).where(old)
    await connection.execute(unused_rooms.values(template=None, locked=None, lobby=None, silenced=None))


async def _expiring_contents(connection: AsyncConnection, before_ms: int) -> list[str]:
    return list(await connection.scalars(select(files.c.sha256).where(files.c.created_ms < before_ms)))


async def _keep_heads(connection: AsyncConnection, before_ms: int) -> None:
    heads = (
        select(messages.c.room, func.max(messages.c.rev))
        .where(messages.c.sent_ms < before_ms)
        .group_by(messages.c.room)
    )
    for room, rev in (await connection.execute(heads)).all():
        kept = update(rooms).where(rooms.c.name == room)
        if not (await connection.execute(kept.values(chat_head=rev).where(rooms.c.chat_head < rev))).rowcount:
            known = await connection.scalar(select(rooms.c.name).where(rooms.c.name == room))
            if known is None:
                row = {"name": room, "created_ms": before_ms, "last_seen_ms": before_ms, "chat_head": rev}
                await connection.execute(insert(rooms).values(row))
