"""JSON Schemas of what goes in and out. One declaration checks, and documents. Spec: OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfu.room.permissions import RIGHTS, ROLES, SOURCES
from sfu.server.requests import MAX_CHAT_PAGE, MAX_ID, MAX_NAME, MAX_ROOM, MAX_SEARCH
from sfu.server.tokens import MAX_IDENTITY
from sfu.server.validation import LARGEST_ID
from sfu.store.people import ERASED
from sfu.templates import TEMPLATES

Schema = dict[str, Any]


def text(longest: int, shortest: int = 0, **more: Any) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest, **more}


def printable(longest: int, shortest: int = 0) -> Schema:
    """A name: nothing that cannot be seen, no blanks around it. One who joins may have it."""
    return text(longest, shortest, format="printable")


def integer(lowest: int, highest: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": lowest, "maximum": highest, **more}


def one_of(values: tuple[str, ...]) -> Schema:
    return {"type": "string", "enum": list(values)}


def listing(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def closed(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """What a client sends: these members and no others, so that a misspelt one is not passed over."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def answer(**members: Schema) -> Schema:
    """What the server answers: these members, and perhaps more in a later version."""
    return {"type": "object", "properties": members, "required": list(members)}


MAX_PAGE = 1000
"""Rooms, people, sessions or lines of a log in one answer."""
NUMBER = integer(0, LARGEST_ID)
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
ID = text(MAX_ID, 1)
CURSOR = {**printable(MAX_ID, 1), "description": "id of the last one that was had, whose time is `before_ms`"}
ROOM = printable(MAX_ROOM, 1)
NAME = printable(MAX_NAME)
ROLE = one_of(ROLES)
SOURCE = one_of(SOURCES)
TEMPLATE = one_of(TEMPLATES)
IDENTITY = {**printable(MAX_IDENTITY, 1), "not": {"const": ERASED}}
LIMIT = integer(1, MAX_CHAT_PAGE, default=MAX_CHAT_PAGE)
PAGE = integer(1, MAX_PAGE, default=MAX_PAGE)
SEARCH = text(MAX_SEARCH, 1)
TIME_MS = {"type": "integer", "description": "Unix milliseconds"}
GRANTS: Schema = {
    "type": "object",
    "properties": {
        "publish": {"anyOf": [BOOLEAN, listing(SOURCE, maxItems=len(SOURCES))]},
        **dict.fromkeys(RIGHTS, BOOLEAN),
    },
    "additionalProperties": False,
}

ERROR = answer(error=answer(code={"type": "string"}, message={"type": "string"}))
PUBLICATION = answer(id=ID, participant=ID, kind=one_of(("audio", "video")), source=SOURCE, muted=BOOLEAN)
PARTICIPANT = answer(
    id=ID,
    identity={"type": "string"},
    name={"type": "string"},
    name_key={"type": "string"},
    state=one_of(("connected", "reconnecting")),
    joined_at_ms=TIME_MS,
    role=ROLE,
    grants=GRANTS,
    breakout=nullable(NUMBER),
    publications=listing(PUBLICATION),
)
_SUMMARY: dict[str, Schema] = {
    "name": {"type": "string"},
    "template": TEMPLATE,
    "locked": BOOLEAN,
    "lobby": BOOLEAN,
    "participants": NUMBER,
    "publications": NUMBER,
}
ROOM_SUMMARY = answer(**_SUMMARY)
ROOM_VIEW = answer(
    **_SUMMARY,
    silenced=BOOLEAN,
    spotlight=nullable(answer(participant=ID, publication=nullable(ID))),
    breakouts=listing(answer(id=NUMBER, name={"type": "string"})),
)
MESSAGE = answer(
    id=NUMBER,
    rev=NUMBER,
    identity={"type": "string"},
    name={"type": "string"},
    text={"type": "string"},
    sent_at_ms=TIME_MS,
    deleted=BOOLEAN,
)
FILE = answer(
    id=ID,
    name={"type": "string"},
    type={"type": "string"},
    bytes=NUMBER,
    identity={"type": "string"},
    width=nullable(NUMBER),
    height=nullable(NUMBER),
    created_at_ms=TIME_MS,
)
SESSION = answer(
    id=ID,
    room={"type": "string"},
    identity={"type": "string"},
    name={"type": "string"},
    joined_at_ms=TIME_MS,
    left_at_ms=nullable(TIME_MS),
    reason=nullable({"type": "string"}),
)
