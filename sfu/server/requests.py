"""What a client may ask, as values. `parse` turns one JSON object into one of them. See docs/protocol.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sfu.errors import ParseError, RequestError
from sfu.ids import ParticipantId, PublicationId
from sfu.room import names
from sfu.room.model import Wants
from sfu.room.permissions import ROLES, SOURCES, Role, Source
from sfu.sdp import model
from sfu.sdp.model import MAX_ATTRIBUTES, MAX_OFFERED, SessionDescription
from sfu.sdp.model import MAX_CHARACTERS as MAX_SDP
from sfu.server import costs, telemetry_wire
from sfu.server import validation as v
from sfu.server.act_requests import PARSERS, InRoom
from sfu.server.costs import Cost
from sfu.server.data import MAX_TOPIC, MAX_TOPICS
from sfu.server.validation import Message
from sfu.templates import TEMPLATES

TransportName = Literal["publish", "subscribe"]

MAX_NAME = 64
MAX_ROOM = 128
MAX_ID = 64
MAX_IDENTITY = 128
MAX_TOKEN = 8192
MAX_PUBLICATIONS = 1000
MAX_PIXELS = 16_384


@dataclass(frozen=True, slots=True)
class ResumeOf:
    participant: ParticipantId
    secret: str


MAX_CHAT_PAGE = 100
"""Messages in one answer: about what a page shows, and at 4,000 characters each well below what may wait."""
MAX_EMOJI = 16
"""Characters: a flag or a family is one emoji of many."""
MAX_SEARCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    version: int
    room: str
    name: str
    token: str
    role: Role | None
    template: str | None
    wants: Wants
    client: str
    resume: ResumeOf | None
    chat_after: int | None = None
    pass_: str = ""


@dataclass(frozen=True, slots=True)
class OfferedMedia:
    """What the client says of one m-line it sends."""

    source: Source
    name: str
    muted: bool


@dataclass(frozen=True, slots=True)
class Offer:
    description: SessionDescription
    media: Mapping[str, OfferedMedia]


@dataclass(frozen=True, slots=True)
class Answer:
    seq: int
    sdp: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Of no use to a server with ICE-lite, which learns addresses from checks: only its form is checked."""

    transport: TransportName


@dataclass(frozen=True, slots=True)
class RestartIce:
    pass


@dataclass(frozen=True, slots=True)
class Mute:
    publication: PublicationId
    muted: bool


@dataclass(frozen=True, slots=True)
class Unpublish:
    publication: PublicationId


@dataclass(frozen=True, slots=True)
class Subscribe:
    publications: tuple[PublicationId, ...]
    priority: int | None
    width: int | None
    height: int | None
    paused: bool | None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    publications: tuple[PublicationId, ...]


@dataclass(frozen=True, slots=True)
class Chat:
    """`text` is empty only beside a `file`."""

    text: str
    to: str | None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class ChatEdit:
    message: int
    text: str


@dataclass(frozen=True, slots=True)
class ChatDelete:
    message: int


@dataclass(frozen=True, slots=True)
class ChatReact:
    message: int
    emoji: str
    on: bool


@dataclass(frozen=True, slots=True)
class ChatRead:
    message: int


@dataclass(frozen=True, slots=True)
class ChatTyping:
    to: ParticipantId | None


@dataclass(frozen=True, slots=True)
class ChatPage:
    """Messages before a number (None: the newest), or after one."""

    before: int | None
    after: int | None
    limit: int
    files: bool = False
    """Only those with a file."""


@dataclass(frozen=True, slots=True)
class ChatSearch:
    text: str
    before: int | None
    limit: int


ChatRequest = Chat | ChatEdit | ChatDelete | ChatReact | ChatRead | ChatTyping | ChatPage | ChatSearch


@dataclass(frozen=True, slots=True)
class Stats:
    pass


@dataclass(frozen=True, slots=True)
class GetBoard:
    pass


Reading = ChatRead | ChatPage | ChatSearch | GetBoard
"""What only who follows the room may ask."""


@dataclass(frozen=True, slots=True)
class DataTopics:
    """Topics of data that the participant wants from now on; None: all."""

    topics: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Revoke:
    """The target's token opens nothing any more, and it leaves."""

    target: ParticipantId


@dataclass(frozen=True, slots=True)
class Ping:
    t: int | float | None


@dataclass(frozen=True, slots=True)
class Leave:
    pass


Request = (
    Join
    | Offer
    | Answer
    | Candidate
    | RestartIce
    | Mute
    | Unpublish
    | Subscribe
    | Unsubscribe
    | ChatRequest
    | Stats
    | GetBoard
    | DataTopics
    | Revoke
    | InRoom
    | Ping
    | Leave
)


def parse(message: Message, *, chat_characters: int) -> Request:
    """Check every member.

    Raises `RequestError` `bad_request`, `unknown_type`, `too_large` (chat text) or `bad_sdp` (an offer).
    """
    kind = v.text(message, "type", longest=64)
    if kind not in KINDS:
        raise RequestError("unknown_type", "no such message type")
    if kind == "chat":
        file = None if message.get("file") is None else v.label(message, "file", shortest=1, longest=MAX_ID)
        text = chat_text(message, chat_characters, shortest=1 if file is None else 0)
        to = (
            None
            if message.get("to") is None
            else v.storable(v.text(message, "to", longest=MAX_IDENTITY), "to")
        )
        return Chat(text, to, file)
    if kind == "chat_edit":
        return ChatEdit(_message(message), chat_text(message, chat_characters))
    return (_PARSERS.get(kind) or IN_ROOM[kind])(message)


def cost(message: Message) -> Cost | None:
    """What the request costs, None for one that `parse` refuses for its type."""
    kind = message.get("type")
    return costs.REQUESTS.get(kind) if isinstance(kind, str) else None


def request_id(message: Message) -> int | None:
    """The client's `id`, None without one. Raises `RequestError` `bad_request`."""
    return v.optional_integer(message, "id", lowest=0, highest=v.LARGEST_ID)


def _join(message: Message) -> Join:
    resume = v.optional_object(message, "resume")
    return Join(
        version=v.integer(message, "version", lowest=0, highest=v.LARGEST_ID),
        room=v.label(message, "room", shortest=1, longest=MAX_ROOM),
        name=v.person(message, "name", longest=MAX_NAME),
        token=v.text(message, "token", longest=MAX_TOKEN, default=""),
        pass_=v.text(message, "pass", longest=MAX_TOKEN, default=""),
        role=v.choice(message, "role", ROLES) if message.get("role") is not None else None,
        template=v.choice(message, "template", TEMPLATES) if message.get("template") is not None else None,
        wants=_wants(v.optional_object(message, "wants") or {}),
        client=v.label(message, "client", longest=MAX_NAME, default=""),
        resume=_resume(resume) if resume is not None else None,
        chat_after=v.optional_integer(message, "chat_after", lowest=0, highest=v.LARGEST_ID),
    )


def _resume(message: Message) -> ResumeOf:
    return ResumeOf(
        ParticipantId(v.text(message, "participant", longest=MAX_ID)),
        v.text(message, "secret", longest=MAX_ID),
    )


def _wants(message: Message) -> Wants:
    return Wants(
        subscribe=v.boolean(message, "subscribe", True),
        audio=v.boolean(message, "audio", True),
        video=v.boolean(message, "video", True),
    )


def _offer(message: Message) -> Offer:
    media: dict[str, OfferedMedia] = {}
    for entry in v.objects(message, "media", most=MAX_OFFERED):
        mid = v.text(entry, "mid", shortest=1, longest=MAX_ID)
        if mid in media:
            raise v.bad(f"media has mid {mid} twice")
        media[mid] = OfferedMedia(
            source=v.choice(entry, "source", SOURCES),
            name=v.label(entry, "name", longest=MAX_NAME, default=""),
            muted=v.boolean(entry, "muted", False),
        )
    return Offer(offered(v.text(message, "sdp", shortest=1, longest=MAX_SDP)), media)


def offered(sdp: str) -> SessionDescription:
    """Read the SDP of a publisher's offer. Raises `RequestError` `bad_sdp`."""
    try:
        return model.parse(sdp, most_media=MAX_OFFERED, most_attributes=MAX_ATTRIBUTES)
    except ParseError as error:
        raise bad_offer(error) from None


def bad_offer(error: ParseError) -> RequestError:
    """The refusal of an offer that cannot be used."""
    return RequestError("bad_sdp", f"the offer cannot be used: {error.reason}")


def _answer(message: Message) -> Answer:
    return Answer(
        v.integer(message, "seq", lowest=0, highest=v.LARGEST_ID),
        v.text(message, "sdp", shortest=1, longest=MAX_SDP),
    )


def _candidate(message: Message) -> Candidate:
    candidate = v.optional_object(message, "candidate")
    if candidate is not None:
        v.text(candidate, "candidate", longest=1024, default="")
    return Candidate(v.choice(message, "transport", ("publish", "subscribe")))


def _restart_ice(message: Message) -> RestartIce:
    if v.choice(message, "transport", ("publish", "subscribe")) == "publish":
        raise RequestError("bad_state", "the publish transport restarts by a client's offer")
    return RestartIce()


def _mute(message: Message) -> Mute:
    return Mute(_publication(message), v.boolean(message, "muted"))


def _unpublish(message: Message) -> Unpublish:
    return Unpublish(_publication(message))


def _subscribe(message: Message) -> Subscribe:
    return Subscribe(
        publications=_publications(message),
        priority=v.optional_integer(message, "priority", lowest=0, highest=255),
        width=v.optional_integer(message, "width", lowest=0, highest=MAX_PIXELS),
        height=v.optional_integer(message, "height", lowest=0, highest=MAX_PIXELS),
        paused=v.optional_boolean(message, "paused"),
    )


def _unsubscribe(message: Message) -> Unsubscribe:
    return Unsubscribe(_publications(message))


def chat_text(message: Message, longest: int, shortest: int = 1) -> str:
    """The `text` of a chat message of at most `longest` characters.

    Raises `RequestError` `bad_request`, or `too_large`.
    """
    text = v.shown(message, "text", shortest=shortest, longest=v.LARGEST_ID)
    if len(text) > longest:
        raise RequestError("too_large", f"a chat message has at most {longest} characters")
    return text


def _recipient(message: Message) -> ParticipantId | None:
    return None if message.get("to") is None else ParticipantId(v.text(message, "to", longest=MAX_ID))


def _message(message: Message) -> int:
    return v.integer(message, "message", lowest=1, highest=v.LARGEST_ID)


def _chat_delete(message: Message) -> ChatDelete:
    return ChatDelete(_message(message))


def _chat_react(message: Message) -> ChatReact:
    emoji = v.text(message, "emoji", shortest=1, longest=MAX_EMOJI)
    # The joiner that makes a family of people counts as not printable.
    if not emoji.replace("\u200d", "").isprintable() or " " in emoji or not names.visible(emoji):
        raise v.bad("emoji has characters that cannot be shown")
    return ChatReact(_message(message), emoji, v.boolean(message, "on", True))


def _chat_read(message: Message) -> ChatRead:
    return ChatRead(_message(message))


def _chat_typing(message: Message) -> ChatTyping:
    return ChatTyping(_recipient(message))


def _chat_page(message: Message) -> ChatPage:
    before = v.optional_integer(message, "before", lowest=0, highest=v.LARGEST_ID)
    after = v.optional_integer(message, "after", lowest=0, highest=v.LARGEST_ID)
    if before is not None and after is not None:
        raise v.bad("before and after exclude each other")
    return ChatPage(before, after, _limit(message), v.boolean(message, "files", False))


def _chat_search(message: Message) -> ChatSearch:
    text = v.storable(v.text(message, "text", shortest=1, longest=MAX_SEARCH), "text")
    before = v.optional_integer(message, "before", lowest=0, highest=v.LARGEST_ID)
    return ChatSearch(text, before, _limit(message))


def _limit(message: Message) -> int:
    limit = v.optional_integer(message, "limit", lowest=1, highest=MAX_CHAT_PAGE)
    return MAX_CHAT_PAGE if limit is None else limit


def _stats(message: Message) -> Stats:
    return Stats()


def _board(message: Message) -> GetBoard:
    return GetBoard()


def _data_topics(message: Message) -> DataTopics:
    wanted = message.get("topics")
    if wanted is None:
        return DataTopics(None)
    if not isinstance(wanted, list) or len(wanted) > MAX_TOPICS:
        raise v.bad(f"topics must be null or a list of at most {MAX_TOPICS} texts")
    return DataTopics(frozenset(v.text({"topics": each}, "topics", longest=MAX_TOPIC) for each in wanted))


def _revoke(message: Message) -> Revoke:
    return Revoke(ParticipantId(v.text(message, "participant", shortest=1, longest=MAX_ID)))


def _ping(message: Message) -> Ping:
    t = message.get("t")
    if t is not None and (isinstance(t, bool) or not isinstance(t, (int, float)) or abs(t) > v.LARGEST_ID):
        raise v.bad("t must be a number")
    return Ping(t)


def _leave(message: Message) -> Leave:
    v.text(message, "reason", longest=256, default="")
    return Leave()


def _publication(message: Message) -> PublicationId:
    return PublicationId(v.text(message, "publication", longest=MAX_ID))


def _publications(message: Message) -> tuple[PublicationId, ...]:
    return tuple(
        PublicationId(each)
        for each in v.texts(message, "publications", most=MAX_PUBLICATIONS, longest=MAX_ID)
    )


IN_ROOM: Mapping[str, Callable[[Message], InRoom]] = {**PARSERS, **telemetry_wire.PARSERS}
"""What one does in a room, by type."""

_PARSERS: Mapping[str, Callable[[Message], Request]] = {
    "join": _join,
    "offer": _offer,
    "answer": _answer,
    "candidate": _candidate,
    "restart_ice": _restart_ice,
    "mute": _mute,
    "unpublish": _unpublish,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "chat_delete": _chat_delete,
    "chat_react": _chat_react,
    "chat_read": _chat_read,
    "chat_typing": _chat_typing,
    "chat_history": _chat_page,
    "chat_search": _chat_search,
    "stats": _stats,
    "board": _board,
    "data_topics": _data_topics,
    "revoke": _revoke,
    "ping": _ping,
    "leave": _leave,
}

KINDS = frozenset({"chat", "chat_edit", *_PARSERS, *IN_ROOM})
"""Every type of request."""

costs.check(KINDS)
