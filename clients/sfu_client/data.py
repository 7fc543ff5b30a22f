"""Live data: messages to the others in the room, without storing anything (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import json
import logging
import weakref
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sfu_client import datagram
from sfu_client.errors import ClientError, ClosedError, RefusedError
from sfu_client.events import DataCutOff, DataReceived, DataRefused
from sfu_client.publish import LOSSY, RELIABLE

logger = logging.getLogger(__name__)

SHARE = 0.9
"""Of the server's rates, so that a clock that goes a little faster here breaks none."""
BURST_S = 0.5
"""Of the rate, sent at once: the server allows a second's worth, and packets bunch on their way."""

DataEvent = DataReceived | DataRefused | DataCutOff


class Wire(Protocol):
    """The connection, as far as data needs it."""

    async def request(self, kind: str, **members: Any) -> dict[str, Any]: ...

    async def send(self, label: str, message: bytes) -> bool:
        """False where a lossy message was dropped because too much waits."""


class Pace:
    """How long to wait before sending so that a rate is kept: a bucket of `capacity` that starts full.

    Both are units a second and units; a `rate` of 0 is none.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self.capacity = 0.0
        self._missing = 0.0
        self._at_s = 0.0

    def delay_s(self, amount: float, now_s: float) -> float:
        """Take `amount`, which may be missing yet: the seconds until it is there."""
        if not self.rate:
            return 0.0
        self._missing = max(0.0, self._missing - (now_s - self._at_s) * self.rate) + amount
        self._at_s = now_s
        return max(0.0, self._missing - self.capacity) / self.rate


class DataStream:
    """Messages from the moment of its making, to be read by `async for`; made by `LiveData.listen`."""

    def __init__(self, topic: str | None, capacity: int) -> None:
        self.topic = topic
        self.dropped = 0
        """Messages that were lost because they were not read; the oldest go first."""
        self._messages: deque[DataReceived] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._failure: ClientError | None = None
        self._ended = False

    def put(self, message: DataReceived) -> None:
        self.dropped += len(self._messages) == self._messages.maxlen
        self._messages.append(message)
        self._arrived.set()

    def end(self, failure: ClientError | None = None) -> None:
        self._ended, self._failure = True, failure
        self._arrived.set()

    def __aiter__(self) -> DataStream:
        return self

    async def __anext__(self) -> DataReceived:
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()


class LiveData:
    """Sending waits where the server or a receiver does not keep up, so memory stays bounded everywhere."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._topics: list[str] | None = None
        self._streams: weakref.WeakSet[DataStream] = weakref.WeakSet()
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._turns = {RELIABLE: asyncio.Lock(), LOSSY: asyncio.Lock()}
        self._bytes, self._messages = Pace(), Pace()
        self._largest = 0
        self._closed: ClosedError | None = None

    async def send(
        self,
        content: Any,
        *,
        topic: str = "",
        to: Sequence[str] | None = None,
        role: str | None = None,
        reliable: bool = True,
    ) -> bool:
        """Send `content` (bytes, text, or else what JSON can say) to everybody else.

        With `to` (participant ids) or `role` only to these, to both with both. `reliable=True` arrives, in
        order; it waits while a receiver is behind. `reliable=False` neither orders nor repeats, for values
        that the next one replaces; it is dropped, and False returned, when too much waits here.

        Raises `ValueError` where the message is larger than the server takes or no JSON,
        `UnavailableError`, `ClosedError`. What the server refuses is a `DataRefused` among the events.
        """
        message = _packed(content, topic, to, role)
        if self._largest and len(message) > self._largest:
            raise ValueError(f"a data message has at most {self._largest} bytes")
        label = RELIABLE if reliable else LOSSY
        async with self._turns[label]:
            if reliable:
                await self._may_go.wait()
            await self._keep_pace(len(message))
            return await self._wire.send(label, message)

    def listen(self, topic: str | None = None, *, capacity: int = 4096) -> DataStream:
        """Messages of a topic (None: of all) from now on; each call makes an independent reader.

        It ends with the room. Where this client was too slow and is cut off from the topic, reading raises
        `RefusedError` `slow_receiver`: `subscribe` gets it back.
        """
        stream = DataStream(topic, capacity)
        if self._closed is None:
            self._streams.add(stream)
        else:
            stream.end()
        return stream

    async def subscribe(self, topics: Iterable[str] | None) -> None:
        """Receive these topics only, from now on and after every reconnection; None is all, as at first.

        Raises `RefusedError`, `UnavailableError`.
        """
        self._topics = None if topics is None else sorted(set(topics))
        await self._wire.request("data_topics", topics=self._topics)

    async def _keep_pace(self, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        delay_s = max(self._bytes.delay_s(size, now_s), self._messages.delay_s(1, now_s))
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    # --- what the room reports

    def joined(self, joined: Mapping[str, Any], *, resumed: bool) -> Coroutine[Any, Any, None] | None:
        """Take over the server's terms; what is to be awaited next, None for nothing."""
        terms = joined.get("data") or {}
        self._largest = int(terms.get("message_bytes") or 0)
        self._bytes.rate = float(terms.get("bytes_per_s") or 0) * SHARE
        self._bytes.capacity = max(self._bytes.rate * BURST_S, self._largest)
        self._messages.rate = float(terms.get("messages_per_s") or 0) * SHARE
        self._messages.capacity = self._messages.rate * BURST_S
        if resumed:
            return None
        self._may_go.set()
        return None if self._topics is None else self._subscribe_again()

    def closed(self, reason: ClosedError) -> None:
        self._closed = reason
        self._may_go.set()
        for stream in list(self._streams):
            stream.end()

    def cut_off(self, message: Mapping[str, Any]) -> DataCutOff:
        """The server gave up on this receiver. `message` is its `data_cut_off`."""
        topic = message.get("topic")
        failure = RefusedError("slow_receiver", "this client did not keep up")
        for stream in list(self._streams):
            if topic is None or stream.topic == topic:
                self._streams.discard(stream)
                stream.end(failure)
        return DataCutOff(None if topic is None else str(topic), int(message.get("lost") or 0))

    def received(self, label: str, message: bytes) -> DataReceived | DataRefused | None:
        """A message of the server; None where it is no news. Raises `ValueError`, `TypeError`."""
        header, payload = datagram.unpack(message)
        if "flow" in header:
            if header["flow"] == "stop":
                self._may_go.clear()
            else:
                self._may_go.set()
            return None
        topic = str(header.get("topic") or "")
        if "error" in header:
            return DataRefused(str(header["error"]), topic, int(header.get("refused") or 1))
        event = DataReceived(
            _content(header, payload),
            topic,
            str(header.get("from") or ""),
            int(header.get("sent_at_ms") or 0),
            label == RELIABLE,
        )
        for stream in list(self._streams):
            if stream.topic in (None, topic):
                stream.put(event)
        return event

    async def _subscribe_again(self) -> None:
        try:
            await self._wire.request("data_topics", topics=self._topics)
        except ClientError as error:
            logger.warning("the topics of data could not be chosen again: %s", error)


def _packed(content: Any, topic: str, to: Sequence[str] | None, role: str | None) -> bytes:
    header: dict[str, Any] = {"topic": topic} if topic else {}
    if to is not None:
        header["to"] = list(to)
    if role is not None:
        header["role"] = role
    if isinstance(content, (bytes, bytearray, memoryview)):
        return datagram.pack(header, bytes(content))
    if isinstance(content, str):
        return datagram.pack(header | {"text": True}, content.encode())
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return datagram.pack(header | {"json": True}, text.encode())


def _content(header: Mapping[str, Any], payload: bytes) -> Any:
    if header.get("json"):
        return json.loads(payload)
    return payload.decode() if header.get("text") else payload
