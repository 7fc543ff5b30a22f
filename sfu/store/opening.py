"""Why a database cannot be opened, in words that hold no password."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from sfu.errors import ConfigError, StartError
from sfu.faults import start_fault, words
from sfu.hosts import endpoint

POSTGRESQL_PORT = 5432

_SQLITE_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM")
_POSTGRESQL_PASSING = ("08", "53", "57", "58")
"""Classes of SQLSTATE: connection, resources, operator intervention, system. Spec: PostgreSQL, appendix A."""


def opening_fault(url: URL, error: Exception) -> StartError | ConfigError | None:
    """The error that ends a start because the database at `url` cannot be used; None: it is another error."""
    cause: Any = getattr(error, "orig", None) or error
    if url.get_backend_name() == "sqlite":
        return _sqlite(str(url.database), error, cause)
    where = f"storage.url: {endpoint(url.host or 'localhost', url.port or POSTGRESQL_PORT)}"
    # asyncpg refuses what it is given with errors of its own, which SQLAlchemy passes on as they are.
    state = str(getattr(cause, "sqlstate", None) or "")
    if state.startswith(_POSTGRESQL_PASSING):
        return StartError(f"{where}: {_first_line(cause)}", os.EX_TEMPFAIL)
    if isinstance(error, OSError):
        if error.errno is None and not isinstance(error, TimeoutError):
            return ConfigError([f"{where}: {_first_line(cause)}"])
        error.filename = None
        return start_fault(where, error)
    if state or isinstance(error, SQLAlchemyError) or type(error).__module__.startswith("asyncpg"):
        return ConfigError([f"{where}: {_first_line(cause)}"])
    return None


def _sqlite(path: str, error: Exception, cause: Any) -> StartError | ConfigError | None:
    if isinstance(error, OSError):
        return start_fault("storage.url", error)
    if not isinstance(error, SQLAlchemyError):
        return None
    if _is_full(Path(path).parent):
        return start_fault("storage.url", OSError(errno.ENOSPC, "", path))
    text = f"storage.url: {path}: {_first_line(cause)}{_refusal(Path(path))}"
    name = getattr(cause, "sqlite_errorname", "")
    return StartError(text, os.EX_TEMPFAIL) if name.startswith(_SQLITE_PASSING) else ConfigError([text])


def _refusal(path: Path) -> str:
    """What the system says where SQLite says only that it could not open or write a file."""
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        try:
            os.close(os.open(each, os.O_RDWR))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f" ({words(error)})"
    return "" if os.access(path.parent, os.W_OK) else f" ({path.parent} is not writable)"


def _is_full(folder: Path) -> bool:
    """Whether no file can be added: SQLite says of some that it could not open them."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    # Some file systems count no inodes, and say 0 of 0.
    return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)


def _first_line(error: Any) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
