"""One server to one database: two would give the same ids to different messages."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import URL, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sfu.errors import StartError
from sfu.store.engine import Engines

log = logging.getLogger(__name__)

ADVISORY_LOCK = 0x5F5_F00D
"""Our number among PostgreSQL's advisory locks."""
WATCH_S = 3.0
"""PostgreSQL's lock ends with its connection, which may end unnoticed: how often it is looked after."""
ANSWER_S = 10.0
"""A connection that says nothing for so long is no connection any more."""


@contextlib.asynccontextmanager
async def alone(url: URL, engines: Engines, lost: asyncio.Event) -> AsyncIterator[None]:
    """Hold the database for this process. `lost` is set when another has come to hold it meanwhile.

    Raises `StartError` where another holds it. A killed process lets go by itself.
    """
    busy = StartError("storage.url: another server is using this database", os.EX_UNAVAILABLE)
    if url.get_backend_name() == "sqlite":
        path = Path(f"{url.database}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise busy from None
        try:
            yield
        finally:
            os.close(descriptor)
        return
    lock = _AdvisoryLock(engines.write)
    if not await lock.take():
        raise busy
    watching = asyncio.create_task(_watch(lock, lost))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await lock.let_go()


class _AdvisoryLock:
    """Held by a connection that does nothing else."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        """Whether it could be had. Raises `SQLAlchemyError` or `OSError`: the database is away."""
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
        """Whether the connection that holds it is there; one that is not is given up."""
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


async def _watch(lock: _AdvisoryLock, lost: asyncio.Event) -> None:
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
