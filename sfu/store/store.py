"""The open database: where writes are queued and queries are asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.durable import make_private
from sfu.errors import ConfigError, StartError
from sfu.store.alone import alone
from sfu.store.engine import Engines, open_engines, parse_url, sqlite_url
from sfu.store.migrate import bring_up_to_date
from sfu.store.opening import opening_fault
from sfu.store.writes import MAX_WAITING, Writes, failures

TEMPORARY = "temporary"
"""As a URL: a database and files that are gone when the server stops."""


class Store:
    """Made by `open_store`. `folder` is where files lie beside the database.

    `lost` is set when another server has taken the database: nothing is stored any more, whoever runs this
    one ends it.
    """

    def __init__(self, engines: Engines, folder: Path, max_waiting: int, lost: asyncio.Event) -> None:
        self.folder = folder
        self.writes = Writes(engines.write, max_waiting, lost)
        self.lost = lost
        self._engines = engines

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries, which see what is committed. Raises `RequestError` `storage_failed`."""
        with failures():
            async with self._engines.read.connect() as connection:
                yield connection


@contextlib.asynccontextmanager
async def open_store(url: str, folder: Path | None, max_waiting: int = MAX_WAITING) -> AsyncIterator[Store]:
    """Open, migrate and hold the database at `url`; everything submitted is durable when this has ended.

    An empty `url` is the file `sfu.db` in `folder`, `TEMPORARY` a throw-away one, which needs no folder.
    Raises `ConfigError` where it cannot be used, `StartError` where it cannot be had at this moment.
    """
    async with contextlib.AsyncExitStack() as stack:
        if url == TEMPORARY:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfu-")))
        assert folder is not None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = url in {"", TEMPORARY}
        parsed = sqlite_url(folder / "sfu.db") if own else parse_url(url)
        engines = open_engines(parsed, lasting=url != TEMPORARY)
        stack.push_async_callback(engines.dispose)
        lost = asyncio.Event()
        try:
            await stack.enter_async_context(alone(parsed, engines, lost))
            if parsed.get_backend_name() == "sqlite":
                _make_private(Path(str(parsed.database)))
            await bring_up_to_date(engines.write, parsed)
        except (ConfigError, StartError):
            raise
        except Exception as error:
            if (fault := opening_fault(parsed, error)) is not None:
                raise fault from error
            raise
        store = Store(engines, folder, max_waiting, lost)
        stack.push_async_callback(store.writes.close)
        yield store


def _make_private(database: Path) -> None:
    """A new database is private, and what SQLite lays beside it becomes as private as it."""
    # Where it cannot be made SQLite says why.
    with contextlib.suppress(OSError):
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    for end in ("", "-wal", "-shm"):
        make_private(database.with_name(database.name + end))
