"""Live data over real data channels: who gets what, what is refused, and receivers that read nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from signalling import local_config, serving

from sfu.config import LimitsConfig
from sfu.server import outbox
from sfu_client import RefusedError, Room, events
from sfu_client.data import DataStream

DEADLINE_S = 40
BLOCK = bytes(40_000)


@contextlib.asynccontextmanager
async def talk(*names: str, role: dict[str, str] | None = None, **limits: Any) -> AsyncIterator[list[Room]]:
    """Python clients in one room whose data channels are open."""
    config = local_config(limits=LimitsConfig(**limits))
    async with asyncio.timeout(DEADLINE_S), contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(config))
        rooms = []
        for name in names:
            rooms.append(
                await stack.enter_async_context(
                    Room.connect(server.http_url, "r", name=name, role=(role or {}).get(name))
                )
            )
        for room in rooms:
            # To nobody: it waits until the channels are open.
            await room.data.send("", to=["nobody"])
        yield rooms


async def take(stream: DataStream, count: int) -> list[Any]:
    return [(await anext(stream)).data for _ in range(count)]


async def test_json_text_and_bytes_to_all_to_some_and_to_a_role() -> None:
    async with talk("ann", "ben", "cam", role={"cam": "device"}) as (ann, ben, cam):
        heard = {room.me.name: room.data.listen() for room in (ann, ben, cam)}
        await ann.data.send({"to": "all", "list": [1, None]}, topic="t")
        await ann.data.send("to ben", to=[ben.me.id])
        await ben.data.send(b"to devices", role="device", reliable=False)
        await ben.data.send("to both", role="device", to=[ann.me.id])
        await ben.data.send("end")
        assert sorted(map(str, await take(heard["cam"], 4))) == sorted(
            ["{'to': 'all', 'list': [1, None]}", "b'to devices'", "to both", "end"]
        )
        assert await take(heard["ben"], 2) == [{"to": "all", "list": [1, None]}, "to ben"]
        message = await anext(heard["ann"])
        assert (message.data, message.sender_id, message.reliable) == ("to both", ben.me.id, True)
        assert await take(heard["ann"], 1) == ["end"]


async def test_topics_are_chosen_and_chosen_again() -> None:
    async with talk("ann", "ben") as (ann, ben):
        everything = ben.data.listen()
        await ben.data.subscribe(["b"])
        for topic in "abc":
            await ann.data.send(topic, topic=topic)
        await ann.data.send("first", topic="b")
        assert await take(everything, 2) == ["b", "first"]
        await ben.data.subscribe(None)
        await ann.data.send("a", topic="a")
        assert await take(everything, 1) == ["a"]


async def refusal(room: Room, changes: events.EventStream) -> tuple[str, str]:
    async for event in changes:
        if isinstance(event, events.DataRefused):
            return event.code, event.topic
    raise AssertionError("the room ended")


async def test_without_the_grant_nothing_is_passed_on() -> None:
    async with talk("ann", "ben", "cid") as (ann, ben, cid):
        heard, told = cid.data.listen(), ben.events()
        await ann._connection.request("set_grants", participant=ben.me.id, grants={"data": False})
        await ben.data.send("secret", topic="t")
        assert await refusal(ben, told) == ("not_allowed", "t")
        await ben.data.send("secret", topic="lossy", reliable=False)
        with pytest.raises(RefusedError, match="not_allowed"):
            await ben.state.set("a", 1)
        await ann._connection.request("set_grants", participant=ben.me.id, grants={"data": True})
        await ben.data.send("open")
        assert await take(heard, 1) == ["open"]


async def test_who_does_not_keep_the_pace_is_refused() -> None:
    async with talk("ann", "ben", data_messages_per_s=2.0) as (ann, _):
        told = ann.events()
        # A client that takes no notice of the server's terms.
        ann.data._messages.rate = ann.data._bytes.rate = 0
        for number in range(5):
            await ann.data.send(str(number), topic="t")
        assert await refusal(ann, told) == ("rate_limited", "t")


async def test_who_keeps_the_pace_is_not_refused() -> None:
    async with talk("ann", "ben", data_messages_per_s=40.0, data_bytes_per_s=200_000) as (ann, ben):
        heard = ben.data.listen()
        for number in range(60):
            await ann.data.send(number)
        assert await take(heard, 60) == list(range(60))
        assert (await ann.server_stats())["data"]["refused"] == 0


@contextlib.contextmanager
def deaf(room: Room) -> Any:
    """Nothing that arrives reaches SCTP: the channel reads nothing and acknowledges nothing."""
    session = room._connection._session
    assert session is not None
    dtls = session._publish._pc.sctp.transport
    receiver, dtls._data_receiver = dtls._data_receiver, None
    try:
        yield
    finally:
        dtls._data_receiver = receiver


async def test_a_receiver_that_reads_nothing_stops_its_senders_and_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "HIGH_BYTES", 200_000)
    monkeypatch.setattr(outbox, "LOW_BYTES", 50_000)
    limits = {"data_bytes_per_s": 50_000_000, "data_slow_s": 1.0}
    async with talk("ann", "ben", "cid", **limits) as (ann, ben, cid):
        heard, cut, told = cid.data.listen("big"), ben.data.listen("big"), ben.events()
        with deaf(ben):
            sent = 0
            while ann.data._may_go.is_set():
                await ann.data.send(bytes([sent]) + BLOCK, topic="big")
                sent += 1
            sending = asyncio.create_task(ann.data.send("waited", topic="big"))
            await asyncio.sleep(0)
            assert not sending.done()
            while not isinstance(event := await anext(told), events.DataCutOff):
                pass
            assert event.topic in {"big", None}
            assert event.lost > 0
            with pytest.raises(RefusedError, match="slow_receiver"):
                await anext(cut)
            await sending
            # Nobody else has missed anything, or got it in another order.
            assert [payload[0] for payload in await take(heard, sent)] == list(range(sent))
            assert await take(heard, 1) == ["waited"]
        await ben.data.subscribe(None)
        again = ben.data.listen("big")
        await ann.data.send("for ben again", topic="big")
        while (await anext(again)).data != "for ben again":
            pass


async def test_lossy_data_for_a_receiver_that_reads_nothing_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "LOSSY_BYTES", 200_000)
    async with talk("ann", "ben", "cid", data_bytes_per_s=50_000_000) as (ann, ben, cid):
        heard = cid.data.listen()
        with deaf(ben):
            for number in range(20):
                await ann.data.send(bytes([number]) + BLOCK, reliable=False)
                await take(heard, 1)
            stats = (await ben.server_stats())["data"]
            # Four wait, and what the channel held when it stopped taking more.
            assert stats["dropped"] >= 10
            assert stats["waiting_bytes"] <= 200_000
            assert (await cid.server_stats())["data"]["dropped"] == 0
        assert ann.data._may_go.is_set()
