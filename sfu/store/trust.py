"""Whether the clock may decide what is old: a wrong one, for one start, would delete everything.

It is believed while it goes on from where it was at the last clearing. A leap may be true (a server that was
off for weeks, a backup that was restored): it is believed once it has stood for some days.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store import properties
from sfu.store.tables import audit, files, messages, rooms, sessions, users

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
LEAP_MS = 7 * DAY_MS
"""Farther from the last clearing, the clock is asked to prove itself."""
PROVEN_MS = 2 * DAY_MS
"""For so long it has to stand where it is."""

_MADE_HERE = (
    rooms.c.last_seen_ms,
    users.c.last_seen_ms,
    sessions.c.joined_ms,
    messages.c.sent_ms,
    files.c.created_ms,
    audit.c.at_ms,
)
"""Times that this server's clock has given: a device's samples carry the device's."""


async def believe(connection: AsyncConnection, now_ms: int) -> bool:
    """Whether what is old may be deleted by the clock, and remember it as the last clearing then."""
    last = await properties.number(connection, "cleared_ms")
    if last is None:
        last = await _newest(connection)
    since = await properties.number(connection, "leap_ms")
    if last is not None and abs(now_ms - last) > LEAP_MS:
        if since is None or not since <= now_ms <= since + LEAP_MS:
            since = now_ms
            await properties.set_number(connection, "leap_ms", since)
        if now_ms - since < PROVEN_MS:
            log.warning(
                "the clock says %s, but it was %s when the database was last cleared out: "
                "nothing old is deleted, unless the clock still says so in %d days",
                _day(now_ms), _day(last), PROVEN_MS // DAY_MS,
            )  # fmt: skip
            return False
    await properties.set_number(connection, "leap_ms", None)
    await properties.set_number(connection, "cleared_ms", now_ms)
    return True


async def _newest(connection: AsyncConnection) -> int | None:
    found = [await connection.scalar(select(func.max(column))) for column in _MADE_HERE]
    return max((each for each in found if each is not None), default=None)


def _day(at_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return str(at_ms)
