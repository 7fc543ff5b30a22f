"""Live data in the Python client: formats, pace, back-pressure, listeners. The server is a list."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu_client import datagram
from sfu_client.data import LiveData, Pace
from sfu_client.errors import ClosedError, RefusedError
from sfu_client.events import DataCutOff, DataReceived, DataRefused


class FakeWire:
    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], bytes]] = []
        self.requests: list[dict[str, Any]] = []

    async def request(self, kind: str, **members: Any) -> dict[str, Any]:
        self.requests.append({"type": kind, **members})
        return {"type": "ok"}

    async def send(self, label: str, message: bytes) -> bool:
        self.sent.append((label, *datagram.unpack(message)))
        return True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=20) | st.text(max_size=20) | json_values)
def test_every_content_comes_back_as_it_was(content: Any) -> None:
    async def there_and_back() -> Any:
        wire = FakeWire()
        sender, receiver = LiveData(wire), LiveData(wire)
        assert await sender.send(content, topic="t", to=["PA_1"], role="device")
        [(label, header, payload)] = wire.sent
        assert (label, header["to"], header["role"]) == ("reliable", ["PA_1"], "device")
        return receiver.received(label, datagram.pack(header | {"from": "PA_2", "sent_at_ms": 5}, payload))

    assert asyncio.run(there_and_back()) == DataReceived(content, "t", "PA_2", 5, True)


async def test_what_is_no_json_or_too_large_is_the_callers_error() -> None:
    data = LiveData(FakeWire())
    with pytest.raises(ValueError, match="not JSON compliant"):
        await data.send(float("inf"))
    data.joined({"data": {"message_bytes": 100}}, resumed=False)
    with pytest.raises(ValueError, match="at most 100 bytes"):
        await data.send(bytes(101))


async def test_reliable_sending_waits_while_the_server_says_stop_and_keeps_its_order() -> None:
    wire = FakeWire()
    data = LiveData(wire)
    assert data.received("reliable", datagram.pack({"flow": "stop"}, b"")) is None
    sending = [asyncio.create_task(data.send(bytes([number]))) for number in range(3)]
    await data.send(b"lossy", reliable=False)
    await asyncio.sleep(0)
    assert [label for label, _, _ in wire.sent] == ["lossy"]
    assert data.received("reliable", datagram.pack({"flow": "go"}, b"")) is None
    assert await asyncio.gather(*sending) == [True] * 3
    assert [payload for _, _, payload in wire.sent[1:]] == [b"\0", b"\1", b"\2"]


async def test_a_new_membership_is_not_stopped_and_wants_the_same_topics() -> None:
    wire = FakeWire()
    data = LiveData(wire)
    await data.subscribe(["b", "a", "b"])
    data.received("reliable", datagram.pack({"flow": "stop"}, b""))
    assert data.joined({}, resumed=True) is None
    again = data.joined({}, resumed=False)
    assert again is not None
    await again
    await data.send(b"goes")
    assert wire.requests == [{"type": "data_topics", "topics": ["a", "b"]}] * 2


def arrived(data: LiveData, topic: str, payload: bytes = b"") -> None:
    data.received("reliable", datagram.pack({"topic": topic, "from": "PA_1"}, payload))


async def test_listeners_get_their_topic_and_end_with_the_room() -> None:
    data = LiveData(FakeWire())
    some, everything, short = data.listen("a"), data.listen(), data.listen(capacity=1)
    for topic in ("a", "b", "a"):
        arrived(data, topic)
    data.closed(ClosedError("left", ""))
    assert [message.topic async for message in some] == ["a", "a"]
    assert [message.topic async for message in everything] == ["a", "b", "a"]
    assert ([message.topic async for message in short], short.dropped) == (["a"], 2)
    assert [message async for message in data.listen()] == []


async def test_who_is_cut_off_learns_it_while_listening() -> None:
    data = LiveData(FakeWire())
    cut, other = data.listen("a"), data.listen("b")
    arrived(data, "a", b"last")
    assert data.cut_off({"topic": "a", "lost": 7}) == DataCutOff("a", 7)
    assert (await anext(cut)).data == b"last"
    with pytest.raises(RefusedError, match="slow_receiver"):
        await anext(cut)
    arrived(data, "b")
    assert (await anext(other)).topic == "b"
    assert data.cut_off({"topic": None, "lost": 1}) == DataCutOff(None, 1)
    with pytest.raises(RefusedError):
        await anext(other)


def test_refusals_are_events() -> None:
    refused = datagram.pack({"error": "rate_limited", "topic": "t", "refused": 3}, b"")
    assert LiveData(FakeWire()).received("lossy", refused) == DataRefused("rate_limited", "t", 3)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 1000)), max_size=50))
def test_what_goes_at_its_pace_is_never_over_the_servers_rate(steps: list[tuple[float, int]]) -> None:
    """The server's bucket holds a second's worth, or one message."""
    pace, now_s, tokens, at_s = Pace(), 0.0, 1000.0, 0.0
    pace.rate, pace.capacity = 500 * 0.9, 1000
    for wait_s, size in steps:
        now_s += wait_s
        now_s += pace.delay_s(size, now_s)
        tokens = min(1000.0, tokens + (now_s - at_s) * 500)
        at_s = now_s
        tokens -= size
        assert tokens > -1e-6
