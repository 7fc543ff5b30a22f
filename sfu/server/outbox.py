"""What waits for one receiver of data: little in the channel, the rest where it can still be dropped."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

AHEAD_BYTES = 65_536
"""A channel gets more while it holds at most this: enough to keep it busy, and little to be stale. The
transport says when a channel has drained to it."""
LOSSY_BYTES = 262_144
"""Unsent lossy messages of one receiver above which its oldest are dropped."""
HIGH_BYTES = 1_048_576
"""Unsent reliable messages above which a receiver is behind and its senders are stopped."""
LOW_BYTES = 262_144
"""Unsent reliable messages at which it has caught up and they go on."""
FULL_BYTES = 4_194_304
"""Unsent reliable messages above which none is taken: what was on its way when senders were stopped fits."""


class Channels(Protocol):
    """The receiver's data channels."""

    def send_data(self, label: str, message: bytes) -> bool: ...

    def buffered_bytes(self, label: str) -> int: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    topic: str
    message: bytes


class _Queue:
    def __init__(self) -> None:
        self.messages: deque[_Waiting] = deque()
        self.bytes = 0

    def append(self, topic: str, message: bytes) -> None:
        self.messages.append(_Waiting(topic, message))
        self.bytes += len(message)

    def popleft(self) -> bytes:
        message = self.messages.popleft().message
        self.bytes -= len(message)
        return message

    def clear(self) -> int:
        count = len(self.messages)
        self.messages.clear()
        self.bytes = 0
        return count

    def take_topic(self, topic: str) -> int:
        kept = [waiting for waiting in self.messages if waiting.topic != topic]
        count = len(self.messages) - len(kept)
        self.messages = deque(kept)
        self.bytes = sum(len(waiting.message) for waiting in kept)
        return count


class Outbox:
    """Both channels of one receiver. `now_us` is the monotonic clock."""

    def __init__(self) -> None:
        self.sent = 0
        self.dropped = 0
        """Lossy messages that were not sent because the receiver did not keep up."""
        self.behind_since_us: int | None = None
        """Since when it has had too much to catch up with, None while it keeps up."""
        self._queues = {"reliable": _Queue(), "lossy": _Queue()}

    def waiting_bytes(self, label: str) -> int:
        """What has not been given to the channel."""
        return self._queues[label].bytes

    def takes(self, size: int) -> bool:
        """Whether a reliable message of `size` bytes has room."""
        return self._queues["reliable"].bytes + size <= FULL_BYTES

    def put(self, label: str, topic: str, message: bytes, channels: Channels, now_us: int) -> None:
        """Send a message as soon as the channel takes it; a lossy one may push out the oldest."""
        queue = self._queues[label]
        queue.append(topic, message)
        self.pump(label, channels)
        if label == "lossy":
            while queue.bytes > LOSSY_BYTES:
                queue.popleft()
                self.dropped += 1
        elif queue.bytes > HIGH_BYTES and self.behind_since_us is None:
            self.behind_since_us = now_us

    def pump(self, label: str, channels: Channels | None) -> None:
        """Give the channel what it takes. Where it is not open, nobody is there to wait for anything."""
        queue = self._queues[label]
        while queue.messages and channels is not None and channels.buffered_bytes(label) <= AHEAD_BYTES:
            if channels.send_data(label, queue.popleft()):
                self.sent += 1
            else:
                queue.clear()
        if channels is None:
            queue.clear()
        self._caught_up()

    def cut_off(self) -> tuple[str | None, int]:
        """Take away the topic that waits most, or everything (None) if the receiver is behind even so.

        Returns the topic and the number of messages that are lost with it. The receiver has caught up then.
        """
        queue = self._queues["reliable"]
        sizes: Counter[str] = Counter()
        for waiting in queue.messages:
            sizes[waiting.topic] += len(waiting.message)
        [(topic, _)] = sizes.most_common(1)
        lost = queue.take_topic(topic)
        if queue.bytes <= LOW_BYTES:
            self._caught_up()
            return topic, lost
        lost += queue.clear()
        self._caught_up()
        return None, lost

    def _caught_up(self) -> None:
        if self._queues["reliable"].bytes <= LOW_BYTES:
            self.behind_since_us = None
