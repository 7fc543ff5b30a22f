"""Events that wait for webhooks."""

from __future__ import annotations

from sfu.store import outbox
from sfu.store.outbox import Delivery
from sfu.store.store import Store


def delivery(number: int, url: str = "http://a") -> Delivery:
    return Delivery(number=number, url=url, event=f"EV_{number}", body='{"text":"ä 🎉"}', at_ms=2**41)


async def test_what_waits_is_kept_in_order_until_it_is_taken(store: Store) -> None:
    for number in (3, 1, 2):
        store.writes.submit(outbox.added(delivery(number)))
    store.writes.submit(outbox.removed(2))
    store.writes.submit(outbox.removed(9))
    await store.writes.flush()
    async with store.reading() as connection:
        assert await outbox.waiting(connection) == [delivery(1), delivery(3)]


async def test_what_waits_for_a_url_that_is_gone_is_forgotten(store: Store) -> None:
    for number, url in ((1, "http://a"), (2, "http://b"), (3, "http://c")):
        await store.writes.durable(outbox.added(delivery(number, url)))
    assert await store.writes.transact(lambda c: outbox.keep_only(c, ["http://a", "http://c"])) == 1
    assert await store.writes.transact(lambda c: outbox.keep_only(c, [])) == 2
    async with store.reading() as connection:
        assert await outbox.waiting(connection) == []
