"""One server to one database and one folder: two would give the same ids to different messages."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sfu.errors import StartError
from sfu.store.engine import Engines

log = logging.getLogger(__name__)

ADVISORY_LOCK = 0x5F5_F00D
"""Our number among PostgreSQL's advisory locks."""
WATCH_S = 3.0
"""How often a lock is looked after: PostgreSQL's ends with its connection, a file may be deleted."""
ANSWER_S = 10.0
"""A connection that says nothing for so long is no connection any more."""


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder that exists for this process, whatever is deleted or put into it.

    Raises `StartError` where another holds it, `OSError` where it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"server.data_dir: another server or command is using {folder}"
            raise StartError(text, os.EX_UNAVAILABLE) from None
        except OSError as error:
            # Network file systems lock no folders: then the database's own lock has to do.
            log.warning("%s cannot be locked: %s", folder, error.strerror)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def no_server(database: Path) -> Iterator[bool]:
    """Keep servers from the SQLite file meanwhile. Yields whether that could be had; changes nothing."""
    try:
        descriptor = os.open(lock_path(database), os.O_RDONLY)
    except FileNotFoundError:
        yield True  # No server was ever here.
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def lock_path(database: Path) -> Path:
    """The file whose lock tells that a server uses the SQLite file `database`."""
    return database.with_name(f"{database.name}.lock")


@contextlib.asynccontextmanager
async def alone(url: URL, engines: Engines, lost: asyncio.Event) -> AsyncIterator[None]:
    """Hold the database for this process. `lost` is set when another has come to hold it meanwhile.

    Raises `StartError` where another holds it. A killed process lets go by itself.
    """
    lock: _Lock = _AdvisoryLock(engines.write)
    if url.get_backend_name() == "sqlite":
        lock = _FileLock(lock_path(Path(url.database or "")))
    if not await lock.take():
        text = "storage.url: another server or command is using this database"
        raise StartError(text, os.EX_UNAVAILABLE)
    watching = asyncio.create_task(_watch(lock, lost))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await lock.let_go()


class _Lock(Protocol):
    async def take(self) -> bool:
        """Whether it could be had. Raises `SQLAlchemyError` or `OSError`: the database is away."""

    async def alive(self) -> bool:
        """Whether it still keeps others out; one that does not is given up."""

    async def let_go(self) -> None: ...


class _FileLock:
    """A lock on a file that lies beside the database. Who deletes the file has unlocked nothing for long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    async def take(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    async def alive(self) -> bool:
        if self._descriptor is None:
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._descriptor), self._path.stat()):
                return True
        await self.let_go()
        return False

    async def let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _AdvisoryLock:
    """Held by a connection that does nothing else."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        connection = await self._engine.connect()
        try:
            query = text("SELECT pg_try_advisory_lock(:lock)")
            held = bool(await connection.scalar(query, {"lock": ADVISORY_LOCK}))
            # A session's lock outlives the transaction, which must not stay open.
            await connection.commit()
        except BaseException:
            await _end(connection)
            raise
        if held:
            self._connection = connection
        else:
            await connection.close()
        return held

    async def alive(self) -> bool:
        if self._connection is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._connection.execute(text("SELECT 1"))
                await self._connection.commit()
        except (SQLAlchemyError, OSError):
            await self.let_go()
            return False
        return True

    async def let_go(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await _end(connection)


async def _end(connection: AsyncConnection) -> None:
    """Not back to the pool: the lock would go with it."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.invalidate()
    with contextlib.suppress(SQLAlchemyError, OSError):
        await connection.close()


async def _watch(lock: _Lock, lost: asyncio.Event) -> None:
    """Keep it, or take it again when the database is back."""
    while True:
        await asyncio.sleep(WATCH_S)
        if await lock.alive():
            continue
        try:
            async with asyncio.timeout(ANSWER_S):
                held = await lock.take()
        except (SQLAlchemyError, OSError) as error:
            log.warning("the database is away: %s", type(error).__name__)
            continue
        if not held:
            log.error("another server has taken the database: nothing more is stored")
            lost.set()
            return
        log.warning("the lock on the database was lost, and taken again")
