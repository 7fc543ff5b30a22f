"""Telemetry in the database: exported by pages, summed up over steps, deleted after its time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sfu.store import samples
from sfu.store.engine import READERS
from sfu.store.samples import Filter, StoredSample
from sfu.store.store import Store


def sample(at_ms: int, value: float, *, room: str = "r", identity: str = "cam", series: str = "pulse") -> Any:
    return StoredSample(room=room, identity=identity, series=series, unit="1/min", at_ms=at_ms, value=value)


async def write(store: Store, *measured: StoredSample) -> None:
    errors: list[object] = []
    store.writes.submit(samples.added(measured), errors.append)
    await store.writes.flush()
    assert errors == [None]


async def values(store: Store, wanted: Filter) -> list[float]:
    return [row.value async for page in samples.pages(store.reading, wanted) for row in page]


async def test_an_export_goes_over_pages_in_the_order_of_time(store: Store) -> None:
    many = 2 * samples.PAGE + 1
    # Three at each moment: pages end in the midst of them.
    await write(store, *(sample(number // 3, number, series=str(number % 3)) for number in range(many)))
    assert await values(store, Filter(room="r")) == list(range(many))
    await write(store, sample(0, -1.5, series="x"))
    assert (await values(store, Filter(room="r")))[:5] == [0, 1, 2, -1.5, 3]


async def test_an_export_holds_no_connection_while_nobody_reads_it(store: Store) -> None:
    many = samples.PAGE + 1
    await write(store, *(sample(number, number) for number in range(many)))
    slow = [samples.pages(store.reading, Filter(room="r")) for _ in range(READERS + 3)]
    for each in slow:
        assert len(await anext(each)) == samples.PAGE
    async with asyncio.timeout(5):
        assert (await values(store, Filter(room="r")))[-1] == many - 1


async def test_an_export_has_only_what_is_asked_for(store: Store) -> None:
    await write(
        store,
        sample(1, 1),
        sample(2, 2, identity="other"),
        sample(3, 3, series="temperature"),
        sample(4, 4, room="s"),
        sample(5, 5),
    )
    assert await values(store, Filter(room="r")) == [1, 2, 3, 5]
    assert await values(store, Filter(room="r", identity="cam")) == [1, 3, 5]
    assert await values(store, Filter(room="r", series="pulse")) == [1, 2, 5]
    assert await values(store, Filter(room="r", from_ms=2, to_ms=5)) == [2, 3]
    assert await values(store, Filter(room="nowhere")) == []


async def test_what_is_sent_again_is_stored_once(store: Store) -> None:
    twice = [sample(1, 70), sample(2, 71), sample(1, 70)]
    await write(store, *twice)
    await write(store, *twice, sample(1, 90), sample(1, 50, series="other"), sample(1, 60, identity="other"))
    assert sorted(await values(store, Filter(room="r"))) == [50, 60, 70, 71]


async def test_of_too_many_the_oldest_of_whoever_has_most_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "PRUNED", 7)
    await write(
        store,
        *(sample(number, number, identity="flood") for number in range(40)),
        *(sample(number, -1 - number, identity="quiet") for number in range(10)),
        sample(0, 5, room="s"),
    )
    assert await samples.prune(store, "r", 30) == 20
    assert sorted(await values(store, Filter(room="r"))) == [*range(-10, 0), *range(20, 40)]
    assert await values(store, Filter(room="s")) == [5]
    assert await samples.prune(store, "r", 30) == 0
    assert await samples.prune(store, "r", 0) == 30
