"""What people ask the database, in lanes: no question is in the way of a join, or of others' questions."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from sfu.ids import RoomName
from sfu.server import costs
from sfu.server.fairness import Account, Lane, Turns
from sfu.store import messages, samples
from sfu.store.engine import FOR_REQUESTS, FOR_SCANS
from sfu.store.messages import SEARCHED, SEARCHED_AT_ONCE, Found
from sfu.store.samples import Filter, StepKey
from sfu.store.store import Connection, Store

OF_ONE = 2
"""Queries of one person at once, of its own in line as well."""
SAMPLES_AT_ONCE = 100_000
"""Samples that are summed up before others have their turn."""


class Queries:
    """One for a whole server."""

    def __init__(self, store: Store, turns: Turns) -> None:
        self._store = store
        self._turns = turns
        self._questions = Lane("queries", at_once=FOR_REQUESTS, of_one=OF_ONE)
        self._scans = Lane("scans", at_once=FOR_SCANS, of_one=1)

    @contextlib.asynccontextmanager
    async def reading(self, account: Account) -> AsyncIterator[Connection]:
        """A connection for what an index finds. Raises `RequestError` `storage_failed`, `rate_limited`."""
        async with self._questions.place(account), self._store.reading() as connection:
            yield connection

    async def read(self, account: Account, rows: int, characters: int = 0) -> None:
        """Pay for rows and their texts, and wait for the turn to make something of them."""
        await self._turns.take(account, rows * costs.ROW_US + characters * costs.SAID_US)

    @contextlib.asynccontextmanager
    async def _scanning(self, account: Account) -> AsyncIterator[Connection]:
        """A connection for what looks at many rows."""
        async with self._scans.place(account), self._store.reading() as connection:
            yield connection

    async def _looked(self, account: Account, rows: int) -> None:
        """Pay for rows that a scan has looked at."""
        await self._turns.take(account, rows * costs.LOOKED_US)

    async def search(
        self,
        account: Account,
        room: RoomName,
        identity: str,
        text: str,
        *,
        limit: int,
        characters: int,
        before: int | None,
    ) -> Found:
        """At most `limit` messages, of so many characters, the newest first, whose text contains `text`.

        Raises `RequestError` `storage_failed`, and `rate_limited` where too much of this person's waits.
        """
        async with self.reading(account) as connection:
            newest = before - 1 if before is not None else await messages.head(connection, room)
        last = max(1, newest - SEARCHED + 1)
        rows: messages.Rows = []
        while newest >= last and len(rows) <= limit:
            oldest = max(last, newest - SEARCHED_AT_ONCE + 1)
            async with self._scanning(account) as connection:
                rows += await messages.search(
                    connection,
                    room,
                    identity,
                    text,
                    oldest=oldest,
                    newest=newest,
                    limit=limit + 1 - len(rows),
                )
            await self._looked(account, newest - oldest + 1)
            newest = oldest - 1
        async with self.reading(account) as connection:
            found = await messages.within(connection, room, rows, limit, characters)
        await self.read(account, found.rows, found.characters)
        return found

    async def summary(
        self, account: Account, wanted: Filter, *, step_ms: int, limit: int
    ) -> list[dict[str, Any]]:
        """The last `limit` steps of series that have samples in them: how many, least, mean, greatest.

        Raises `RequestError` as `search` does.
        """
        found: dict[StepKey, samples.Step] = {}
        window = wanted
        while True:
            async with self._scanning(account) as connection:
                edge = await samples.since(connection, window, SAMPLES_AT_ONCE)
                part = replace(window, from_ms=wanted.from_ms if edge is None else edge)
                steps = await samples.steps(connection, part, step_ms=step_ms, limit=limit)
            few = sum(step.count for step in steps.values())
            await self._looked(account, few if edge is None else SAMPLES_AT_ONCE)
            for key, step in steps.items():
                if key in found:
                    found[key].add(step)
                else:
                    found[key] = step
            # A step that begins before the edge may go on in what comes next.
            if edge is None or sum(key[0] >= edge for key in found) >= limit:
                break
            window = replace(wanted, to_ms=edge)
        newest = sorted(found, key=lambda key: (-key[0], *key[1:]))[:limit]
        return [_told(key, found[key]) for key in reversed(newest)]


def _told(key: StepKey, step: samples.Step) -> dict[str, Any]:
    at_ms, identity, series, unit = key
    return {
        "identity": identity,
        "series": series,
        "unit": unit,
        "at_ms": at_ms,
        "count": step.count,
        "min": step.min,
        "mean": step.sum / step.count,
        "max": step.max,
    }
