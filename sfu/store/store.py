"""The open database: where writes are queued and queries are asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.durable import make_private
from sfu.errors import ConfigError, StartError
from sfu.store import engine, properties, trust
from sfu.store.alone import alone, alone_in, no_server
from sfu.store.engine import Engines, open_engines, open_reader, parse_url, sqlite_url
from sfu.store.migrate import bring_up_to_date, check, drop_copies
from sfu.store.opening import opening_fault
from sfu.store.writes import MAX_WAITING, Writes, failures

Connection = AsyncConnection
"""For queries. Whoever asks them knows no more of the database."""

TEMPORARY = "temporary"
"""As a URL: a database and files that are gone when the server stops."""


class Reader:
    """Made by `read_only`. `folder` is where files lie beside the database, `id` is the database's own."""

    def __init__(self, engines: Engines, folder: Path, database: str) -> None:
        self.folder = folder
        self.id = database
        self.engines = engines

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries, which see what is committed. Raises `RequestError` `storage_failed`."""
        with failures():
            async with self.engines.read.connect() as connection:
                yield connection


class Store(Reader):
    """Made by `open_store` and `open_present`.

    `lost` is set when another server has taken the database: nothing is stored any more, whoever runs this
    one ends it.
    """

    def __init__(
        self, engines: Engines, folder: Path, database: str, max_waiting: int, lost: asyncio.Event
    ) -> None:
        super().__init__(engines, folder, database)
        self.writes = Writes(engines.write, max_waiting, lost)
        self.lost = lost
        self.believed = True
        """Whether the clock may decide what is old. It may not after a leap: see `trust`."""

    async def believe(self, now_ms: int) -> bool:
        """Judge the clock anew: `believed` from now on. Raises `RequestError` `storage_failed`."""
        self.believed = await self.writes.transact(partial(trust.believe, now_ms=now_ms))
        return self.believed

    async def drop_copies(self, before_ms: int) -> list[str]:
        """Delete the copies that upgrades before `before_ms` (Unix milliseconds) have left; their names."""
        with failures():
            return await asyncio.to_thread(drop_copies, self.engines.write.url, before_ms)

    async def shrink(self) -> None:
        """Give back to the disk what deleted rows have left. Raises `RequestError` `storage_failed`."""
        with failures():
            await engine.shrink(self.engines.write)


def locate(url: str, folder: Path) -> URL:
    """The URL of the database: an empty one is the file `sfu.db` in `folder`. Raises `ConfigError`."""
    return sqlite_url(folder / "sfu.db") if url in {"", TEMPORARY} else parse_url(url)


@contextlib.asynccontextmanager
async def open_store(url: str, folder: Path | None, max_waiting: int = MAX_WAITING) -> AsyncIterator[Store]:
    """Open, upgrade and hold the database at `url`; everything submitted is durable when this has ended.

    `TEMPORARY` is a throw-away one, which needs no folder.
    Raises `ConfigError` where it cannot be used, `StartError` where it cannot be had at this moment.
    """
    async with contextlib.AsyncExitStack() as stack:
        if url == TEMPORARY:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sfu-")))
        assert folder is not None
        located = locate(url, folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        engines = open_engines(located, lasting=url != TEMPORARY)
        prepared = partial(bring_up_to_date, engines.write, located)
        yield await stack.enter_async_context(_held(engines, located, folder, max_waiting, prepared))


@contextlib.asynccontextmanager
async def open_present(url: str, folder: Path) -> AsyncIterator[Store]:
    """Hold a database that is there, and of this version, to change something in it.

    Raises `ConfigError` where there is none or it cannot be used, `StartError` where it is in use.
    """
    located = _present(url, folder)
    engines = open_engines(located)
    async with _held(engines, located, folder, MAX_WAITING, partial(check, engines.write)) as store:
        yield store


@contextlib.asynccontextmanager
async def _held(
    engines: Engines,
    located: URL,
    folder: Path,
    max_waiting: int,
    prepared: Callable[[], Awaitable[None]],
) -> AsyncIterator[Store]:
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engines.dispose)
        lost = asyncio.Event()
        with refusals(located):
            stack.enter_context(alone_in(folder))
            await stack.enter_async_context(alone(located, engines, lost))
            make_private_file(located)
            await prepared()
            async with engines.write.begin() as connection:
                database = await properties.database_id(connection)
        store = Store(engines, folder, database, max_waiting, lost)
        stack.push_async_callback(store.writes.close)
        yield store


def make_private_file(located: URL) -> None:
    """Make a SQLite file private, a new one too; what SQLite lays beside it becomes as private as it.

    Raises `OSError` where it cannot be opened, which tells more than SQLite would.
    """
    if located.get_backend_name() != "sqlite":
        return
    database = Path(str(located.database))
    os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    for end in ("", "-wal", "-shm"):
        make_private(database.with_name(database.name + end))


@contextlib.asynccontextmanager
async def read_only(url: str, folder: Path) -> AsyncIterator[Reader]:
    """Open a database that is there, and of this version, to look at; a server may be using it.

    Nothing is changed or made. Raises `ConfigError` where there is none, or it cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        located = _present(url, folder)
        with refusals(located):
            unused = False
            if located.get_backend_name() == "sqlite":
                path = Path(located.database or "")
                # What was written last may be in a log beside it, which takes a file of its own to read.
                alone_there = stack.enter_context(no_server(path))
                unused = alone_there and not path.with_name(f"{path.name}-wal").exists()
            engines = open_reader(located, unused=unused)
            stack.push_async_callback(engines.dispose)
            await check(engines.read)
            async with engines.read.connect() as connection:
                database = await properties.known_id(connection)
        yield Reader(engines, folder, database)


def _present(url: str, folder: Path) -> URL:
    if url == TEMPORARY:
        raise ConfigError(["storage.url: a temporary database is gone when its server stops"])
    located = locate(url, folder)
    if located.get_backend_name() == "sqlite" and not Path(located.database or "").is_file():
        raise ConfigError([f"storage.url: there is no database at {located.database}"])
    return located


@contextlib.contextmanager
def refusals(located: URL) -> Iterator[None]:
    """Turn what a database fails with into a `ConfigError` or a `StartError`."""
    try:
        yield
    except (ConfigError, StartError):
        raise
    except Exception as error:
        if (fault := opening_fault(located, error)) is not None:
            raise fault from error
        raise
