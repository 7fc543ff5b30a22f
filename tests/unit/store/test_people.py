import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import insert, select
from stored import message, poll, question, stroke

from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.server import webhooks
from sfu.server.events import RoomEvent
from sfu.store import classwork, messages, outbox, people, retention, standing, tables, withdrawals
from sfu.store.messages import StoredMessage
from sfu.store.outbox import Delivery
from sfu.store.standing import StoredHand
from sfu.store.store import Store
from sfu.store.withdrawals import Removal
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
        assert tuple(room) == ("r", 100, 400, 0, None, None, None, None)
    async with store.reading() as connection:
        assert [row["id"] for row in await people.dead_sessions(connection)] == ["PA_2", "PA_3"]
    await written(store, people.crashed())
    async with store.reading() as connection:
        assert await people.dead_sessions(connection) == []
        rows = await people.attendance(connection, "r", limit=1)
        assert (rows[0]["left_ms"], rows[0]["reason"]) == (None, "crashed")


def event(number: int, **data: Any) -> list[Step]:
    """One that waits for a webhook."""
    body = json.dumps({"id": f"EV_{number}", "type": "message", "data": data})
    return outbox.added(Delivery(number=number, url="http://u", event=f"EV_{number}", body=body, at_ms=1))


async def _a_life(store: Store) -> None:
    """Of Ann, and a little of Ben's."""
    ben: dict[str, Any] = {"identity": "ben", "sender": "PA_ben", "name": "Ben"}
    mine = message(1, mentions=("ben",))
    to_her = message(2, **ben, recipient="PA_ann", to_identity="ann")
    liked = message(3, **ben, rev=4, reactions={"👍": ("ann",)})
    named = message(6, **ben, text="@ann and @ben: see @ben", mentions=("ann", "ben"))
    await written(
        store,
        people.joined("PA_ann", "r", "ann", "Ann", 1),
        people.joined("PA_ben", "r", "ben", "Ben", 1),
        messages.added(mine),
        messages.added(to_her),
        messages.added(message(3, identity="ben", sender="PA_ben", name="Ben")),
        messages.reacted(liked, "👍", "ann", 5),
        messages.added(message(5, **ben)),
        messages.reacted(message(1, rev=1, mentions=("ben",), reactions={"👎": ("ben",)}), "👎", "ben", 5),
        messages.added(named),
        people.recorded(8, "r", "ben", "chat_delete", {"message": 4, "of": "ann"}),
        people.recorded(9, "r", "ben", "chat_delete", {"message": 4, "of": "anna"}),
        event(1, message={"identity": "ann", "name": "Ann", "text": "mine"}),
        event(2, message={"identity": "ben", "name": "Ben", "text": "@ann", "mentions": ["ann"]}),
        event(3, message={"identity": "ben", "name": "Ben", "text": "ben's own"}),
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
            *standing.raised("r", StoredHand(identity="ann", number=1, raised_ms=1)),
            *standing.placed("r", ["ann", "ben"], 1, 1),
            *withdrawals.removed(Removal("r", "ann", 1, 2)),
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
        "users": 1, "sessions": 1, "messages": 3, "reactions": 1, "read_positions": 1, "files": 2,
        "questions": 1, "question_votes": 2, "polls": 0, "ballots": 1, "strokes": 1, "turns": 1,
        "hands": 1, "breakout_places": 1, "telemetry": 1, "thresholds": 1, "audit": 2, "outbox": 2,
        "removals": 1,
    }  # fmt: skip
    assert {row["text"] for row in found["messages"]} == {
        "message 1",
        "message 2",
        "@ann and @ben: see @ben",
    }
    private = message(7, identity="ben", to_identity="cat", text="of @ann", mentions=("ann",))
    await written(store, messages.added(private))
    async with store.reading() as connection:
        assert len((await people.export(connection, "ann"))["messages"]) == 3, "that one is Ben's and Cat's"


async def test_an_erased_person_is_nowhere(store: Store) -> None:
    await _a_life(store)
    assert await store.writes.transact(lambda connection: people.erase(connection, "ann")) == ["aa"]
    async with store.reading() as connection:
        lines = await people.audit_log(connection, room="r", limit=10)
        assert [line["detail"]["of"] for line in lines] == ["anna", people.ERASED]
        assert [each.number for each in await outbox.waiting(connection)] == [3]
        for table in tables.metadata.sorted_tables:
            for row in (await connection.execute(select(table))).all():
                assert not re.search("ann(?!a)", repr(tuple(row)).lower()), table.name
        place = await messages.one(connection, "r", 1)
        assert isinstance(place, StoredMessage)
        assert (place.deleted, place.text, place.identity, place.rev) == (True, "", people.ERASED, 7)
        assert place.reactions == {}
        named = await messages.one(connection, "r", 6)
        assert named is not None
        assert (named.text, named.mentions) == ("@erased and @ben: see @ben", ("erased", "ben"))
        # What has changed, each with a number of its own.
        last = (await messages.latest(connection, "r", limit=10, characters=10**6)).messages
        assert [(each.id, each.rev) for each in last] == [(5, 5), (1, 7), (2, 8), (3, 9), (6, 10)]
        (kept_poll,) = await classwork.polls_of(connection, "r")
        assert kept_poll.ballots == {"ben": (1,)}
        (asked,) = await classwork.questions_of(connection, "r")
        assert (asked.id, asked.voters) == (1, ("ben",))
        kept = await people.export(connection, "ben")
        assert [len(kept[name]) for name in ("messages", "files", "sessions")] == [4, 1, 1]


async def test_retention_takes_reactions_with_their_message(store: Store) -> None:
    reacted = [message(number, sent_ms=number, reactions={"👍": ("ben",)}) for number in (1, 9)]
    await written(
        store,
        *(messages.added(each) for each in reacted),
        *(messages.reacted(each, "👍", "ben", 20) for each in reacted),
    )
    await retention.expire(store, 5)
    async with store.reading() as connection:
        left = (await connection.execute(select(tables.reactions.c.message))).scalars().all()
    assert left == [9]


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
    gone = await retention.expire(store, 4)
    assert (gone.hashes, gone.counts["messages"], gone.counts["files"]) == (["aa"], 6, 1)
    async with store.reading() as connection:
        left = (await messages.page(connection, "r", "ann", limit=10, characters=10**6)).messages
        assert [each.id for each in left] == [4, 5]
        assert await people.attendance(connection, "r", limit=10) == []
    await retention.expire(store, 100)
    async with store.reading() as connection:
        assert (await messages.page(connection, "r", "ann", limit=10, characters=10**6)).messages == []
        assert [await messages.head(connection, room) for room in "rs"] == [5, 5]


async def test_a_room_is_remembered_until_it_has_not_been_used_for_long(store: Store) -> None:
    lesson = people.StoredSettings(template="classroom", locked=True, lobby=False, silenced=True)
    await written(
        store,
        people.room_set("r", lesson, 100),
        people.joined("PA_1", "other", "ann", "Ann", 100),
        people.joined("PA_2", "r", "ann", "Ann", 200),
    )
    async with store.reading() as connection:
        assert await people.room_settings(connection, "r") == lesson
        assert await people.room_settings(connection, "other") is None
        assert await people.room_settings(connection, "nowhere") is None
    for before_ms, left in ((150, lesson), (250, None)):
        await retention.expire(store, before_ms)
        async with store.reading() as connection:
            assert await people.room_settings(connection, "r") == left


@pytest.mark.parametrize("identity", ["a%n", "a_n", 'a"n', "ä\\n", "a/n", "安"])
async def test_an_identity_is_found_by_its_characters(store: Store, identity: str) -> None:
    """None of them means something else to a database."""
    await written(
        store,
        *(
            [
                *messages.added(message(number, text=f"@{who}!", mentions=(who,))),
                *people.recorded(1, "r", "ben", "chat_delete", {"of": who}),
                *outbox.added(_delivery(number, who)),
            ]
            for number, who in enumerate((identity, "another", f"{identity}x"), 1)
        ),
    )
    await store.writes.transact(lambda connection: people.erase(connection, identity))
    async with store.reading() as connection:
        texts = [
            each.text
            for each in (await messages.page(connection, "r", "ann", limit=10, characters=10**6)).messages
        ]
        assert texts == ["@erased!", "@another!", f"@{identity}x!"]
        lines = await people.audit_log(connection, room=None, limit=10)
        assert [line["detail"]["of"] for line in lines] == [f"{identity}x", "another", "erased"]
        assert [each.number for each in await outbox.waiting(connection)] == [2, 3]


def _delivery(number: int, who: str) -> Delivery:
    at = RoomEvent(id=f"EV_{number}", at_ms=1, room=RoomName("r"), type="hand", data={"identity": who})
    return Delivery(number=number, url="http://u", event=at.id, body=webhooks.body(at), at_ms=1)


async def test_any_number_of_contents_is_asked_about(store: Store) -> None:
    """More than a database takes parameters."""
    await written(store, [(insert(tables.files), file(1, "ann", "7"))])
    async with store.reading() as connection:
        found = await people.unused(connection, [str(number) for number in range(300_000)])
    assert len(found) == 299_999
    assert "7" not in found


async def test_sessions_of_one_moment_are_on_one_page_each(store: Store) -> None:
    await written(store, *(people.joined(f"PA_{n}", "r", "ann", "Ann", 100 + n // 4) for n in range(6)))
    found: list[str] = []
    before: tuple[int, str] | None = None
    async with store.reading() as connection:
        while rows := await people.attendance(connection, "r", limit=2, before=before):
            found += [row["id"] for row in rows]
            before = (rows[-1]["joined_ms"], rows[-1]["id"])
        assert found == ["PA_5", "PA_4", "PA_3", "PA_2", "PA_1", "PA_0"]
        (row,) = await people.attendance(connection, "r", limit=1, before=(101, None))
        assert row["joined_ms"] == 100
