"""Paging through rows that have a time and an id, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_

Cursor = tuple[int, str | None]
"""Time (Unix milliseconds) and id of the last row of the page before. Without the id, those of the same
millisecond that were not on that page are passed over."""


def newest_first(
    query: Select[Any], time: ColumnElement[int], key: ColumnElement[str], limit: int, after: Cursor | None
) -> Select[Any]:
    """The first `limit` rows of `query`, or the first ones after the cursor."""
    query = query.order_by(time.desc(), key.desc()).limit(limit)
    if after is None:
        return query
    at_ms, last = after
    if last is None:
        return query.where(time < at_ms)
    return query.where(or_(time < at_ms, and_(time == at_ms, key < last)))
