"""Who is in the room and what they publish, as the server last said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["audio", "video"]
Source = Literal["camera", "microphone", "screen", "screen_audio", "other"]


@dataclass(slots=True, eq=False)
class Publication:
    """One media source of a participant. `width` and `height` are 0 until known."""

    id: str
    participant_id: str
    kind: Kind
    source: str
    name: str = ""
    muted: bool = False
    codec: str = ""
    simulcast: bool = False
    width: int = 0
    height: int = 0

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Publication:
        """From the protocol's `publication` object; raises `KeyError` or `TypeError` where it is none."""
        publication = cls(
            id=str(message["id"]),
            participant_id=str(message["participant"]),
            kind="audio" if message["kind"] == "audio" else "video",
            source=str(message["source"]),
        )
        publication.update(message)
        return publication

    def update(self, message: dict[str, Any]) -> None:
        """Take over what may change while the publication lives."""
        self.name = str(message.get("name") or "")
        self.muted = bool(message.get("muted"))
        self.codec = str(message.get("codec") or "")
        self.simulcast = bool(message.get("simulcast"))
        self.width = int(message.get("width") or 0)
        self.height = int(message.get("height") or 0)


@dataclass(slots=True, eq=False)
class Participant:
    """One member of the room. `state` is `connected` or `reconnecting`; `grants` as in the protocol."""

    id: str
    name: str = ""
    identity: str = ""
    state: str = "connected"
    joined_at_ms: int = 0
    grants: dict[str, Any] = field(default_factory=dict)
    publications: dict[str, Publication] = field(default_factory=dict)

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Participant:
        """From the protocol's `participant` object; raises `KeyError` or `TypeError` where it is none."""
        participant = cls(id=str(message["id"]))
        participant.update(message)
        for item in message.get("publications") or ():
            publication = Publication.parse(item)
            participant.publications[publication.id] = publication
        return participant

    def update(self, message: dict[str, Any]) -> None:
        """Take over what may change; publications have messages of their own."""
        self.name = str(message.get("name") or "")
        self.identity = str(message.get("identity") or "")
        self.state = str(message.get("state") or "connected")
        self.joined_at_ms = int(message.get("joined_at_ms") or 0)
        self.grants = dict(message.get("grants") or {})


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One chat message as it is after its last change, whose number is `rev`.

    `to` is None where it went to everybody, else a participant id; `identity` says who sent it beyond that
    membership. `reactions` maps an emoji to identities. A `deleted` one has no text any more.
    """

    id: int
    rev: int
    sender_id: str
    name: str
    text: str
    to: str | None
    sent_at_ms: int
    identity: str = ""
    mentions: tuple[str, ...] = ()
    file: str | None = None
    edited_at_ms: int | None = None
    deleted: bool = False
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, message: dict[str, Any]) -> ChatMessage:
        """From the protocol's `chat message` object; raises `KeyError` or `TypeError` where it is none."""
        to = message.get("to")
        return cls(
            id=int(message["id"]),
            rev=int(message.get("rev") or message["id"]),
            sender_id=str(message["from"]),
            name=str(message.get("name") or ""),
            text=str(message["text"]),
            to=None if to is None else str(to),
            sent_at_ms=int(message.get("sent_at_ms") or 0),
            identity=str(message.get("identity") or ""),
            mentions=tuple(map(str, message.get("mentions") or ())),
            file=message.get("file"),
            edited_at_ms=message.get("edited_at_ms"),
            deleted=bool(message.get("deleted")),
            reactions={str(k): tuple(map(str, v)) for k, v in (message.get("reactions") or {}).items()},
        )
