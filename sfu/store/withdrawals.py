"""What opens nothing any more: revoked tokens by their id, and who was removed from a room.

Each row is kept until what it refuses has expired by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import removals, revoked_tokens
from sfu.store.writes import Step

_JTI = bindparam("of_jti", type_=revoked_tokens.c.jti.type)
_ROOM = bindparam("of_room", type_=removals.c.room.type)
_WHO = bindparam("of_identity", type_=removals.c.identity.type)
_NOW = bindparam("now_ms", type_=removals.c.expires_ms.type)

_FORGET_TOKEN = delete(revoked_tokens).where(
    or_(revoked_tokens.c.jti == _JTI, revoked_tokens.c.expires_ms < _NOW)
)
_REVOKE = insert(revoked_tokens)
_FORGET_REMOVAL = delete(removals).where(removals.c.room == _ROOM, removals.c.identity == _WHO)
_FORGET_OLD_REMOVALS = delete(removals).where(removals.c.expires_ms < _NOW)
_REMOVE = insert(removals)


@dataclass(frozen=True, slots=True)
class Removal:
    """Somebody was removed from a room at `at_ms` (Unix milliseconds)."""

    room: str
    identity: str
    at_ms: int
    expires_ms: int
    hidden: bool = False


def token_revoked(jti: str, at_ms: int, expires_ms: int | None) -> list[Step]:
    """The token opens nothing any more. `expires_ms` is None where nobody knows when it expires by itself."""
    row = {"jti": jti, "at_ms": at_ms, "expires_ms": expires_ms}
    return [(_FORGET_TOKEN, {"of_jti": jti, "now_ms": at_ms}), (_REVOKE, row)]


def removed(removal: Removal) -> list[Step]:
    """The tokens that were made for somebody before the removal open the room no more."""
    row = {
        "room": removal.room,
        "identity": removal.identity,
        "at_ms": removal.at_ms,
        "expires_ms": removal.expires_ms,
        "hidden": removal.hidden,
    }
    return [
        *readmitted(removal.room, removal.identity),
        (_FORGET_OLD_REMOVALS, {"now_ms": removal.at_ms}),
        (_REMOVE, row),
    ]


def readmitted(room: str, identity: str) -> list[Step]:
    """Take a removal back."""
    return [(_FORGET_REMOVAL, {"of_room": room, "of_identity": identity})]


async def revoked_now(connection: AsyncConnection, now_ms: int) -> dict[str, int | None]:
    """Revoked tokens that have not expired, and when they do."""
    kept = or_(revoked_tokens.c.expires_ms.is_(None), revoked_tokens.c.expires_ms >= now_ms)
    rows = await connection.execute(select(revoked_tokens.c.jti, revoked_tokens.c.expires_ms).where(kept))
    return {row.jti: row.expires_ms for row in rows}


async def removals_now(connection: AsyncConnection, now_ms: int) -> list[Removal]:
    """Removals that still refuse something."""
    rows = await connection.execute(select(removals).where(removals.c.expires_ms >= now_ms))
    return [Removal(**row._mapping) for row in rows]
