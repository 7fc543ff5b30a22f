"""What happens in a room: one small frozen class for each event, made for `match` statements."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from sfu_client.model import ChatMessage, Participant, Publication
from sfu_client.telemetry import Alarm, Sample, Series
from sfu_client.tracks import AnyTrack

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """In the room again after a `Disconnected`. `resumed`: the same membership, media never stopped."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost; the room returns by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event: the room is closed for good. Codes are the protocol's `closed.code`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    """Name, state or grants changed."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    participant: Participant
    reason: str


@dataclass(frozen=True, slots=True)
class PublicationAdded:
    participant: Participant
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationUpdated:
    """Muted, size or simulcast changed."""

    participant: Participant
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationRemoved:
    participant: Participant
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """The server refuses one of this client's own tracks after a reconnection."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class TrackSubscribed:
    """Media of a publication can be iterated from now on."""

    track: AnyTrack
    publication: Publication
    participant: Participant


@dataclass(frozen=True, slots=True)
class TrackEnded:
    """A subscribed track has ended: unpublished, unsubscribed, or the connection was made anew."""

    track: AnyTrack


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """`state` is `active`, `paused`, `failed` or `ended`; `reason` as in the protocol."""

    publication_id: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    """(participant id, level 0..1), loudest first."""

    speakers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class ChatReceived:
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class ChatUpdated:
    """A message was edited, deleted or reacted to."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class DataReceived:
    """`data` is text where the sender sent text. `reliable` tells which channel it came by."""

    data: bytes | str
    topic: str
    sender_id: str
    sent_at_ms: int
    reliable: bool


@dataclass(frozen=True, slots=True)
class DataRefused:
    """The server dropped data this client sent (at most one notice a second)."""

    code: str
    topic: str


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A participant, perhaps this client, has begun to record, or ended it."""

    participant_id: str
    on: bool


@dataclass(frozen=True, slots=True)
class SeriesDeclared:
    """What a participant measures, or what is said of it, has changed."""

    participant_id: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class SamplesReceived:
    participant_id: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class AlarmChanged:
    alarm: Alarm


Event = (
    Connected | Disconnected | Closed | ParticipantJoined | ParticipantUpdated | ParticipantLeft
    | PublicationAdded | PublicationUpdated | PublicationRemoved | PublishFailed | TrackSubscribed
    | TrackEnded | SubscriptionChanged | SpeakersChanged | ChatReceived | ChatUpdated | DataReceived
    | DataRefused | RecordingChanged | SeriesDeclared | SamplesReceived | AlarmChanged
)  # fmt: skip

CAPACITY = 4096
"""Events kept for a slow reader; beyond it the oldest are dropped, so that memory stays bounded."""


class EventStream:
    """Events from the moment of its making; ends when the room has closed and all are read."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        self._arrived = asyncio.Event()
        self._ended = False
        self.dropped = 0

    def put(self, event: Event) -> None:
        if len(self._events) == self._events.maxlen:
            if not self.dropped:
                logger.warning("a reader of room events is too slow; the oldest are dropped")
            self.dropped += 1
        self._events.append(event)
        self._arrived.set()

    def end(self) -> None:
        self._ended = True
        self._arrived.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()
