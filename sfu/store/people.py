"""Who was there: users, rooms, sessions; and everything of one person, to hand out or to erase."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store import classwork, naming, properties
from sfu.store.cursors import Cursor, newest_first
from sfu.store.messages import head
from sfu.store.tables import (
    audit,
    files,
    messages,
    metadata,
    outbox,
    reactions,
    rooms,
    sessions,
    users,
)
from sfu.store.writes import Step

ERASED = "erased"
"""The identity of whom nothing is known any more. No token may have it: who is called so would read others'
messages."""
STOPPING_MS = 30_000
"""A server that is stopped ends all its sessions within this time."""
IN_ONE_QUERY = 1000
"""Values that a query compares with: databases take some ten thousand parameters at most."""

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
        properties.floor(),
    ).where(~select(literal(1)).where(rooms.c.name == bindparam("of_room")).exists()),
)
_SET_ROOM = (
    update(rooms)
    .where(rooms.c.name == bindparam("of_room"))
    .values({name: bindparam(f"new_{name}") for name in ("template", "locked", "lobby", "silenced")})
)
_JOIN = insert(sessions)
_LEAVE = (
    update(sessions)
    .where(sessions.c.id == bindparam("of_id"))
    .values(left_ms=bindparam("at_ms"), reason=bindparam("why"), recording=False)
)
_CRASH = update(sessions).where(sessions.c.reason.is_(None)).values(reason=bindparam("why"), recording=False)
_RECORDING = (
    update(sessions).where(sessions.c.id == bindparam("of_id")).values(recording=bindparam("new_recording"))
)
_RECORD = insert(audit)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSettings:
    """What a room is and how it is set."""

    template: str
    locked: bool
    lobby: bool
    silenced: bool = False


def joined(
    session: str, room: str, identity: str, name: str, at_ms: int, *, hidden: bool = False
) -> list[Step]:
    """A participant's session in a room has begun."""
    user = {"of_identity": identity, "new_name": name, "at_ms": at_ms}
    place = {"of_room": room, "at_ms": at_ms}
    row = {"id": session, "room": room, "identity": identity, "name": name, "joined_ms": at_ms}
    row["hidden"] = hidden
    return [(_SEE_USER, user), (_MEET_USER, user), (_SEE_ROOM, place), (_MEET_ROOM, place), (_JOIN, row)]


def room_set(room: str, settings: StoredSettings, at_ms: int) -> list[Step]:
    """What the room is from now on."""
    changes = {f"new_{name}": value for name, value in asdict(settings).items()}
    return [(_MEET_ROOM, {"of_room": room, "at_ms": at_ms}), (_SET_ROOM, {"of_room": room, **changes})]


def left(session: str, reason: str, at_ms: int) -> list[Step]:
    """It has ended, and why; so has what it recorded."""
    return [(_LEAVE, {"of_id": session, "at_ms": at_ms, "why": reason})]


def recorded(at_ms: int, room: str, identity: str, action: str, detail: Mapping[str, Any]) -> list[Step]:
    """A line of the audit log: `identity` did `action` in `room`."""
    row = {"at_ms": at_ms, "room": room, "identity": identity, "action": action, "detail": dict(detail)}
    return [(_RECORD, row)]


def recording(session: str, *, on: bool) -> list[Step]:
    """It has begun to record, or ended it."""
    return [(_RECORDING, {"of_id": session, "new_recording": on})]


async def dead_sessions(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Sessions that a killed server left open, oldest first. For its start, before anybody joins."""
    query = select(sessions).where(sessions.c.reason.is_(None)).order_by(sessions.c.joined_ms)
    return [dict(row._mapping) for row in (await connection.execute(query)).all()]


async def cut_off(connection: AsyncConnection) -> frozenset[tuple[str, str]]:
    """Room and identity of those who were there when the last server ended, however it did.

    For a start, before `crashed`. Of one that was stopped the sessions end within moments of each other.
    """
    stopped = sessions.c.reason == "shutdown"
    last_ms = await connection.scalar(select(func.max(sessions.c.left_ms)))
    ended = sessions.c.left_ms >= (last_ms or 0) - STOPPING_MS
    query = select(sessions.c.room, sessions.c.identity).where(
        or_(sessions.c.reason.is_(None), and_(stopped, ended))
    )
    return frozenset((row.room, row.identity) for row in await connection.execute(query))


def crashed() -> list[Step]:
    """All sessions without an end get the reason `crashed`; nobody knows how long they were.

    None of them records any more.
    """
    return [(_CRASH, {"why": "crashed"})]


async def attendance(
    connection: AsyncConnection,
    room: str,
    *,
    limit: int,
    before: Cursor | None = None,
    hidden: bool = True,
) -> list[dict[str, Any]]:
    """The room's last `limit` sessions, newest first; those after `before` where given.

    `hidden` false leaves out those of hidden people.
    """
    mine = select(sessions).where(sessions.c.room == room)
    if not hidden:
        mine = mine.where(~sessions.c.hidden)
    query = newest_first(mine, sessions.c.joined_ms, sessions.c.id, limit, before)
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
    """Whether `identity` has ever been in the room, as far as is remembered, for others to see."""
    mine = (sessions.c.room == room, sessions.c.identity == identity, ~sessions.c.hidden)
    query = select(literal(1)).where(*mine).limit(1)
    return await connection.scalar(query) is not None


async def room_settings(connection: AsyncConnection, room: str) -> StoredSettings | None:
    """None where the room is unknown, or has not been used for so long that it was forgotten."""
    query = select(rooms.c.template, rooms.c.locked, rooms.c.lobby, rooms.c.silenced).where(
        rooms.c.name == room, rooms.c.template.is_not(None)
    )
    row = (await connection.execute(query)).first()
    return StoredSettings(**row._mapping) if row is not None else None


async def export(connection: AsyncConnection, identity: str) -> dict[str, list[dict[str, Any]]]:
    """Every row that is of `identity`, was sent to it or tells of it, by table.

    Of messages that mention it only those that it may read: others' private ones are theirs.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for table in metadata.sorted_tables:
        if "identity" not in table.c:
            continue
        mine = table.c.identity == identity
        if table is messages:
            mine = or_(mine, messages.c.to_identity == identity)
        query = select(table).where(mine).order_by(*table.primary_key)
        found[table.name] = [dict(row._mapping) for row in (await connection.execute(query)).all()]
    for row in await naming.mentioning(connection, identity):
        if row.to_identity is None and row.identity != identity:
            found["messages"].append(dict(row._mapping))
    for row in await naming.audited(connection, identity):
        if row._mapping["identity"] != identity:
            found["audit"].append(dict(row._mapping))
    found["outbox"] = [dict(row._mapping) for row in await naming.to_deliver(connection, identity)]
    return found


async def erase(connection: AsyncConnection, identity: str) -> Sequence[str]:
    """Take out everything of `identity`: rows go, and its messages stay as empty places without a name.

    With its questions and polls go others' votes and ballots for them, with its messages others' reactions.
    What others wrote stays, with `ERASED` where they name it. Returns the hashes of contents that no file has
    any more: whoever keeps those removes them.
    """
    changed = await _empty_messages(connection, identity)
    changed |= await _rename_in_messages(connection, identity)
    await _renumber(connection, changed)
    for line in await naming.audited(connection, identity):
        detail = naming.renamed(line.detail, identity, ERASED)
        await connection.execute(update(audit).where(audit.c.id == line.id).values(detail=detail))
    for delivery in await naming.to_deliver(connection, identity):
        await connection.execute(delete(outbox).where(outbox.c.number == delivery.number))
    hashes = (await connection.scalars(select(files.c.sha256).where(files.c.identity == identity))).all()
    for table in metadata.sorted_tables:
        if table is not messages and "identity" in table.c:
            await connection.execute(delete(table).where(table.c.identity == identity))
    await classwork.drop_orphans(connection)
    return await unused(connection, hashes)


async def _empty_messages(connection: AsyncConnection, identity: str) -> set[tuple[str, int]]:
    """Returns room and id of the messages that are other ones now."""
    mine = messages.c.identity == identity
    reacted = select(reactions.c.room, reactions.c.message).where(reactions.c.identity == identity)
    changed = await _places(connection, reacted)
    changed |= await _places(connection, select(messages.c.room, messages.c.id).where(mine))
    place = (messages.c.room == reactions.c.room) & (messages.c.id == reactions.c.message)
    await connection.execute(delete(reactions).where(select(literal(1)).where(mine, place).exists()))
    emptied: dict[str, Any] = {"text": "", "mentions": [], "file": None, "deleted": True, "name": ""}
    await connection.execute(update(messages).where(mine).values(**emptied, identity=ERASED, sender=ERASED))
    return changed


async def _rename_in_messages(connection: AsyncConnection, identity: str) -> set[tuple[str, int]]:
    """What others wrote to the person, or with a mention. Returns room and id of what has changed."""
    to_it = messages.c.to_identity == identity
    changed = await _places(connection, select(messages.c.room, messages.c.id).where(to_it))
    await connection.execute(update(messages).where(to_it).values(to_identity=ERASED, recipient=ERASED))
    for row in await naming.mentioning(connection, identity):
        values = {
            "mentions": naming.renamed(row.mentions, identity, ERASED),
            "text": naming.renamed_in_text(row.text, identity, ERASED),
        }
        here = (messages.c.room == row.room) & (messages.c.id == row.id)
        await connection.execute(update(messages).where(here).values(values))
        changed.add((row.room, row.id))
    return changed


async def _places(connection: AsyncConnection, query: Select[Any]) -> set[tuple[str, int]]:
    return {(row[0], row[1]) for row in await connection.execute(query)}


async def _renumber(connection: AsyncConnection, changed: Iterable[tuple[str, int]]) -> None:
    """Each change gets the next number of its room: clients hear of it when they come back."""
    heads: dict[str, int] = {}
    for room, number in sorted(changed):
        if room not in heads:
            heads[room] = await head(connection, room)
        heads[room] += 1
        here = (messages.c.room == room) & (messages.c.id == number)
        await connection.execute(update(messages).where(here).values(rev=heads[room]))


async def unused(connection: AsyncConnection, hashes: Collection[str]) -> list[str]:
    """Those of `hashes` that no file has, in order."""
    left = sorted(set(hashes))
    kept: set[str] = set()
    for start in range(0, len(left), IN_ONE_QUERY):
        part = left[start : start + IN_ONE_QUERY]
        kept.update(await connection.scalars(select(files.c.sha256).where(files.c.sha256.in_(part))))
    return [each for each in left if each not in kept]
