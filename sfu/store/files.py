"""Files: one row for each upload, one content for each hash; `sfu/server/contents.py` keeps the contents."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sql
from sqlalchemy import ColumnElement, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.cursors import Cursor, newest_first
from sfu.store.messages import showing_file_to
from sfu.store.tables import files, messages
from sfu.store.writes import Step

_INSERT = insert(files)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """`type` is what the content looks like, not what its sender said; `width` is None but of pictures."""

    id: str
    room: str
    identity: str
    name: str
    type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    created_ms: int


def added(file: StoredFile) -> list[Step]:
    """A file whose content is in its place."""
    return [(_INSERT, asdict(file))]


async def one(connection: AsyncConnection, room: str, file: str, identity: str) -> StoredFile | None:
    """The room's file of that id, None where it has none that `identity` may see."""
    query = select(files).where(files.c.id == file, files.c.room == room, _may_see(identity))
    row = (await connection.execute(query)).one_or_none()
    return StoredFile(**row._mapping) if row is not None else None


async def in_room(
    connection: AsyncConnection, room: str, identity: str, *, limit: int, before: Cursor | None = None
) -> list[StoredFile]:
    """The last `limit` files that `identity` may see, newest first; those after `before` where given."""
    mine = select(files).where(files.c.room == room, _may_see(identity))
    query = newest_first(mine, files.c.created_ms, files.c.id, limit, before)
    return [StoredFile(**row._mapping) for row in await connection.execute(query)]


def _may_see(identity: str) -> ColumnElement[bool]:
    """One's own, and what a message shows that one may read: a file is as private as its message."""
    return or_(files.c.identity == identity, showing_file_to(identity, files.c.room, files.c.id))


async def delete(connection: AsyncConnection, file: StoredFile) -> list[str]:
    """Forget a file. Returns the hash of its content where no other file has it."""
    await connection.execute(sql.delete(files).where(files.c.id == file.id))
    others = await connection.scalar(select(func.count()).where(files.c.sha256 == file.sha256))
    return [] if others else [file.sha256]


async def delete_unshown(connection: AsyncConnection, room: str, file: str) -> list[str]:
    """Forget the room's file if no message shows it. Returns its hash where no other file has the content."""
    shown = select(literal(1)).where(messages.c.room == room, messages.c.file == file).exists()
    query = select(files).where(files.c.id == file, files.c.room == room, ~shown)
    row = (await connection.execute(query)).one_or_none()
    return await delete(connection, StoredFile(**row._mapping)) if row is not None else []


async def used(connection: AsyncConnection, room: str, identity: str) -> tuple[int, int]:
    """Bytes that the room's files have, and those of `identity` in every room."""
    total = func.coalesce(func.sum(files.c.bytes), 0)
    in_room = await connection.scalar(select(total).where(files.c.room == room))
    of_person = await connection.scalar(select(total).where(files.c.identity == identity))
    return int(in_room or 0), int(of_person or 0)
