import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, OperationalError
from stored import message

from sfu.errors import RequestError
from sfu.store import engine, faults, messages, writes
from sfu.store.store import Store, open_store
from sfu.store.tables import messages as table


def write(store: Store, number: int, done: Callable[[RequestError | None], None] | None = None) -> None:
    store.writes.submit(messages.added(message(number)), done)


async def count(store: Store) -> int:
    async with store.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


async def test_told_after_the_commit_and_in_order(store: Store) -> None:
    told: list[int] = []
    for number in range(1, 301):
        write(store, number, lambda error, number=number: told.append(number if error is None else -number))
    assert told == []
    await store.writes.flush()
    assert told == list(range(1, 301))
    assert await count(store) == 300


async def test_what_comes_meanwhile_shares_a_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    commit = store.writes._commit

    async def counted(batch: list[object]) -> None:
        batches.append(len(batch))
        await commit(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(store.writes, "_commit", counted)
    for number in range(1, 101):
        write(store, number)
    await store.writes.flush()
    assert batches == [101], "a hundred messages and the mark of the flush"


async def test_one_bad_write_harms_no_other(store: Store) -> None:
    errors: list[RequestError | None] = []
    for number in (1, 2, 1, 3):
        write(store, number, errors.append)
    await store.writes.flush()
    assert [error is None for error in errors] == [True, True, False, True]
    assert await count(store) == 3


async def test_steps_of_one_write_stand_or_fall_together(store: Store) -> None:
    write(store, 1)
    await store.writes.flush()
    store.writes.submit([*messages.added(message(2)), *messages.added(message(1))])
    await store.writes.flush()
    assert await count(store) == 1


async def test_too_much_is_refused_until_it_has_drained(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path, max_waiting=3) as store:
        for number in (1, 2, 3):
            write(store, number)
        with pytest.raises(RequestError, match="overloaded"):
            write(store, 4)
        await store.writes.flush()
        write(store, 4)
        await store.writes.flush()
        assert await count(store) == 4


async def test_closing_commits_what_waits(url: str, tmp_path: Path) -> None:
    async with open_store(url, tmp_path) as store:
        for number in range(1, 51):
            write(store, number)
    with pytest.raises(RequestError, match="overloaded"):
        write(store, 51)
    async with open_store(url, tmp_path) as store:
        assert await count(store) == 50


async def test_flush_does_not_wait_for_what_comes_later(store: Store) -> None:
    write(store, 1)
    flushed = asyncio.ensure_future(store.writes.flush())
    numbers = iter(range(2, 10_000))

    def again(error: RequestError | None) -> None:
        if not flushed.done():
            write(store, next(numbers), again)

    write(store, next(numbers), again)
    await asyncio.wait_for(flushed, 10)
    await store.writes.flush()


async def test_an_exception_in_what_follows_stops_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(error: RequestError | None) -> None:
        raise RuntimeError("of the test")

    told: list[RequestError | None] = []
    write(store, 1, fails)
    write(store, 2, told.append)
    await store.writes.flush()
    assert told == [None]
    assert "what follows a write failed" in caplog.text


@contextlib.contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """The SQLite database as a backup program holds it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are tried; nothing waits long."""
    seen: list[int] = []
    execute = writes._execute

    async def counted(connection: object, batch: list[object]) -> None:
        seen.append(len(batch))
        await execute(connection, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(writes, "_execute", counted)
    monkeypatch.setattr(writes, "RETRY_S", (0.01,))
    monkeypatch.setattr(engine, "BUSY_MS", 0)
    return seen


async def test_a_held_database_is_waited_for(
    tmp_path: Path, tries: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[RequestError | None] = []
    async with open_store("", tmp_path) as store:
        with held(tmp_path / "sfu.db") as other:
            for number in range(1, 21):
                write(store, number, told.append)
            while "another program holds it" not in caplog.text:
                await asyncio.sleep(0.01)
            assert told == []
            other.execute("ROLLBACK")
            await store.writes.flush()
        assert told == [None] * 20
        assert tries[0] == 20, "all of them at once"
        assert await store.writes.transact(_nothing) == "done"
    assert caplog.text.count("the database is away") == caplog.text.count("the database is back") == 1


async def test_a_database_that_stays_held_fails_a_batch_as_one(
    tmp_path: Path, tries: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writes, "AWAY_S", 0.05)
    told: list[RequestError | None] = []
    async with open_store("", tmp_path) as store:
        with held(tmp_path / "sfu.db"):
            for number in range(1, 21):
                write(store, number, told.append)
            await store.writes.flush()
            assert [error.code if error else "" for error in told] == ["storage_failed"] * 20
            with pytest.raises(RequestError, match="storage_failed"):
                await store.writes.transact(_nothing)
        write(store, 21, told.append)
        await store.writes.flush()
        assert told[-1] is None
    assert caplog.text.count("writes failed") == 1, "one line for all of them"


async def test_a_held_database_does_not_keep_the_server_from_stopping(
    tmp_path: Path, tries: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "LAST_S", 0.0)
    monkeypatch.setattr(writes, "RETRY_S", (3600.0,))
    monkeypatch.setattr(writes, "MAX_BATCH", 1)
    told: list[RequestError | None] = []
    async with open_store("", tmp_path) as store:
        with held(tmp_path / "sfu.db"):
            for number in range(1, 21):
                write(store, number, told.append)
            while store.writes._away is None:
                await asyncio.sleep(0)
            await store.writes.close()
    assert [error.code if error else "" for error in told] == ["storage_failed"] * 20


async def _nothing(connection: object) -> str:
    return "done"


async def test_what_is_wrong_with_one_write_is_not_tried_again(store: Store, tries: list[int]) -> None:
    for number in (1, 1):
        write(store, number)
    await store.writes.flush()
    assert tries == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("code", "away", "whole"),
    [
        (sqlite3.SQLITE_BUSY, True, True),
        (sqlite3.SQLITE_BUSY | 2 << 8, True, True),
        (sqlite3.SQLITE_FULL, False, True),
        (sqlite3.SQLITE_IOERR, False, True),
        (sqlite3.SQLITE_CONSTRAINT, False, False),
    ],
)
def test_faults_of_sqlite(code: int, away: bool, whole: bool) -> None:
    cause = sqlite3.OperationalError("of the test")
    cause.sqlite_errorcode = code
    error = OperationalError("statement", None, cause)
    assert (faults.is_away(error), faults.is_whole(error)) == (away, whole)


@pytest.mark.parametrize(
    ("state", "away", "whole"),
    [("57P01", True, True), ("40001", True, True), ("53100", False, True), ("23505", False, False)],
)
def test_faults_of_postgresql(state: str, away: bool, whole: bool) -> None:
    cause = Exception("of the test")
    cause.sqlstate = state  # type: ignore[attr-defined]
    error = DBAPIError("statement", None, cause)
    assert (faults.is_away(error), faults.is_whole(error)) == (away, whole)


async def test_a_room_waits_for_its_own_writes_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()
    commit = store.writes._commit

    async def slow(batch: list[writes._Write]) -> None:
        await held.wait()
        await commit(batch)

    monkeypatch.setattr(store.writes, "_commit", slow)
    told: list[RequestError | None] = []
    store.writes.submit(messages.added(message(1)), told.append, room="r")
    await asyncio.sleep(0)
    await store.writes.flush("other")
    assert not told
    flushed = asyncio.ensure_future(store.writes.flush("r"))
    await asyncio.sleep(0)
    assert not flushed.done()
    held.set()
    await flushed
    assert told == [None]
    # What is done is not waited for again.
    held.clear()
    store.writes.submit(messages.added(message(2)))
    await store.writes.flush("r")
    held.set()
