"""Chat messages, reactions and read positions: the statements that write them, the queries that read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, literal, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store import properties
from sfu.store.tables import messages, reactions, read_positions, rooms
from sfu.store.writes import Step

SEARCHED = 100_000
"""How many of a room's newest messages a search looks at: it has no index, so this bounds its time."""
SEARCHED_AT_ONCE = 2000
"""And how many before others have their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message as it is now. `rev` is the number of its last change, `id` where it never changed.

    `reactions` maps each emoji to the identities that chose it, in the order they did.
    """

    room: str
    id: int
    rev: int
    sender: str
    identity: str
    name: str
    recipient: str | None
    to_identity: str | None
    text: str
    mentions: tuple[str, ...]
    file: str | None
    sent_ms: int
    edited_ms: int | None
    deleted: bool
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


REACTIONS_OF = 10
"""Messages whose reactions are looked up at once: some thousand rows at most."""


@dataclass(slots=True, kw_only=True)
class Found:
    """A part of what is asked for, and how long it is; `more` says that others follow. `rows` were read."""

    messages: list[StoredMessage] = field(default_factory=list)
    more: bool = True
    rows: int = 0
    characters: int = 0


Rows = list[Row[Any]]

_INSERT = insert(messages)
_CHANGE = (
    update(messages)
    .where(messages.c.room == bindparam("of_room"), messages.c.id == bindparam("of_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("rev", "text", "mentions", "file", "edited_ms", "deleted")
        }
    )
)
_UNREACT = delete(reactions).where(
    reactions.c.room == bindparam("of_room"),
    reactions.c.message == bindparam("of_id"),
    reactions.c.emoji == bindparam("of_emoji"),
    reactions.c.identity == bindparam("of_identity"),
)
_REACT = insert(reactions)
_CLEAR_REACTIONS = delete(reactions).where(
    reactions.c.room == bindparam("of_room"), reactions.c.message == bindparam("of_id")
)
_FORGET_READ = delete(read_positions).where(
    read_positions.c.room == bindparam("of_room"), read_positions.c.identity == bindparam("of_identity")
)
_READ = insert(read_positions)


# --- writing -----------------------------------------------------------------------------------


def added(message: StoredMessage) -> list[Step]:
    """A new message."""
    row = {column.name: getattr(message, column.name) for column in messages.c}
    return [(_INSERT, row | {"mentions": list(message.mentions)})]


def changed(message: StoredMessage) -> list[Step]:
    """An edited or deleted message; a deleted one loses its text and reactions for good."""
    steps: list[Step] = [_change(message)]
    if message.deleted:
        steps.append((_CLEAR_REACTIONS, {"of_room": message.room, "of_id": message.id}))
    return steps


def reacted(message: StoredMessage, emoji: str, identity: str, at_ms: int) -> list[Step]:
    """`identity` has chosen `emoji`, or taken it back, as `message.reactions` says."""
    steps: list[Step] = [
        _change(message),
        (
            _UNREACT,
            {"of_room": message.room, "of_id": message.id, "of_emoji": emoji, "of_identity": identity},
        ),
    ]
    if identity in message.reactions.get(emoji, ()):
        row = {"room": message.room, "message": message.id, "emoji": emoji}
        steps.append((_REACT, row | {"identity": identity, "at_ms": at_ms}))
    return steps


def read(room: str, identity: str, message: int, at_ms: int) -> list[Step]:
    """`identity` has read everything up to `message`."""
    return [
        (_FORGET_READ, {"of_room": room, "of_identity": identity}),
        (_READ, {"room": room, "identity": identity, "message": message, "at_ms": at_ms}),
    ]


def _change(message: StoredMessage) -> Step:
    return _CHANGE, {
        "of_room": message.room,
        "of_id": message.id,
        "new_rev": message.rev,
        "new_text": message.text,
        "new_mentions": list(message.mentions),
        "new_file": message.file,
        "new_edited_ms": message.edited_ms,
        "new_deleted": message.deleted,
    }


# --- reading -----------------------------------------------------------------------------------


async def head(connection: AsyncConnection, room: str) -> int:
    """The highest number ever given in the room, and in a new one in any of its name before."""
    there = await connection.scalar(select(func.max(messages.c.rev)).where(messages.c.room == room))
    gone = await connection.scalar(select(rooms.c.chat_head).where(rooms.c.name == room))
    if gone is None:
        gone = await connection.scalar(select(properties.floor()))
    return max(there or 0, gone or 0)


async def latest(connection: AsyncConnection, room: str, *, limit: int, characters: int) -> Found:
    """The `limit` messages that changed last, of so many characters, in the order of their last change."""
    query = select(messages).where(messages.c.room == room).order_by(messages.c.rev.desc()).limit(limit + 1)
    found = await within(connection, room, (await connection.execute(query)).all(), limit, characters)
    found.messages.reverse()
    return found


async def one(connection: AsyncConnection, room: str, message: int) -> StoredMessage | None:
    """The message of that id, None where there is none."""
    query = select(messages).where(messages.c.room == room, messages.c.id == message)
    found = await _with_reactions(connection, room, (await connection.execute(query)).all())
    return found[0] if found else None


async def page(
    connection: AsyncConnection,
    room: str,
    identity: str,
    *,
    limit: int,
    characters: int,
    before: int | None = None,
    after: int | None = None,
    with_file: bool = False,
) -> Found:
    """At most `limit` messages that `identity` may read, oldest first, of so many characters in all.

    They are the first ones after `after` where it is given, else the last ones before `before` (None: the
    newest); with `with_file` of those that have a file and are not deleted.
    """
    query = select(messages).where(messages.c.room == room, _may_read(identity)).limit(limit + 1)
    if with_file:
        query = query.where(messages.c.file.is_not(None), messages.c.deleted.is_(False))
    if before is not None:
        query = query.where(messages.c.id < before)
    order = messages.c.id.desc()
    if after is not None:
        query = query.where(messages.c.id > after)
        order = messages.c.id.asc()
    found = await within(
        connection, room, (await connection.execute(query.order_by(order))).all(), limit, characters
    )
    if after is None:
        found.messages.reverse()
    return found


async def search(
    connection: AsyncConnection, room: str, identity: str, text: str, *, oldest: int, newest: int, limit: int
) -> Rows:
    """At most `limit` rows of messages from `oldest` to `newest` whose text contains `text`, newest first.

    Letters' case does not matter. Each message there is looked at: there is no index. `within` makes
    messages of the rows.
    """
    query = (
        select(messages)
        .where(
            messages.c.room == room,
            messages.c.id >= oldest,
            messages.c.id <= newest,
            messages.c.deleted.is_(False),
            messages.c.text.icontains(text, autoescape=True),
            _may_read(identity),
        )
        .order_by(messages.c.id.desc())
        .limit(limit)
    )
    return list((await connection.execute(query)).all())


async def within(
    connection: AsyncConnection, room: str, rows: Sequence[Row[Any]], limit: int, characters: int
) -> Found:
    """The first `limit` of `rows` as messages, of so many characters in all, one at least.

    Reactions are looked up for few messages at a time: each may have hundreds.
    """
    found = Found(rows=len(rows))
    wanted = rows[:limit]
    for start in range(0, len(wanted), REACTIONS_OF):
        part = await _with_reactions(connection, room, wanted[start : start + REACTIONS_OF])
        for message in part:
            chosen = [who for each in message.reactions.values() for who in each]
            found.rows += len(chosen)
            length = len(message.text) + sum(map(len, chosen))
            if found.messages and found.characters + length > characters:
                return found
            found.characters += length
            found.messages.append(message)
    found.more = len(rows) > limit
    return found


async def read_position(connection: AsyncConnection, room: str, identity: str) -> int:
    """Up to which message `identity` has read, 0 where it never said."""
    query = select(read_positions.c.message).where(
        read_positions.c.room == room, read_positions.c.identity == identity
    )
    return await connection.scalar(query) or 0


def showing_file_to(identity: str, room: ColumnElement[str], file: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a message that `identity` may read shows `file`: a condition on rows with these two."""
    shown = select(literal(1)).where(messages.c.room == room, messages.c.file == file, _may_read(identity))
    return shown.correlate_except(messages).exists()


def _may_read(identity: str) -> ColumnElement[bool]:
    return or_(
        messages.c.to_identity.is_(None),
        messages.c.to_identity == identity,
        messages.c.identity == identity,
    )


async def _with_reactions(
    connection: AsyncConnection, room: str, rows: Iterable[Row[Any]]
) -> list[StoredMessage]:
    found = [row._mapping for row in rows]
    chosen: dict[int, dict[str, list[str]]] = {}
    query = (
        select(reactions.c.message, reactions.c.emoji, reactions.c.identity)
        .where(reactions.c.room == room, reactions.c.message.in_([row["id"] for row in found]))
        .order_by(reactions.c.at_ms, reactions.c.identity)
    )
    for message, emoji, identity in (await connection.execute(query)).all() if found else ():
        chosen.setdefault(message, {}).setdefault(emoji, []).append(identity)
    return [
        StoredMessage(
            **{**row, "mentions": tuple(row["mentions"])},
            reactions={emoji: tuple(who) for emoji, who in chosen.get(row["id"], {}).items()},
        )
        for row in found
    ]
