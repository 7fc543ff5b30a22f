from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select
from stored import message, poll, question, stroke

from sfu.errors import RequestError
from sfu.store import classwork, messages, people, retention, tables
from sfu.store.messages import StoredMessage
from sfu.store.store import Store
from sfu.store.writes import Step


async def written(store: Store, *writes: list[Step]) -> None:
    errors: list[RequestError | None] = []
    for steps in writes:
        store.writes.submit(steps, errors.append)
    await store.writes.flush()
    assert errors == [None] * len(writes)


def file(number: int, identity: str, sha256: str, created_ms: int = 1) -> Mapping[str, Any]:
    return {
        "id": f"FI_{number}", "room": "r", "identity": identity, "name": "a.png", "type": "image/png",
        "bytes": 3, "sha256": sha256, "width": 1, "height": 1, "created_ms": created_ms,
    }  # fmt: skip


async def test_sessions_say_who_when_and_why(store: Store) -> None:
    await written(
        store,
        people.joined("PA_1", "r", "ann", "Ann", 100),
        people.joined("PA_2", "r", "ben", "Ben", 200),
        people.left("PA_1", "left", 300),
        people.joined("PA_3", "r", "ann", "Anna", 400),
    )
    async with store.reading() as connection:
        rows = await people.attendance(connection, "r", limit=10)
        assert [(row["id"], row["left_ms"], row["reason"]) for row in rows] == [
            ("PA_3", None, None),
            ("PA_2", None, None),
            ("PA_1", 300, "left"),
        ]
        users = (await connection.execute(select(tables.users).order_by(tables.users.c.identity))).all()
        assert [tuple(row) for row in users] == [("ann", "Anna", 100, 400), ("ben", "Ben", 200, 200)]
        (room,) = (await connection.execute(select(tables.rooms))).all()
        assert tuple(room) == ("r", 100, 400, 0)
    assert await store.writes.transact(people.close_dead_sessions) == 2
    async with store.reading() as connection:
        rows = await people.attendance(connection, "r", limit=1)
        assert (rows[0]["left_ms"], rows[0]["reason"]) == (None, "crashed")


async def _a_life(store: Store) -> None:
    """Of Ann, and a little of Ben's."""
    mine = message(1, mentions=("ben",))
    to_her = message(2, identity="ben", sender="PA_ben", name="Ben", recipient="PA_ann", to_identity="ann")
    liked = message(3, identity="ben", sender="PA_ben", name="Ben", rev=4, reactions={"👍": ("ann",)})
    await written(
        store,
        people.joined("PA_ann", "r", "ann", "Ann", 1),
        people.joined("PA_ben", "r", "ben", "Ben", 1),
        messages.added(mine),
        messages.added(to_her),
        messages.added(message(3, identity="ben", sender="PA_ben", name="Ben")),
        messages.reacted(liked, "👍", "ann", 5),
        messages.read("r", "ann", 3, 6),
        people.recorded(7, "r", "ann", "kick", {"who": "ben"}),
        [
            (insert(tables.files), file(1, "ann", "aa")),
            (insert(tables.files), file(2, "ann", "bb")),
            (insert(tables.files), file(3, "ben", "bb")),
            *classwork.asked(question(1, "ben", voters=("ann", "ben"))),
            *classwork.asked(question(2, "ann", voters=("ann", "ben"))),
            *classwork.opened(poll(1, "ben")),
            *classwork.cast("r", 1, "ann", (0,), 1),
            *classwork.cast("r", 1, "ben", (1,), 1),
            *classwork.drawn("r", (), (stroke("s1", "ann"), stroke("s2", "ben"))),
            *classwork.taken("r", {"ann": 2, "ben": 1}, 1),
            *classwork.thresholds_set("r", "ann", "heart_rate", 50, None, 1),
            (
                insert(tables.telemetry),
                {
                    "room": "r", "identity": "ann", "series": "heart_rate", "unit": "bpm", "at_ms": 1,
                    "value": 70.5,
                },
            ),
        ],
    )  # fmt: skip


async def test_everything_of_a_person_can_be_taken_out(store: Store) -> None:
    await _a_life(store)
    async with store.reading() as connection:
        found = await people.export(connection, "ann")
    counts = {table: len(rows) for table, rows in found.items()}
    assert counts == {
        "users": 1, "sessions": 1, "messages": 2, "reactions": 1, "read_positions": 1, "files": 2,
        "questions": 1, "question_votes": 2, "polls": 0, "ballots": 1, "strokes": 1, "turns": 1,
        "telemetry": 1, "thresholds": 1, "audit": 1,
    }  # fmt: skip
    assert {row["text"] for row in found["messages"]} == {"message 1", "message 2"}


async def test_an_erased_person_is_nowhere(store: Store) -> None:
    await _a_life(store)
    assert await store.writes.transact(lambda connection: people.erase(connection, "ann")) == ["aa"]
    async with store.reading() as connection:
        for table in tables.metadata.sorted_tables:
            for row in (await connection.execute(select(table))).all():
                assert "ann" not in repr(tuple(row)).lower(), table.name
        place = await messages.one(connection, "r", 1)
        assert isinstance(place, StoredMessage)
        assert (place.deleted, place.text, place.identity, place.rev) == (True, "", people.ERASED, 5)
        (kept_poll,) = await classwork.polls_of(connection, "r")
        assert kept_poll.ballots == {"ben": (1,)}
        (asked,) = await classwork.questions_of(connection, "r")
        assert (asked.id, asked.voters) == (1, ("ben",))
        kept = await people.export(connection, "ben")
        assert [len(kept[name]) for name in ("messages", "files", "sessions")] == [2, 1, 1]


async def test_retention_deletes_the_old_and_keeps_the_counter(store: Store) -> None:
    await written(
        store,
        people.joined("PA_1", "r", "ann", "Ann", 1),
        *(
            messages.added(message(number, room=room, sent_ms=number))
            for room in "rs"
            for number in range(1, 6)
        ),
        [(insert(tables.files), file(1, "ann", "aa", 1)), (insert(tables.files), file(2, "ann", "bb", 9))],
    )
    assert await store.writes.transact(lambda connection: retention.expire(connection, 4)) == ["aa"]
    async with store.reading() as connection:
        left = await messages.page(connection, "r", "ann", limit=10)
        assert [each.id for each in left] == [4, 5]
        assert await people.attendance(connection, "r", limit=10) == []
    await store.writes.transact(lambda connection: retention.expire(connection, 100))
    async with store.reading() as connection:
        assert await messages.page(connection, "r", "ann", limit=10) == []
        assert [await messages.head(connection, room) for room in "rs"] == [5, 5]
