"""What stands in a room, on both databases."""

from __future__ import annotations

from test_people import written

from sfu.store import people, retention, standing
from sfu.store.standing import StoredHand, StoredStanding
from sfu.store.store import Store


def hand(identity: str, number: int, raised_ms: int = 1) -> StoredHand:
    return StoredHand(identity=identity, number=number, raised_ms=raised_ms)


async def found(store: Store, room: str = "r") -> StoredStanding:
    async with store.reading() as connection:
        return await standing.standing_in(connection, room)


async def test_hands_are_read_in_the_order_of_raising(store: Store) -> None:
    await written(
        store,
        standing.raised("r", hand("ben", 1, 50)),
        standing.raised("r", hand("ann", 2, 40)),
        standing.raised("r", hand("cid", 3)),
        standing.raised("elsewhere", hand("ben", 1)),
        standing.lowered("r", "cid"),
        # Again, without a word of its end before.
        standing.raised("r", hand("ben", 4, 60)),
    )
    assert await found(store) == StoredStanding(
        hands=(hand("ann", 2, 40), hand("ben", 4, 60)), places={}, last_ms=60
    )
    await written(store, standing.lowered("r", None))
    assert await found(store) == StoredStanding(places={})
    assert (await found(store, "elsewhere")).hands == (hand("ben", 1),)


async def test_breakout_rooms_are_read_with_who_is_in_them(store: Store) -> None:
    await written(
        store,
        standing.divided("r", [(1, "Old")], 1),
        standing.placed("r", ["ann"], 1, 2),
        standing.divided("r", [(1, "One"), (2, "Two")], 3),
        standing.placed("r", ["ben", "cid", "dan"], 1, 4),
        standing.placed("r", ["cid"], 2, 5),
        standing.placed("r", ["dan"], None, 6),
    )
    assert await found(store) == StoredStanding(
        breakouts=((1, "One"), (2, "Two")), places={"ben": 1, "cid": 2}, last_ms=5
    )
    await written(store, standing.united("r"))
    assert await found(store) == StoredStanding(places={})
    await written(
        store,
        standing.raised("r", hand("ann", 1)),
        standing.divided("r", [(1, "One")], 1),
        standing.placed("r", ["ann"], 1, 2),
        standing.cleared("r"),
    )
    assert await found(store) == StoredStanding(places={})


async def test_what_stood_is_as_old_as_anything_else(store: Store) -> None:
    await written(
        store,
        standing.raised("r", hand("ann", 1, 10)),
        standing.raised("r", hand("ben", 2, 60)),
        standing.divided("r", [(1, "One")], 10),
        standing.placed("r", ["ann"], 1, 10),
    )
    await retention.expire(store, 50)
    assert await found(store) == StoredStanding(hands=(hand("ben", 2, 60),), places={}, last_ms=60)


async def test_who_records_is_known_until_it_ends(store: Store) -> None:
    async def recording() -> dict[str, bool]:
        async with store.reading() as connection:
            rows = await people.attendance(connection, "r", limit=10)
        return {row["identity"]: row["recording"] for row in rows}

    await written(
        store,
        *(people.joined(f"PA_{who}", "r", who, who, 1) for who in ("ann", "ben", "cid")),
        *(people.recording(f"PA_{who}", on=True) for who in ("ann", "ben", "cid")),
        people.recording("PA_ann", on=False),
        people.left("PA_ben", "left", 2),
    )
    assert await recording() == {"ann": False, "ben": False, "cid": True}
    async with store.reading() as connection:
        dead = await people.dead_sessions(connection)
    assert {row["identity"]: row["recording"] for row in dead} == {"ann": False, "cid": True}
    await written(store, people.crashed())
    assert await recording() == {"ann": False, "ben": False, "cid": False}
