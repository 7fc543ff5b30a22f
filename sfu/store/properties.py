"""What is known of the database itself, whatever file or server it lies in."""

from __future__ import annotations

import secrets
from typing import Literal

from sqlalchemy import BigInteger, ColumnElement, cast, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import properties

Number = Literal["cleared_ms", "leap_ms", "chat_floor"]
"""When it was last cleared out; since when the clock is elsewhere; the highest `chat_head` of rooms gone."""

_ID = "id"


async def database_id(connection: AsyncConnection) -> str:
    """The id that a database and its copies have in common; made where there is none yet."""
    found = await _get(connection, _ID)
    if found is None:
        found = secrets.token_hex(16)
        await _put(connection, _ID, found)
    return found


async def known_id(connection: AsyncConnection) -> str:
    """The same, empty where there is none yet."""
    return await _get(connection, _ID) or ""


async def number(connection: AsyncConnection, name: Number) -> int | None:
    found = await _get(connection, name)
    return int(found) if found is not None else None


async def set_number(connection: AsyncConnection, name: Number, value: int | None) -> None:
    await _put(connection, name, str(value) if value is not None else None)


def floor() -> ColumnElement[int]:
    """The number after which the messages of a new room begin."""
    kept = select(cast(properties.c.value, BigInteger)).where(properties.c.name == "chat_floor")
    return func.coalesce(kept.scalar_subquery(), 0)


async def _get(connection: AsyncConnection, name: str) -> str | None:
    found: str | None = await connection.scalar(select(properties.c.value).where(properties.c.name == name))
    return found


async def _put(connection: AsyncConnection, name: str, value: str | None) -> None:
    await connection.execute(delete(properties).where(properties.c.name == name))
    if value is not None:
        await connection.execute(insert(properties).values(name=name, value=value))
