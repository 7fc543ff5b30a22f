"""Where a database is to be: held for this process, with or without one that is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL

from sfu import clock
from sfu.durable import sync
from sfu.errors import ConfigError
from sfu.store import transfer
from sfu.store.alone import alone, alone_in
from sfu.store.engine import Engines, open_engines, sqlite_url
from sfu.store.migrate import check, revision_of
from sfu.store.store import TEMPORARY, locate, refusals


class Place:
    """Made by `open_place`. `folder` is the data directory."""

    def __init__(self, url: URL, folder: Path, engines: Engines) -> None:
        self.folder = folder
        self._url = url
        self._engines = engines

    async def make_room(self, names: Iterable[str], *, replace: bool) -> Path | None:
        """Put the database, and `names` in the folder, aside. Returns where they are, None: nothing is there.

        Raises `ConfigError` where something is there and `replace` is false, and for PostgreSQL.
        """
        there = [path for path in map(self.folder.joinpath, names) if path.exists()]
        database = self._file()
        if database is not None:
            # With what SQLite has beside it: a log of another database would undo this one.
            beside = (database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal"))
            there += [path for path in beside if path.exists()]
        elif await revision_of(self._engines.read) is not None:
            raise ConfigError(["storage.url: there is a database already: name an empty one"])
        if not there:
            return None
        if not replace:
            text = f"{there[-1]} is there already: --replace puts it aside, with all that belongs to it"
            raise ConfigError([text])
        now = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC)
        aside = self.folder / f"replaced-{now:%Y%m%d-%H%M%S}"
        await asyncio.to_thread(_move, there, aside)
        return aside

    async def put(self, source: Path) -> None:
        """Make the SQLite file `source` the database. Raises `ConfigError` or `StartError`."""
        database = self._file()
        with refusals(self._url):
            if database is not None:
                await asyncio.to_thread(_put, source, database)
                return
            engines = open_engines(sqlite_url(source))
            try:
                await check(engines.read)
                await transfer.copy_rows(engines.read, self._engines.write, self._url)
            finally:
                await engines.dispose()

    def _file(self) -> Path | None:
        return Path(str(self._url.database)) if self._url.get_backend_name() == "sqlite" else None


@contextlib.asynccontextmanager
async def open_place(url: str, folder: Path) -> AsyncIterator[Place]:
    """Hold the place of a database; nothing is opened or made. Raises `ConfigError` or `StartError`."""
    if url == TEMPORARY:
        raise ConfigError(["storage.url: a temporary database is gone when its server stops"])
    located = locate(url, folder)
    engines = open_engines(located)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engines.dispose)
        with refusals(located):
            stack.enter_context(alone_in(folder))
            await stack.enter_async_context(alone(located, engines, asyncio.Event()))
        yield Place(located, folder, engines)


def _move(paths: list[Path], aside: Path) -> None:
    aside.mkdir(mode=0o700)
    for path in paths:
        path.replace(aside / path.name)
    sync(aside)


def _put(source: Path, database: Path) -> None:
    os.chmod(source, 0o600)
    sync(source)
    source.replace(database)
    sync(database.parent)
