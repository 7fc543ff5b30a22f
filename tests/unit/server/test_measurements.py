"""Samples on their way to the store: a room has a bound."""

from __future__ import annotations

from signalling import until

from sfu.ids import RoomName
from sfu.room.alarms import Sample
from sfu.room.effects import SamplesToStore
from sfu.server.measurements import Measurements
from sfu.store import samples
from sfu.store.samples import Filter
from sfu.store.store import Store, open_store

ROOM = RoomName("r")


async def stored(store: Store) -> list[float]:
    return [row.value async for page in samples.pages(store.reading, Filter(room=ROOM)) for row in page]


async def fill(most: int) -> list[float]:
    async with open_store("temporary", None) as store:
        measurements = Measurements(store, most)
        for first in range(0, 1000, 100):
            taken = tuple(Sample("pulse", at_ms, at_ms) for at_ms in range(first, first + 100))
            measurements.keep(SamplesToStore(ROOM, "cam", taken, {"pulse": ""}))
            await store.writes.flush()
            await until(lambda: not measurements._pruning)
        measurements.close()
        return await stored(store)


async def test_a_room_keeps_its_newest_samples() -> None:
    assert await fill(most=150) == list(range(850, 1000))


async def test_no_bound_is_no_bound() -> None:
    assert len(await fill(most=0)) == 1000
