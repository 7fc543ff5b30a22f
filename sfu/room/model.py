"""The values rooms are made of. What leaves the room core is frozen: an effect never changes later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType

from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room.permissions import Grants, Role, Source
from sfu.rtp.parameters import Kind

SessionKey = NewType("SessionKey", int)
"""A signalling connection's number, unique while the process lives."""

ParticipantState = Literal["connected", "reconnecting"]
BreakoutId = NewType("BreakoutId", int)
"""The number of a breakout group, from 1 in the order of the list."""

LeaveReason = Literal["left", "timeout", "replaced", "removed", "shutdown", "error"]

ChatChange = Literal["added", "changed", "reacted"]

DEFAULT_PRIORITY = 128
"""The middle of 0-255: room for more and for less important."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on two clocks: monotonic microseconds for timers, Unix milliseconds for people."""

    us: int
    wall_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLimits:
    """Of one room's shared state; the bytes count a key as UTF-8 and its value as compact JSON."""

    keys: int = 256
    value_bytes: int = 16_384
    total_bytes: int = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """See `sfu.config.RoomConfig`; durations in microseconds."""

    grace_us: int = 20_000_000
    empty_us: int = 30_000_000
    max_rooms: int = 1000
    max_rooms_of_host: int = 30
    max_participants: int = 250
    max_publications: int = 8
    chat_history: int = 200
    state: StateLimits = StateLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What a participant is subscribed to by itself."""

    subscribe: bool = True
    audio: bool = True
    video: bool = True

    def covers(self, kind: Kind) -> bool:
        return self.subscribe and (self.audio if kind == "audio" else self.video)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One accepted media source. `width` and `height` are of the largest encoding, 0 until known."""

    id: PublicationId
    participant: ParticipantId
    kind: Kind
    source: Source
    name: str
    muted: bool
    codec: str
    simulcast: bool
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One participant's receipt of one publication.

    `priority` is 0-255, `width` and `height` the wished picture size in pixels (0: any), `paused`
    keeps it without packets.
    """

    subscriber: ParticipantId
    publication: PublicationId
    priority: int = DEFAULT_PRIORITY
    width: int = 0
    height: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantView:
    """A participant as others see it at one moment."""

    id: ParticipantId
    identity: str
    name: str
    state: ParticipantState
    joined_at_ms: int
    role: Role
    grants: Grants
    breakout: BreakoutId | None
    publications: tuple[Publication, ...]


@dataclass(slots=True, kw_only=True)
class Participant:
    """One authorised membership of a room; `session` is None, and `expires_us` set, while it reconnects."""

    id: ParticipantId
    identity: str
    name: str
    role: Role
    grants: Grants
    wants: Wants
    joined_at_ms: int
    secret: str
    session: SessionKey | None
    expires_us: int | None = None
    breakout: BreakoutId | None = None
    publications: dict[PublicationId, Publication] = field(default_factory=dict)
    subscriptions: dict[PublicationId, Subscription] = field(default_factory=dict)
    chat_read: int = 0
    typing_told_us: int = -(2**62)

    def view(self) -> ParticipantView:
        return ParticipantView(
            id=self.id,
            identity=self.identity,
            name=self.name,
            state="reconnecting" if self.session is None else "connected",
            joined_at_ms=self.joined_at_ms,
            role=self.role,
            grants=self.grants,
            breakout=self.breakout,
            publications=tuple(self.publications.values()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message as it is after its last change, whose number is `rev`.

    `sender` and `to` (None: everybody) are participants of when it was sent, `identity` and `to_identity` who
    they are. `reactions` maps an emoji to the identities that chose it, in their order.
    """

    id: int
    rev: int
    sender: ParticipantId
    identity: str
    name: str
    text: str
    to: ParticipantId | None
    to_identity: str | None
    mentions: tuple[str, ...]
    sent_at_ms: int
    file: str | None = None
    edited_at_ms: int | None = None
    deleted: bool = False
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatHistory:
    """What a room that opens knows of its chat: the highest number given, and what changed last, in order.

    `complete` says that nothing else was ever said.
    """

    last: int = 0
    messages: tuple[ChatMessage, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatNews:
    """The chat for one who comes: what changed after `after`, or, where that is None, the newest messages.

    `last` is the number up to which they then know everything, `more` says that older messages exist.
    """

    messages: tuple[ChatMessage, ...]
    after: int | None
    last: int
    more: bool


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """Counts for an overview."""

    name: RoomName
    participants: int
    publications: int
