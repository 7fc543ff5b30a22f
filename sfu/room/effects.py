"""What the room core wants done, in order. `Announce` carries what participants are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room.alarms import Sample
from sfu.room.class_events import ClassEvent, ClassView, RoomView
from sfu.room.class_records import ClassChange
from sfu.room.model import (
    ChatChange,
    ChatMessage,
    ChatNews,
    LeaveReason,
    ParticipantView,
    Publication,
    SessionKey,
    Subscription,
)
from sfu.room.permissions import Grants
from sfu.room.state import StatePatched, StateView

# --- what participants are told ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: ParticipantView


@dataclass(frozen=True, slots=True)
class ParticipantUpdated:
    participant: ParticipantView


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    participant: ParticipantId
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class PublicationAdded:
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationUpdated:
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationRemoved:
    publication: PublicationId
    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class ChatSent:
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class ChatUpdated:
    """Edited, deleted or reacted to."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class ChatSeen:
    """`identity` has read everything up to `message`."""

    identity: str
    message: int


@dataclass(frozen=True, slots=True)
class ChatTyping:
    participant: ParticipantId
    to: ParticipantId | None


Event = (
    ParticipantJoined
    | ParticipantUpdated
    | ParticipantLeft
    | PublicationAdded
    | PublicationUpdated
    | PublicationRemoved
    | ChatSent
    | ChatUpdated
    | ChatTyping
    | ChatSeen
    | ClassEvent
    | StatePatched
)


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell `to`; those without a session just now are passed over."""

    to: tuple[ParticipantId, ...]
    event: Event


# --- what is to be done ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoomOpened:
    room: RoomName


@dataclass(frozen=True, slots=True)
class RoomClosed:
    room: RoomName


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The session has become the participant's; this is the room as it finds it."""

    session: SessionKey
    room: RoomName
    view: RoomView
    work: ClassView
    state: StateView
    participant: ParticipantView
    others: tuple[ParticipantView, ...]
    secret: str
    resumed: bool
    chat: ChatNews
    chat_read: int
    chat_seen: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WaitingBegun:
    """The session is in the lobby; a `Welcome` or `WaitingEnded` follows some time."""

    session: SessionKey
    room: RoomName
    waiting: str


@dataclass(frozen=True, slots=True)
class WaitingEnded:
    """The session is not let in."""

    session: SessionKey
    code: Literal["denied", "replaced"]


@dataclass(frozen=True, slots=True)
class Granted:
    """A participant's rights have changed; what it may not do any more has ended already."""

    participant: ParticipantId
    grants: Grants


@dataclass(frozen=True, slots=True)
class SessionReplaced:
    """A newer session has taken this one's place."""

    session: SessionKey


@dataclass(frozen=True, slots=True)
class ParticipantClosed:
    """The membership has ended: its session and its transports end. Comes after its media's effects."""

    participant: ParticipantId
    session: SessionKey | None
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class PublicationOpened:
    publication: Publication


@dataclass(frozen=True, slots=True)
class PublicationMuted:
    publication: PublicationId
    muted: bool


@dataclass(frozen=True, slots=True)
class PublicationClosed:
    """Comes after the end of its subscriptions."""

    publication: PublicationId
    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class SubscriptionOpened:
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionAdjusted:
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionClosed:
    """`asked` is true when the subscriber wished it, false when the publication or the participant ended."""

    subscriber: ParticipantId
    publication: PublicationId
    asked: bool


@dataclass(frozen=True, slots=True)
class ChatToStore:
    """Make it durable, then say `ChatStored`, or `ChatLost`. `emoji` is what a reaction is about.

    `hidden_file` is what a message showed that is deleted by this.
    """

    room: RoomName
    message: ChatMessage
    change: ChatChange
    by: ParticipantId
    identity: str
    emoji: str
    hidden_file: str | None = None


@dataclass(frozen=True, slots=True)
class ChatReadTo:
    """`identity` has read everything up to `message`."""

    room: RoomName
    identity: str
    message: int


@dataclass(frozen=True, slots=True)
class ClassToStore:
    """Make a change of the class last."""

    room: RoomName
    change: ClassChange


@dataclass(frozen=True, slots=True)
class SamplesToStore:
    """Keep them for later. `units` are the series'."""

    room: RoomName
    identity: str
    samples: tuple[Sample, ...]
    units: Mapping[str, str]


Effect = (
    Announce
    | RoomOpened
    | RoomClosed
    | Welcome
    | WaitingBegun
    | WaitingEnded
    | Granted
    | SessionReplaced
    | ParticipantClosed
    | PublicationOpened
    | PublicationMuted
    | PublicationClosed
    | SubscriptionOpened
    | SubscriptionAdjusted
    | SubscriptionClosed
    | ChatToStore
    | ChatReadTo
    | SamplesToStore
    | ClassToStore
)
