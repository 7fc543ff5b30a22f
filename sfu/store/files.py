"""Files: one row for each upload, one content for each hash, in a folder beside the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import files
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


async def one(connection: AsyncConnection, room: str, file: str) -> StoredFile | None:
    """The room's file of that id, None where it has none."""
    query = select(files).where(files.c.id == file, files.c.room == room)
    row = (await connection.execute(query)).one_or_none()
    return StoredFile(**row._mapping) if row is not None else None


async def used(connection: AsyncConnection, room: str, identity: str) -> tuple[int, int]:
    """Bytes that the room's files have, and those of `identity` in every room."""
    total = func.coalesce(func.sum(files.c.bytes), 0)
    in_room = await connection.scalar(select(total).where(files.c.room == room))
    of_person = await connection.scalar(select(total).where(files.c.identity == identity))
    return int(in_room or 0), int(of_person or 0)


def content(folder: Path, sha256: str) -> Path:
    """Where the content of that hash lies. Spread over folders: none grows too long to list."""
    return folder / "files" / sha256[:2] / sha256


def thumbnail(folder: Path, sha256: str) -> Path:
    """Where its small picture lies, if it has one."""
    return content(folder, sha256).with_suffix(".jpg")


def remove(folder: Path, hashes: Iterable[str]) -> None:
    """Delete contents that no file has any more."""
    for sha256 in hashes:
        content(folder, sha256).unlink(missing_ok=True)
        thumbnail(folder, sha256).unlink(missing_ok=True)
