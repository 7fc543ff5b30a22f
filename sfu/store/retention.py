"""What is older than it may be goes."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store import classwork
from sfu.store.people import unused
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


async def expire(connection: AsyncConnection, before_ms: int) -> list[str]:
    """Delete everything from before `before_ms` (Unix milliseconds).

    A room keeps its counter, so that ids go on, and forgets what it was. Returns the hashes of contents
    that no file has any more.
    """
    hashes = (await connection.scalars(select(files.c.sha256).where(files.c.created_ms < before_ms))).all()
    await _keep_heads(connection, before_ms)
    for column in _AGED:
        await connection.execute(delete(column.table).where(column < before_ms))
    unused_rooms = update(rooms).where(rooms.c.last_seen_ms < before_ms)
    await connection.execute(unused_rooms.values(template=None, locked=None, lobby=None, silenced=None))
    await classwork.drop_orphans(connection)
    there = select(literal(1)).where(
        messages.c.room == reactions.c.room, messages.c.id == reactions.c.message, ~messages.c.deleted
    )
    await connection.execute(delete(reactions).where(~there.exists()))
    return await unused(connection, hashes)


async def expire_telemetry(connection: AsyncConnection, before_ms: int) -> None:
    """Delete samples from before `before_ms` (Unix milliseconds)."""
    await connection.execute(delete(telemetry).where(telemetry.c.at_ms < before_ms))


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
