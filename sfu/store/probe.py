"""A write that leaves nothing behind, to find out whether writes succeed."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert

from sfu.store.tables import users
from sfu.store.writes import Step

_NOBODY = ""
"""No person has this identity: tokens and passes have one."""

_ADD = insert(users)
_REMOVE = delete(users).where(users.c.identity == bindparam("nobody"))


def steps(now_ms: int) -> tuple[Step, ...]:
    """Steps of a row that comes and goes in one transaction, which the database writes nevertheless."""
    row = {"identity": _NOBODY, "name": "", "first_seen_ms": now_ms, "last_seen_ms": now_ms}
    return (_ADD, row), (_REMOVE, {"nobody": _NOBODY})
