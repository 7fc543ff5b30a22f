from dataclasses import replace

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
        newest = await messages.page(connection, "r", "ann", limit=10)
        assert ids(newest) == list(range(16, 26))
        assert ids(await messages.page(connection, "r", "ann", limit=10, before=16)) == list(range(6, 16))
        assert ids(await messages.page(connection, "r", "ann", limit=10, before=6)) == [1, 2, 3, 4, 5]
        assert ids(await messages.page(connection, "r", "ann", limit=3, after=20)) == [21, 22, 23]
        assert await messages.page(connection, "elsewhere", "ann", limit=10) == []


async def test_private_messages_are_for_two(store: Store) -> None:
    private = message(1, recipient="PA_ben", to_identity="ben", text="psst")
    await written(store, messages.added(private), messages.added(message(2)))
    async with store.reading() as connection:
        for identity, expected in (("ann", [1, 2]), ("ben", [1, 2]), ("cat", [2])):
            assert ids(await messages.page(connection, "r", identity, limit=10)) == expected
            found = await messages.search(connection, "r", identity, "PSST", limit=10)
            assert ids(found) == expected[:-1]


async def test_changes_have_their_own_order(store: Store) -> None:
    await written(store, *(messages.added(message(number, file="FI_1")) for number in (1, 2, 3)))
    edited = replace(message(1, file="FI_1"), rev=4, text="other", edited_ms=5_000, mentions=("ben",))
    deleted = replace(message(2), rev=5, text="", deleted=True)
    await written(store, messages.changed(edited), messages.changed(deleted))
    async with store.reading() as connection:
        assert await messages.latest(connection, "r", 3) == [message(3, file="FI_1"), edited, deleted]
        assert ids(await messages.latest(connection, "r", 2)) == [1, 2]
        assert await messages.head(connection, "r") == 5
        assert await messages.search(connection, "r", "ann", "message 2", limit=10) == []


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
            assert ids(await messages.search(connection, "r", "ann", text, limit=10)) == expected, text
        assert ids(await messages.search(connection, "r", "ann", "s", limit=2)) == [4, 3]
        assert ids(await messages.search(connection, "r", "ann", "s", limit=2, before=3)) == [2, 1]


async def test_read_positions(store: Store) -> None:
    await written(store, messages.read("r", "ann", 5, 1), messages.read("r", "ann", 9, 2))
    async with store.reading() as connection:
        assert await messages.read_position(connection, "r", "ann") == 9
        assert await messages.read_position(connection, "r", "ben") == 0
