"""What an error of the database says: is it away for now, or unwell as a whole, or is one statement wrong."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNWELL = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM,
}  # fmt: skip
# Shutdown, crash, cannot connect now, too many connections; locks, deadlocks and serialization.
_AWAY_STATES = ("57P", "08", "53300", "55P03", "40")
_UNWELL_STATES = ("53", "58", "XX", "25006")


def is_away(error: Exception) -> bool:
    """Whether the same may go well in a moment: nobody answers, or another program holds the database."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    busy = _sqlite_code(error) in _BUSY or _state(error).startswith(_AWAY_STATES)
    return error.connection_invalidated or busy


def is_whole(error: Exception) -> bool:
    """Whether every other write would have failed as well: it is away, or full, or broken."""
    if is_away(error):
        return True
    unwell = _sqlite_code(error) in _UNWELL or _state(error).startswith(_UNWELL_STATES)
    return isinstance(error, DBAPIError) and unwell


def away_reason(error: Exception) -> str:
    """Why it is away, for the log."""
    if _sqlite_code(error) in _BUSY:
        return "another program holds it"
    return type(error).__name__


def _sqlite_code(error: Exception) -> int | None:
    """SQLite's primary result code."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _state(error: Exception) -> str:
    """PostgreSQL's SQLSTATE."""
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
