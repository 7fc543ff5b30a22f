"""What people ask the database: in parts, so that others have their turn, and never where joins need it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from stored import message

from sfu.config import LimitsConfig
from sfu.ids import RoomName
from sfu.server import queries
from sfu.server.costs import LOOKED_US, ROW_US, SAID_US
from sfu.server.fairness import Account, Turns
from sfu.server.queries import Queries
from sfu.store import messages, samples
from sfu.store.engine import FOR_REQUESTS, FOR_SCANS, READERS
from sfu.store.samples import Filter, StoredSample
from sfu.store.store import Store, open_store

ROOM = RoomName("r")


def account() -> Account:
    return Account(LimitsConfig(), 0)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("temporary", None) as opened:
        yield opened


async def said(store: Store, count: int) -> None:
    for number in range(1, count + 1):
        store.writes.submit(messages.added(message(number, text="yes" if number % 10 == 0 else "no")))
    await store.writes.flush()


async def search(
    store: Store, text: str, limit: int = 3, before: int | None = None
) -> tuple[list[int], float]:
    """The ids found, and what it cost."""
    who = account()
    found = await Queries(store, Turns()).search(
        who, ROOM, "ann", text, limit=limit, characters=1000, before=before
    )
    return [each.id for each in found.messages], who.charged_us


async def test_a_search_looks_at_the_newest_first_and_no_further_than_it_must(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SEARCHED_AT_ONCE", 25)
    await said(store, 100)
    assert (await search(store, "YES"))[0] == [100, 90, 80]
    assert (await search(store, "yes", before=90))[0] == [80, 70, 60]
    assert (await search(store, "yes", limit=100))[0] == list(range(100, 0, -10))
    assert (await search(store, "never"))[1] == 100 * LOOKED_US
    assert (await search(store, "no"))[1] == 25 * LOOKED_US + 4 * ROW_US + 6 * SAID_US
    monkeypatch.setattr(queries, "SEARCHED", 15)
    assert (await search(store, "yes", limit=100))[0] == [100, 90]


async def test_whatever_people_ask_for_readers_are_left_for_who_joins(store: Store) -> None:
    those = Queries(store, Turns())
    async with contextlib.AsyncExitStack() as stack:
        waiting = []
        for _ in range(FOR_REQUESTS):
            await stack.enter_async_context(those.reading(account()))
        for _ in range(FOR_SCANS):
            await stack.enter_async_context(those._scanning(account()))

        async def ask() -> None:
            async with those.reading(account()):
                pass

        waiting = [asyncio.create_task(ask()) for _ in range(50)]
        await asyncio.sleep(0)
        assert READERS - FOR_REQUESTS - FOR_SCANS >= 2
        async with asyncio.timeout(5):
            async with store.reading(), store.reading():
                pass
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


def sample(at_ms: int, value: float, series: str = "pulse", room: str = "r") -> StoredSample:
    return StoredSample(room=room, identity="cam", series=series, unit="", at_ms=at_ms, value=value)


async def summed(
    store: Store, wanted: Filter, step_ms: int, limit: int
) -> list[tuple[int, int, float, float]]:
    found = await Queries(store, Turns()).summary(account(), wanted, step_ms=step_ms, limit=limit)
    return [(each["at_ms"], each["count"], each["min"], each["max"]) for each in found]


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
async def test_samples_are_summed_up_over_steps_of_time(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(queries, "SAMPLES_AT_ONCE", at_once)
    those = [*(sample(at_ms, at_ms) for at_ms in (0, 500, 999, 1000, 3000)), sample(7, 9, room="s")]
    store.writes.submit(samples.added(those))
    await store.writes.flush()
    whole = [(0, 3, 0, 999), (1000, 1, 1000, 1000), (3000, 1, 3000, 3000)]
    assert await summed(store, Filter(room="r"), 1000, 10) == whole
    assert await summed(store, Filter(room="r"), 1000, 2) == whole[1:]
    assert await summed(store, Filter(room="r", to_ms=1000), 1000, 9) == whole[:1]
    assert await summed(store, Filter(room="r", from_ms=600), 1000, 9) == [(0, 1, 999, 999), *whole[1:]]
    assert await summed(store, Filter(room="r", identity="cam", series="pulse"), 10_000, 9) == [
        (0, 5, 0, 3000)
    ]
    assert await summed(store, Filter(room="r", series="other"), 1000, 9) == []
    (step,) = await Queries(store, Turns()).summary(
        account(), Filter(room="r", to_ms=1000), step_ms=1000, limit=1
    )
    assert abs(step["mean"] - 1499 / 3) < 1e-9
