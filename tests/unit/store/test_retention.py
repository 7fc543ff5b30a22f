"""What is old goes in portions, gives its place back, and takes no number from a later room."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from stored import message

from sfu.store import engine, messages, people, retention, tables
from sfu.store.samples import StoredSample, added
from sfu.store.store import Store, open_store


async def fill(store: Store, count: int) -> None:
    values = {"room": "r", "identity": "i" * 100, "series": "s" * 60, "unit": ""}
    await store.writes.durable(added(StoredSample(**values, at_ms=each, value=1) for each in range(count)))


async def count(store: Store) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(tables.telemetry)) or 0)


async def test_messages_are_stored_between_two_portions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PORTION", 10)
    await fill(store, 95)
    left: list[int] = []

    async def chat() -> None:
        number = 0
        while not left or left[-1] > 5:
            number += 1
            await store.writes.durable(messages.added(message(number)))
            left.append(await count(store))

    chatting = asyncio.create_task(chat())
    assert await retention.expire_telemetry(store.writes, 90) == 90
    await chatting
    assert len({each for each in left if 5 < each < 95}) >= 3, left
    assert await count(store) == 5


async def test_a_sqlite_file_shrinks_and_its_log_stays_short(tmp_path: Path) -> None:
    path, log = tmp_path / "sfu.db", tmp_path / "sfu.db-wal"
    async with open_store("", tmp_path) as store:
        await fill(store, 40_000)
    large, longest = path.stat().st_size, 0
    async with open_store("", tmp_path) as store:
        gone = asyncio.create_task(retention.expire_telemetry(store.writes, 40_000))
        while not gone.done():
            await asyncio.sleep(0)
            longest = max(longest, log.stat().st_size)
        await store.shrink()
        longest = max(longest, log.stat().st_size)
        async with store.reading() as connection:
            free = await connection.scalar(text("PRAGMA freelist_count"))
    assert free <= engine.SPARE_PAGES
    assert path.stat().st_size < large / 5
    assert longest < large / 2, "all at once, the log becomes as long as the file"


async def test_an_older_file_is_made_to_shrink(tmp_path: Path) -> None:
    async with open_store("", tmp_path):
        pass
    plain = sqlite3.connect(tmp_path / "sfu.db", isolation_level=None)
    plain.execute("PRAGMA auto_vacuum=NONE")
    plain.execute("VACUUM")
    assert plain.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    plain.close()
    async with open_store("", tmp_path) as store, store.reading() as connection:
        assert await connection.scalar(text("PRAGMA auto_vacuum")) == 2


async def test_a_room_that_nobody_used_is_gone_and_its_numbers_are_not_given_again(store: Store) -> None:
    for name in ("old", "new", "told"):
        await store.writes.durable(people.joined(f"PA_{name}", name, "ann", "Ann", 10))
    await store.writes.durable(messages.added(message(7, room="old", sent_ms=10)))
    await store.writes.durable(messages.added(message(3, room="told", sent_ms=90)))
    await store.writes.durable(people.joined("PA_2", "new", "ann", "Ann", 90))
    gone = await retention.expire(store, 50)
    assert gone.counts["rooms"] == 1
    async with store.reading() as connection:
        names = (await connection.scalars(select(tables.rooms.c.name).order_by(tables.rooms.c.name))).all()
        assert names == ["new", "told"], "one that is used, and one with a message"
        # Who comes back to the old room asks for what is newer than message 7.
        assert [await messages.head(connection, each) for each in ("old", "new", "told")] == [7, 0, 3]
    await store.writes.durable(people.joined("PA_3", "old", "ann", "Ann", 100))
    async with store.reading() as connection:
        assert await messages.head(connection, "old") == 7
