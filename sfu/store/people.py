"""Who was there: users, rooms, sessions; and everything of one person, to hand out or to erase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store import classwork
from sfu.store.tables import (
    audit,
    files,
    messages,
    metadata,
    rooms,
    sessions,
    users,
)
from sfu.store.writes import Step

ERASED = "erased"
"""The identity of whom nothing is known any more."""

_SEE_USER = (
    update(users)
    .where(users.c.identity == bindparam("of_identity"))
    .values(name=bindparam("new_name"), last_seen_ms=bindparam("at_ms"))
)
_MEET_USER = insert(users).from_select(
    ["identity", "name", "first_seen_ms", "last_seen_ms"],
    select(
        bindparam("of_identity", type_=users.c.identity.type),
        bindparam("new_name", type_=users.c.name.type),
        bindparam("at_ms", type_=users.c.first_seen_ms.type),
        bindparam("at_ms", type_=users.c.first_seen_ms.type),
    ).where(~select(literal(1)).where(users.c.identity == bindparam("of_identity")).exists()),
)
_SEE_ROOM = update(rooms).where(rooms.c.name == bindparam("of_room")).values(last_seen_ms=bindparam("at_ms"))
_MEET_ROOM = insert(rooms).from_select(
    ["name", "created_ms", "last_seen_ms", "chat_head"],
    select(
        bindparam("of_room", type_=rooms.c.name.type),
        bindparam("at_ms", type_=rooms.c.created_ms.type),
        bindparam("at_ms", type_=rooms.c.created_ms.type),
        literal(0),
    ).where(~select(literal(1)).where(rooms.c.name == bindparam("of_room")).exists()),
)
_JOIN = insert(sessions)
_LEAVE = (
    update(sessions)
    .where(sessions.c.id == bindparam("of_id"))
    .values(left_ms=bindparam("at_ms"), reason=bindparam("why"))
)
_RECORD = insert(audit)


def joined(
    session: str, room: str, identity: str, name: str, at_ms: int, *, hidden: bool = False
) -> list[Step]:
    """A participant's session in a room has begun."""
    user = {"of_identity": identity, "new_name": name, "at_ms": at_ms}
    place = {"of_room": room, "at_ms": at_ms}
    row = {"id": session, "room": room, "identity": identity, "name": name, "joined_ms": at_ms}
    row["hidden"] = hidden
    return [(_SEE_USER, user), (_MEET_USER, user), (_SEE_ROOM, place), (_MEET_ROOM, place), (_JOIN, row)]


def left(session: str, reason: str, at_ms: int) -> list[Step]:
    """It has ended, and why."""
    return [(_LEAVE, {"of_id": session, "at_ms": at_ms, "why": reason})]


def recorded(at_ms: int, room: str, identity: str, action: str, detail: Mapping[str, Any]) -> list[Step]:
    """A line of the audit log: `identity` did `action` in `room`."""
    row = {"at_ms": at_ms, "room": room, "identity": identity, "action": action, "detail": dict(detail)}
    return [(_RECORD, row)]


async def close_dead_sessions(connection: AsyncConnection) -> int:
    """Sessions that a killed server left open get the reason `crashed`; nobody knows how long they were."""
    ended = update(sessions).where(sessions.c.reason.is_(None)).values(reason="crashed")
    return (await connection.execute(ended)).rowcount


async def attendance(
    connection: AsyncConnection,
    room: str,
    *,
    limit: int,
    before_ms: int | None = None,
    hidden: bool = True,
) -> list[dict[str, Any]]:
    """The room's last `limit` sessions, newest first; of those that began before `before_ms` where given.

    `hidden` false leaves out those of hidden people.
    """
    query = select(sessions).where(sessions.c.room == room).order_by(sessions.c.joined_ms.desc()).limit(limit)
    if before_ms is not None:
        query = query.where(sessions.c.joined_ms < before_ms)
    if not hidden:
        query = query.where(~sessions.c.hidden)
    return [dict(row._mapping) for row in (await connection.execute(query)).all()]


async def audit_log(
    connection: AsyncConnection, *, room: str | None, limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """The last `limit` lines, newest first; of one room, and before the line `before`, where given."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if room is not None:
        query = query.where(audit.c.room == room)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [dict(row._mapping) for row in (await connection.execute(query)).all()]


async def was_in(connection: AsyncConnection, room: str, identity: str) -> bool:
    """Whether `identity` has ever been in the room, as far as is remembered."""
    query = select(literal(1)).where(sessions.c.room == room, sessions.c.identity == identity).limit(1)
    return await connection.scalar(query) is not None


async def export(connection: AsyncConnection, identity: str) -> dict[str, list[dict[str, Any]]]:
    """Every row that is of `identity` or was sent to it, by table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in metadata.sorted_tables:
        if "identity" not in table.c:
            continue
        mine = table.c.identity == identity
        if table is messages:
            mine = or_(mine, messages.c.to_identity == identity)
        query = select(table).where(mine).order_by(*table.primary_key)
        found[table.name] = [dict(row._mapping) for row in (await connection.execute(query)).all()]
    return found


async def erase(connection: AsyncConnection, identity: str) -> Sequence[str]:
    """Take out everything of `identity`: rows go, and its messages stay as empty places without a name.

    With its questions and polls go others' votes and ballots for them. Returns the hashes of contents that no
    file has any more: whoever keeps those removes them.
    """
    mine = messages.c.identity == identity
    await connection.execute(
        update(messages)
        .where(mine)
        .values(
            text="",
            mentions=[],
            file=None,
            deleted=True,
            identity=ERASED,
            sender=ERASED,
            name="",
            rev=_next_rev(),
        )
    )
    await connection.execute(
        update(messages)
        .where(messages.c.to_identity == identity)
        .values(to_identity=ERASED, recipient=ERASED)
    )
    hashes = (await connection.scalars(select(files.c.sha256).where(files.c.identity == identity))).all()
    for table in metadata.sorted_tables:
        if table is not messages and "identity" in table.c:
            await connection.execute(delete(table).where(table.c.identity == identity))
    await classwork.drop_orphans(connection)
    return await unused(connection, hashes)


async def unused(connection: AsyncConnection, hashes: Sequence[str]) -> list[str]:
    """Those of `hashes` that no file has."""
    kept = (await connection.scalars(select(files.c.sha256).where(files.c.sha256.in_(hashes)))).all()
    return sorted(set(hashes) - set(kept))


def _next_rev() -> Any:
    """A change that clients hear of when they come back: past every number the room has given."""
    other = messages.alias()
    return select(func.max(other.c.rev) + 1).where(other.c.room == messages.c.room).scalar_subquery()
