"""Rows of files: who may see them, what is counted, when a content is unused."""

from __future__ import annotations

from typing import Any

from stored import message

from sfu.store import files, messages
from sfu.store.files import StoredFile
from sfu.store.store import Store


def file(number: int, **members: Any) -> StoredFile:
    """A file of Ann in the room `r`, with a content of its own."""
    values: dict[str, Any] = {
        "room": "r", "identity": "ann", "name": "a.png", "type": "image/png", "bytes": 10,
        "sha256": f"hash {number}", "width": None, "height": None, "created_ms": number,
    }  # fmt: skip
    return StoredFile(id=f"FI_{number}", **{**values, **members})


async def keep(store: Store, *kept: StoredFile) -> None:
    for each in kept:
        await store.writes.durable(files.added(each))


async def seen(store: Store, identity: str, room: str = "r") -> list[str]:
    """What the list has, which is what can be had one by one."""
    async with store.reading() as connection:
        listed = await files.in_room(connection, room, identity, limit=100)
        found = [await files.one(connection, room, each.id, identity) for each in listed]
        assert found == listed
        hidden = {f"FI_{number}" for number in range(1, 9)} - {each.id for each in listed}
        for each in hidden:
            assert await files.one(connection, room, each, identity) is None
    return [each.id for each in listed]


async def test_who_sees_a_file(store: Store) -> None:
    await keep(store, *(file(number) for number in (1, 2, 3, 4)), file(5, room="elsewhere"))
    for number, shown, to in ((1, "FI_1", None), (2, "FI_2", "ben"), (3, "FI_2", "cat")):
        await store.writes.durable(messages.added(message(number, file=shown, to_identity=to)))
    # Of another room: ids are unique, but that is nobody's promise to keep.
    await store.writes.durable(messages.added(message(4, room="elsewhere", file="FI_3")))
    gone = message(5, file="FI_4")
    await store.writes.durable(messages.added(gone))
    await store.writes.durable(messages.changed(message(5, rev=6, text="", file=None, deleted=True)))
    assert await seen(store, "ann") == ["FI_4", "FI_3", "FI_2", "FI_1"]
    assert await seen(store, "ben") == ["FI_2", "FI_1"]
    assert await seen(store, "dan") == ["FI_1"]
    assert await seen(store, "dan", "elsewhere") == []


async def test_files_of_one_moment_are_on_one_page_each(store: Store) -> None:
    await keep(store, *(file(number, created_ms=100) for number in range(1, 6)))
    found: list[str] = []
    before: tuple[int, str] | None = None
    async with store.reading() as connection:
        while page := await files.in_room(connection, "r", "ann", limit=2, before=before):
            found += [each.id for each in page]
            before = (page[-1].created_ms, page[-1].id)
        assert found == ["FI_5", "FI_4", "FI_3", "FI_2", "FI_1"]
        assert await files.in_room(connection, "r", "ann", limit=2, before=(100, None)) == []


async def test_bytes_are_counted_by_room_and_person(store: Store) -> None:
    await keep(store, file(1), file(2, identity="ben", bytes=2**40), file(3, room="elsewhere", bytes=5))
    async with store.reading() as connection:
        assert await files.used(connection, "r", "ann") == (2**40 + 10, 15)
        assert await files.used(connection, "nowhere", "nobody") == (0, 0)


async def test_a_content_is_unused_when_its_last_file_goes(store: Store) -> None:
    first, second = file(1, sha256="same"), file(2, sha256="same", room="elsewhere")
    await keep(store, first, second)
    assert await store.writes.transact(lambda c: files.delete(c, first)) == []
    assert await store.writes.transact(lambda c: files.delete(c, second)) == ["same"]


async def test_a_file_that_no_message_shows_any_more_is_deleted(store: Store) -> None:
    await keep(store, file(1), file(2))
    await store.writes.durable(messages.added(message(1, file="FI_1")))
    for name, unused in (("FI_1", []), ("FI_2", ["hash 2"]), ("FI_3", [])):
        found = await store.writes.transact(lambda c, name=name: files.delete_unshown(c, "r", name))
        assert found == unused
    assert await seen(store, "ann") == ["FI_1"]
