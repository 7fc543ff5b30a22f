"""Group commit: many small writes, one transaction, each told after it is durable.

A commit waits for the disk, so one for each message would allow some hundred a second. What comes while
one commit is under way goes into the next, and the busier the server, the larger its batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sfu.errors import RequestError

log = logging.getLogger(__name__)
T = TypeVar("T")

Step = tuple[Executable, Mapping[str, Any]]
"""A statement, kept by its module so that it is compiled once, and its values."""
Done = Callable[[RequestError | None], None]
Work = Callable[[AsyncConnection], Awaitable[T]]
"""What is done in a transaction of its own."""

MAX_WAITING = 10_000
"""Writes that may wait: some seconds of a busy server. Then senders are refused until it has drained."""
MAX_BATCH = 1_000
"""Writes in one transaction: bounds how long the first of them waits."""
RETRIES_S = (0.2, 1.0, 3.0)
"""Pauses before trying again while the database is away (it restarts); then the writes have failed."""


@dataclass(slots=True)
class _Write:
    steps: tuple[Step, ...]
    done: Done | None


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """What goes wrong with the database is logged, and refuses one request: it ends no call."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        log.exception("the database has failed")
        raise storage_failed() from error


def storage_failed() -> RequestError:
    """The refusal for what could not be read or written."""
    return RequestError("storage_failed", "the server could not read or store this")


class Writes:
    """Writes are committed in the order they were submitted, and told of in that order.

    Once `lost` is set the database is another's: everything fails with `storage_failed`.
    """

    def __init__(
        self, engine: AsyncEngine, max_waiting: int = MAX_WAITING, lost: asyncio.Event | None = None
    ) -> None:
        self._engine = engine
        self._max_waiting = max_waiting
        self._waiting: deque[_Write] = deque()
        self._under_way = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._lost = lost or asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Writes that are not durable yet."""
        return len(self._waiting) + self._under_way

    def submit(self, steps: Iterable[Step], done: Done | None = None) -> None:
        """Queue one write. `done` is called once, with None after its commit, else with `storage_failed`.

        The steps of a write are committed together or not at all; one write's failure harms no other.
        Raises `RequestError` `overloaded` where too many wait, and then nothing is queued.
        """
        self.check()
        self._waiting.append(_Write(tuple(steps), done))
        self._wake.set()

    def check(self) -> None:
        """Raises `RequestError` `overloaded` where `submit` would just now."""
        if self._closing or self.waiting >= self._max_waiting:
            raise RequestError("overloaded", "the server cannot store more just now: try again")

    async def durable(self, steps: Iterable[Step]) -> None:
        """Submit one write and wait for it. Raises `RequestError` `overloaded` or `storage_failed`."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: RequestError | None) -> None:
            if stored.done():
                return
            if error is None:
                stored.set_result(None)
            else:
                stored.set_exception(error)

        self.submit(steps, done)
        await stored

    async def flush(self) -> None:
        """Wait until everything submitted so far is durable, or has failed."""
        if not self.waiting:
            return
        reached = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write((), lambda _: None if reached.done() else reached.set_result(None)))
        self._wake.set()
        await reached

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own: all or nothing. Raises `RequestError` `storage_failed`."""
        with failures():
            async with self._engine.begin() as connection:
                result = await work(connection)
                self._check_allowed()
                return result

    def _check_allowed(self) -> None:
        """Last before a commit. Raises `RequestError` `storage_failed`."""
        if self._lost.is_set():
            raise storage_failed()

    async def close(self) -> None:
        """Commit what waits, and end."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            self._under_way = len(batch)
            await self._commit(batch)
            self._under_way = 0

    async def _commit(self, batch: list[_Write]) -> None:
        error = await self._try(batch)
        if error is None or len(batch) == 1:
            for write in batch:
                _tell(write, error)
            return
        # One of them is at fault: alone, only that one fails.
        for write in batch:
            _tell(write, await self._try([write]))

    async def _try(self, batch: list[_Write]) -> Exception | None:
        for pause_s in (*RETRIES_S, None):
            try:
                async with self._engine.begin() as connection:
                    await _execute(connection, batch)
                    self._check_allowed()
                return None
            except RequestError as error:
                return error
            except (SQLAlchemyError, OSError) as error:
                away = isinstance(error, OSError) or (
                    isinstance(error, DBAPIError) and error.connection_invalidated
                )
                if not away or pause_s is None:
                    log.error("a write failed: %s", type(error).__name__)
                    return error
                log.warning("the database is away: %s", type(error).__name__)
                await asyncio.sleep(pause_s)
        raise AssertionError("the last pause is None")


async def _execute(connection: AsyncConnection, batch: list[_Write]) -> None:
    """Neighbours of the same statement go to the driver in one call."""
    statement: Executable | None = None
    values: list[Mapping[str, Any]] = []
    for step, row in (step for write in batch for step in write.steps):
        if step is not statement and statement is not None:
            await connection.execute(statement, values)
            values = []
        statement = step
        values.append(row)
    if statement is not None:
        await connection.execute(statement, values)


def _tell(write: _Write, error: Exception | None) -> None:
    if write.done is not None:
        try:
            write.done(None if error is None else storage_failed())
        except Exception:
            log.exception("what follows a write failed")
