from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from stored import message

from sfu.errors import RequestError
from sfu.store import messages
from sfu.store.messages import StoredMessage
from sfu.store.store import Store
from sfu.store.writes import Step


async def written(store: Store, *writes: list[Step]) -> None:
    errors: list[RequestError | None] = []
    for steps in writes:
        store.writes.submit(steps, errors.append)
    await store.writes.flush()
    assert errors == [None] * len(writes)


async def filled(store: Store, count: int) -> None:
    await written(store, *(messages.added(message(number)) for number in range(1, count + 1)))


def ids(found: list[StoredMessage]) -> list[int]:
    return [each.id for each in found]


async def page(connection: AsyncConnection, room: str, identity: str, **wanted: Any) -> list[StoredMessage]:
    return (await messages.page(connection, room, identity, characters=10**6, **wanted)).messages


async def latest(connection: AsyncConnection, limit: int) -> list[StoredMessage]:
    return (await messages.latest(connection, "r", limit=limit, characters=10**6)).messages


async def search(
    connection: AsyncConnection, identity: str, text: str, *, limit: int = 10, newest: int = 10**6
) -> list[StoredMessage]:
    rows = await messages.search(connection, "r", identity, text, oldest=1, newest=newest, limit=limit)
    return (await messages.within(connection, "r", rows, limit, 10**6)).messages


async def test_a_message_comes_back_as_it_was(store: Store) -> None:
    sent = message(
        7,
        text="héllo 世界 😀 100%_\\",
        mentions=("ben", "cat"),
        recipient="PA_ben",
        to_identity="ben",
        file="FI_1",
    )
    await written(store, messages.added(sent))
    async with store.reading() as connection:
        assert await messages.one(connection, "r", 7) == sent
        assert await messages.one(connection, "r", 8) is None
        assert await messages.one(connection, "other", 7) is None
        assert (await messages.head(connection, "r"), await messages.head(connection, "other")) == (7, 0)


async def test_pages_go_back_and_forth(store: Store) -> None:
    await filled(store, 25)
    async with store.reading() as connection:
        newest = await page(connection, "r", "ann", limit=10)
        assert ids(newest) == list(range(16, 26))
        assert ids(await page(connection, "r", "ann", limit=10, before=16)) == list(range(6, 16))
        assert ids(await page(connection, "r", "ann", limit=10, before=6)) == [1, 2, 3, 4, 5]
        assert ids(await page(connection, "r", "ann", limit=3, after=20)) == [21, 22, 23]
        assert await page(connection, "elsewhere", "ann", limit=10) == []


async def test_private_messages_are_for_two(store: Store) -> None:
    private = message(1, recipient="PA_ben", to_identity="ben", text="psst")
    await written(store, messages.added(private), messages.added(message(2)))
    async with store.reading() as connection:
        for identity, expected in (("ann", [1, 2]), ("ben", [1, 2]), ("cat", [2])):
            assert ids(await page(connection, "r", identity, limit=10)) == expected
            found = await search(connection, identity, "PSST", limit=10)
            assert ids(found) == expected[:-1]


async def test_changes_have_their_own_order(store: Store) -> None:
    await written(store, *(messages.added(message(number, file="FI_1")) for number in (1, 2, 3)))
    edited = replace(message(1, file="FI_1"), rev=4, text="other", edited_ms=5_000, mentions=("ben",))
    deleted = replace(message(2), rev=5, text="", deleted=True)
    await written(store, messages.changed(edited), messages.changed(deleted))
    async with store.reading() as connection:
        assert await latest(connection, 3) == [message(3, file="FI_1"), edited, deleted]
        assert ids(await latest(connection, 2)) == [1, 2]
        assert await messages.head(connection, "r") == 5
        assert await search(connection, "ann", "message 2", limit=10) == []


async def test_reactions_come_and_go(store: Store) -> None:
    await filled(store, 1)
    both = replace(message(1), rev=3, reactions={"👍": ("ben", "cat")})
    one = replace(both, rev=2, reactions={"👍": ("ben",)})
    await written(store, messages.reacted(one, "👍", "ben", 100), messages.reacted(both, "👍", "cat", 200))
    async with store.reading() as connection:
        assert await messages.one(connection, "r", 1) == both
    back = replace(both, rev=4, reactions={"👍": ("cat",)})
    await written(store, messages.reacted(back, "👍", "ben", 300))
    async with store.reading() as connection:
        assert await messages.one(connection, "r", 1) == back
    gone = replace(back, rev=5, deleted=True, text="", reactions={})
    await written(store, messages.changed(gone))
    async with store.reading() as connection:
        assert await messages.one(connection, "r", 1) == gone


async def test_search_takes_characters_as_they_are(store: Store) -> None:
    texts = ["100% sure", "100 sure", "snake_case", "snakeXcase", "数学作业", "a\\b"]
    await written(store, *(messages.added(message(n, text=text)) for n, text in enumerate(texts, 1)))
    async with store.reading() as connection:
        for text, expected in (("100%", [1]), ("E_C", [3]), ("作业", [5]), ("\\", [6]), ("SURE", [2, 1])):
            assert ids(await search(connection, "ann", text, limit=10)) == expected, text
        assert ids(await search(connection, "ann", "s", limit=2)) == [4, 3]
        assert ids(await search(connection, "ann", "s", limit=2, newest=2)) == [2, 1]


async def test_read_positions(store: Store) -> None:
    await written(store, messages.read("r", "ann", 5, 1), messages.read("r", "ann", 9, 2))
    async with store.reading() as connection:
        assert await messages.read_position(connection, "r", "ann") == 9
        assert await messages.read_position(connection, "r", "ben") == 0


async def test_what_is_too_long_comes_in_parts(store: Store) -> None:
    await written(store, *(messages.added(message(n, text="x" * 40)) for n in range(1, 10)))
    async with store.reading() as connection:

        async def cut(**wanted: Any) -> tuple[list[int], bool]:
            found = await messages.page(connection, "r", "ann", limit=8, characters=100, **wanted)
            return ids(found.messages), found.more

        assert await cut() == ([8, 9], True)
        assert await cut(before=3) == ([1, 2], False)
        assert await cut(after=5) == ([6, 7], True)
        assert await cut(after=7) == ([8, 9], False)
        one = await messages.page(connection, "r", "ann", limit=8, characters=1)
        assert (ids(one.messages), one.more) == ([9], True)


async def test_reactions_count_as_what_is_read_and_as_its_length(store: Store) -> None:
    await filled(store, 2)
    many = {"👍": tuple(f"someone-{n:03}" for n in range(50))}
    for count in range(1, 51):
        now = replace(message(2), rev=count + 2, reactions={"👍": many["👍"][:count]})
        await written(store, messages.reacted(now, "👍", many["👍"][count - 1], count))
    async with store.reading() as connection:
        found = await messages.page(connection, "r", "ann", limit=10, characters=10_000)
        assert (ids(found.messages), found.rows, found.more) == ([1, 2], 52, False)
        assert found.messages[1].reactions == many
        short = await messages.page(connection, "r", "ann", limit=10, characters=500)
        assert (ids(short.messages), short.more) == ([2], True)
