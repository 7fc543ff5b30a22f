"""Who was removed from a room stays out with every token and pass that was made before.

A token that is made later is the way back, and so is a moderator's word (`readmit`).
"""

from __future__ import annotations

import asyncio

from sfu import clock
from sfu.errors import RequestError
from sfu.room import visibility
from sfu.room.permissions import Grants
from sfu.server.revocations import Kept
from sfu.server.tokens import Claims
from sfu.store import withdrawals
from sfu.store.store import Store
from sfu.store.withdrawals import Removal
from sfu.store.writes import Step

LEAST_MS = 366 * 86_400_000
"""How long a removal is kept at least: somebody may have other tokens than the one that it came with."""


class Removals:
    """By room and identity; kept in the database until the tokens have expired."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._removals: dict[tuple[str, str], Removal] = {}
        self.last: Kept | None = None
        """Of the last removal that was added."""

    async def load(self) -> None:
        """Read what is kept. Raises `RequestError`."""
        async with self._store.reading() as connection:
            found = await withdrawals.removals_now(connection, clock.wall_ms())
        self._removals = {(each.room, each.identity): each for each in found}

    def refuses(self, claims: Claims) -> bool:
        """Whether somebody was removed from the room after this token was made for it."""
        removal = self._removals.get((claims.room, claims.identity))
        return removal is not None and claims.made_s * 1000 <= removal.at_ms

    def of_room(self, room: str, grants: Grants) -> list[Removal]:
        """Who was removed from a room and may be known to somebody with `grants`, the last one first."""
        removed = (each for each in self._removals.values() if each.room == room)
        found = [each for each in removed if visibility.tells(grants, hidden=each.hidden)]
        return sorted(found, key=lambda each: each.at_ms, reverse=True)

    def check(self) -> None:
        """Raises `RequestError` `overloaded` where `add` would just now."""
        self._store.writes.check()

    def add(self, room: str, identity: str, expires_s: float, *, hidden: bool) -> None:
        """Somebody was removed who came with a token that expires at `expires_s` (Unix seconds)."""
        now_ms = clock.wall_ms()
        removal = Removal(room, identity, now_ms, max(int(expires_s * 1000), now_ms + LEAST_MS), hidden)
        for key in [key for key, each in self._removals.items() if each.expires_ms < now_ms]:
            del self._removals[key]
        self._removals[room, identity] = removal
        self.last = self._submit(withdrawals.removed(removal))

    def lift(self, room: str, identity: str, grants: Grants) -> Kept:
        """Take a removal back. Raises `RequestError` `not_found` where none may be known, `overloaded`."""
        removal = self._removals.get((room, identity))
        if removal is None or not visibility.tells(grants, hidden=removal.hidden):
            raise RequestError("not_found", "nobody of that identity was removed from the room")
        kept = self._submit(withdrawals.readmitted(room, identity))
        del self._removals[room, identity]
        return kept

    def _submit(self, steps: list[Step]) -> Kept:
        kept: Kept = asyncio.get_running_loop().create_future()
        self._store.writes.submit(steps, lambda error: None if kept.done() else kept.set_result(error))
        return kept
