"""The attendance report as CSV. Spec: RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime

from sfu.room.attendance import Visit
from sfu.server.csv_cells import cell

COLUMNS = ("identity", "name", "role", "joined_at", "left_at", "minutes", "reason")


def to_csv(visits: Iterable[Visit], now_ms: int) -> str:
    """One line for each visit, times in UTC; who is still here has no `left_at` and counts until now."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for visit in visits:
        until_ms = now_ms if visit.left_at_ms is None else visit.left_at_ms
        writer.writerow(
            (
                cell(visit.identity),
                cell(visit.name),
                visit.role,
                _time(visit.joined_at_ms),
                "" if visit.left_at_ms is None else _time(visit.left_at_ms),
                f"{(until_ms - visit.joined_at_ms) / 60_000:.1f}",
                visit.reason or "",
            )
        )
    return out.getvalue()


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
