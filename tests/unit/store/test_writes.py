import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select
from stored import message

from sfu.errors import RequestError
from sfu.store import messages
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
