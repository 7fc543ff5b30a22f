"""Room values as the JSON objects of docs/protocol.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sfu.room import effects, names
from sfu.room.effects import Event, Welcome
from sfu.room.model import ChatMessage, ParticipantView, Publication
from sfu.room.permissions import Grants
from sfu.room.state import StatePatched, StateView
from sfu.server import class_wire
from sfu.server.frames import Frame, Part

Json = dict[str, Any]


def encode(message: Json) -> Frame:
    """A message as it goes over the wire. A member may be a `Part`, or an object with such members."""
    pieces: list[str | Part] = []
    _collect(message, pieces)
    return Frame(*pieces) if len(pieces) > 1 else Frame(dumps(message))


def dumps(value: Any) -> str:
    """JSON as it goes over the wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def listed(texts: Iterable[str]) -> Part:
    """A list of values that are JSON already."""
    return Part(f"[{','.join(texts)}]")


def _collect(value: Any, pieces: list[str | Part]) -> None:
    """Append the parts of `value`, and the text between them; nothing where it has no parts."""
    if isinstance(value, Part):
        pieces.append(value)
    elif isinstance(value, dict) and any(isinstance(each, (Part, dict)) for each in value.values()):
        _collect_members(value, pieces)


def _collect_members(value: Json, pieces: list[str | Part]) -> None:
    """Members without parts are encoded together, so that one text stands between two parts."""
    found: list[str | Part] = []
    plain: Json = {}
    for name, each in value.items():
        inner: list[str | Part] = []
        _collect(each, inner)
        if not inner:
            plain[name] = each
            continue
        before = dumps(plain)[1:-1]
        found += [f"{',' if found else ''}{before}{',' if before else ''}{dumps(name)}:", *inner]
        plain = {}
    if found:
        rest = dumps(plain)[1:-1]
        pieces += ["{", *found, f"{',' if rest else ''}{rest}}}"]


def grants(value: Grants) -> Json:
    publish = value.publish if isinstance(value.publish, bool) else list(value.publish)
    return {
        "publish": publish,
        "subscribe": value.subscribe,
        "data": value.data,
        "chat": value.chat,
        "moderate": value.moderate,
        "record": value.record,
        "see_hidden": value.see_hidden,
        "hidden": value.hidden,
    }


def publication(value: Publication) -> Json:
    return {
        "id": value.id,
        "participant": value.participant,
        "kind": value.kind,
        "source": value.source,
        "name": value.name,
        "muted": value.muted,
        "codec": value.codec,
        "simulcast": value.simulcast,
        "width": value.width,
        "height": value.height,
    }


def participant(value: ParticipantView) -> Json:
    return {
        "id": value.id,
        "name": value.name,
        "name_key": names.key(value.name),
        "identity": value.identity,
        "state": value.state,
        "joined_at_ms": value.joined_at_ms,
        "role": value.role,
        "grants": grants(value.grants),
        "breakout": value.breakout,
        "publications": [publication(each) for each in value.publications],
    }


def chat_message(value: ChatMessage) -> Json:
    return {
        "id": value.id,
        "rev": value.rev,
        "from": value.sender,
        "identity": value.identity,
        "name": value.name,
        "text": value.text,
        "to": value.to,
        "to_identity": value.to_identity,
        "mentions": list(value.mentions),
        "file": value.file,
        "sent_at_ms": value.sent_at_ms,
        "edited_at_ms": value.edited_at_ms,
        "deleted": value.deleted,
        "reactions": {emoji: list(who) for emoji, who in value.reactions.items()},
    }


def state(value: StateView) -> Json:
    """The shared state as a whole."""
    entries = {key: {"value": each.value, "version": each.version} for key, each in value.entries.items()}
    return {"version": value.version, "entries": entries}


def state_patch(value: StatePatched) -> Json:
    what = {"deleted": True} if value.entry is None else {"value": value.entry.value}
    return {
        "type": "state_patch",
        "participant": value.participant,
        "key": value.key,
        "version": value.version,
        **what,
    }


def event(value: Event) -> Json:
    """The message that tells of `value`."""
    match value:
        case effects.ParticipantJoined():
            return {"type": "participant_joined", "participant": participant(value.participant)}
        case effects.ParticipantUpdated():
            return {"type": "participant_updated", "participant": participant(value.participant)}
        case effects.ParticipantLeft():
            return {"type": "participant_left", "participant": value.participant, "reason": value.reason}
        case effects.PublicationAdded():
            return {"type": "publication_added", "publication": publication(value.publication)}
        case effects.PublicationUpdated():
            return {"type": "publication_updated", "publication": publication(value.publication)}
        case effects.PublicationRemoved():
            return {
                "type": "publication_removed",
                "publication": value.publication,
                "participant": value.participant,
            }
        case effects.ChatSent():
            return {"type": "chat", "message": chat_message(value.message)}
        case effects.ChatUpdated():
            return {"type": "chat_updated", "message": chat_message(value.message)}
        case effects.ChatSeen():
            return {"type": "chat_seen", "identity": value.identity, "message": value.message}
        case effects.ChatTyping():
            return {"type": "chat_typing", "participant": value.participant, "to": value.to}
        case StatePatched():
            return state_patch(value)
        case _:
            return class_wire.event(value)


def welcome(value: Welcome) -> Json:
    """The room's part of `joined`, without what `Encoded` keeps: `class`, `state` and `chat`."""
    return {
        "resumed": value.resumed,
        "participant": participant(value.participant),
        "participants": [participant(other) for other in value.others],
        "room": class_wire.room(value.view),
        "secret": value.secret,
        "chat_after": value.chat.after,
        "chat_last": value.chat.last,
        "chat_more": value.chat.more,
        "chat_read": value.chat_read,
        "chat_seen": dict(value.chat_seen),
    }
