"""Rows that are another's, or nobody's, and name a person all the same: in JSON, and in what others wrote."""

from __future__ import annotations

import json
import re
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import audit, messages, outbox

_SAID = frozenset({"name", "text"})
"""Members of JSON objects that hold what somebody wrote: what is equal to an identity there is none."""


def names(value: Any, identity: str) -> bool:
    """Whether `identity` is a value somewhere in the JSON value."""
    match value:
        case dict():
            return any(names(each, identity) for name, each in value.items() if name not in _SAID)
        case list():
            return any(names(each, identity) for each in value)
    return bool(value == identity)


def renamed(value: Any, identity: str, to: str) -> Any:
    """The JSON value, with `to` in each place of `identity`."""
    match value:
        case dict():
            return {
                name: each if name in _SAID else renamed(each, identity, to) for name, each in value.items()
            }
        case list():
            return [renamed(each, identity, to) for each in value]
    return to if value == identity else value


def renamed_in_text(text: str, identity: str, to: str) -> str:
    """A text, with `@to` for each `@identity` that is not the beginning of a longer name."""
    return re.sub(f"@{re.escape(identity)}(?![\\w-])", lambda _: f"@{to}", text)


async def mentioning(connection: AsyncConnection, identity: str) -> list[Row[Any]]:
    """Messages that mention the person."""
    query = select(messages).where(_holds(messages.c.mentions, identity)).order_by(messages.c.room)
    return [row for row in await connection.execute(query) if names(row.mentions, identity)]


async def audited(connection: AsyncConnection, identity: str) -> list[Row[Any]]:
    """Lines of the audit log about what was done to the person."""
    query = select(audit).where(_holds(audit.c.detail, identity)).order_by(audit.c.id)
    return [row for row in await connection.execute(query) if names(row.detail, identity)]


async def to_deliver(connection: AsyncConnection, identity: str) -> list[Row[Any]]:
    """Events that wait for a webhook and tell of the person."""
    # As `webhooks.body` writes it, which escapes less than the JSON columns.
    literal = json.dumps(identity, ensure_ascii=False)
    query = select(outbox).where(outbox.c.body.contains(literal, autoescape=True)).order_by(outbox.c.number)
    return [row for row in await connection.execute(query) if names(json.loads(row.body), identity)]


def _holds(column: ColumnElement[Any], identity: str) -> ColumnElement[bool]:
    """Whether a JSON column may name `identity`: the database finds the few rows that have to be read."""
    return cast(column, Text).contains(json.dumps(identity), autoescape=True)
