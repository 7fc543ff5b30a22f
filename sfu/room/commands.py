"""What can be asked of the room core. Each is applied with the moment it happens at."""

from __future__ import annotations

from dataclasses import dataclass, field

from sfu.ids import ParticipantId, PublicationId, RoomName
from sfu.room.acts import Act, FromOutside
from sfu.room.class_records import ClassHistory
from sfu.room.model import ChatChange, ChatHistory, ChatMessage, LeaveReason, SessionKey, Wants
from sfu.room.permissions import GrantChanges, Grants, Role, Source
from sfu.rtp.parameters import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Become a participant. Without `identity` a new one is made, so that nobody is replaced.

    `role` is None for who brings none, `grants` what differs from the role's defaults. `template` is the wish
    of who may open a room, for one that has never been; what a token has `appointed` counts before it, and
    makes a room that is not open that kind, whatever it was. `guarded` is false where nobody needs a token:
    who comes into a room without an owner owns it then, unless `formerly`, its role at an earlier time, says
    that it did not make the room. `host` is from where it comes, then, whose share of rooms is bounded.
    `chat` and `work` are what the store has of the room's chat and class, for a room that is not open yet;
    `chat_read` how far this identity has read, `chat_after` which change of it the client saw last.
    """

    session: SessionKey
    room: RoomName
    name: str
    identity: str | None = None
    role: Role | None = None
    grants: GrantChanges = field(default_factory=GrantChanges)
    template: str | None = None
    appointed: str | None = None
    guarded: bool = True
    formerly: Role | None = None
    host: str = ""
    wants: Wants = field(default_factory=Wants)
    chat_after: int | None = None
    chat_read: int = 0
    chat: ChatHistory = field(default_factory=ChatHistory)
    work: ClassHistory = field(default_factory=ClassHistory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Continue as a participant whose session dropped; `identity` is the token's, if there is one."""

    session: SessionKey
    room: RoomName
    participant: ParticipantId
    secret: str
    identity: str | None = None
    chat_after: int | None = None


@dataclass(frozen=True, slots=True)
class StopWaiting:
    """A session in the lobby is gone."""

    room: RoomName
    session: SessionKey


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A session's connection is gone. Nothing happens if the participant has a newer one."""

    participant: ParticipantId
    session: SessionKey


@dataclass(frozen=True, slots=True)
class Leave:
    """The membership ends at once."""

    participant: ParticipantId
    reason: LeaveReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Add a negotiated media source."""

    participant: ParticipantId
    kind: Kind
    source: Source
    name: str
    muted: bool
    codec: str
    simulcast: bool


@dataclass(frozen=True, slots=True)
class Unpublish:
    participant: ParticipantId
    publication: PublicationId


@dataclass(frozen=True, slots=True)
class Mute:
    participant: ParticipantId
    publication: PublicationId
    muted: bool


@dataclass(frozen=True, slots=True)
class Describe:
    """What is known of a publication's media has changed: its largest picture, pixels."""

    publication: PublicationId
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Subscribe, or adjust what is subscribed; None leaves a value as it is."""

    participant: ParticipantId
    publications: tuple[PublicationId, ...]
    priority: int | None = None
    width: int | None = None
    height: int | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """End subscriptions; those that are none are passed over."""

    participant: ParticipantId
    publications: tuple[PublicationId, ...]


@dataclass(frozen=True, slots=True)
class SendChat:
    """`to` is a participant, or an identity; `known` says that this identity was here at some time."""

    participant: ParticipantId
    text: str
    to: str | None = None
    file: str | None = None
    known: bool = False


@dataclass(frozen=True, slots=True)
class EditChat:
    """`loaded` is the message as the store has it, for one that the room does not remember."""

    participant: ParticipantId
    message: int
    text: str
    loaded: ChatMessage | None = None


@dataclass(frozen=True, slots=True)
class DeleteChat:
    """`loaded` as in `EditChat`."""

    participant: ParticipantId
    message: int
    loaded: ChatMessage | None = None


@dataclass(frozen=True, slots=True)
class ReactChat:
    """Choose an emoji, or take it back (`on` false). `loaded` as in `EditChat`."""

    participant: ParticipantId
    message: int
    emoji: str
    on: bool
    loaded: ChatMessage | None = None


@dataclass(frozen=True, slots=True)
class ReadChat:
    participant: ParticipantId
    message: int


@dataclass(frozen=True, slots=True)
class TypeChat:
    participant: ParticipantId
    to: ParticipantId | None = None


@dataclass(frozen=True, slots=True)
class ChatStored:
    """What a `ChatToStore` wanted is durable."""

    room: RoomName
    message: ChatMessage
    change: ChatChange
    by: ParticipantId


@dataclass(frozen=True, slots=True)
class ChatLost:
    """What a `ChatToStore` wanted could not be done."""

    room: RoomName
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class Expire:
    """In every room forget what is from before `before_ms` (Unix milliseconds), as the store has."""

    before_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRoom:
    """Open a room that nobody is in yet. It stays empty for `empty_us`, but at least the usual time."""

    room: RoomName
    template: str | None
    empty_us: int
    chat: ChatHistory = field(default_factory=ChatHistory)
    work: ClassHistory = field(default_factory=ClassHistory)


@dataclass(frozen=True, slots=True)
class CloseRoom:
    """Everybody is removed, and the room ends."""

    room: RoomName


OPERATOR = ParticipantId("operator")
"""Stands for who is no participant in commands that name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operate:
    """`command`, by somebody with these rights who is not in the room."""

    room: RoomName
    identity: str
    name: str
    role: Role
    grants: Grants
    command: FromOutside | SendChat | DeleteChat


Command = (
    Join
    | OpenRoom
    | CloseRoom
    | Operate
    | Resume
    | StopWaiting
    | Disconnect
    | Leave
    | Publish
    | Unpublish
    | Mute
    | Describe
    | Subscribe
    | Unsubscribe
    | SendChat
    | EditChat
    | DeleteChat
    | ReactChat
    | ReadChat
    | TypeChat
    | ChatStored
    | ChatLost
    | Expire
    | Act
)
