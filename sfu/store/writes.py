"""Group commit: many small writes, one transaction, each told after it is durable.

A commit waits for the disk, so one for each message would allow some hundred a second. What comes while
one commit is under way goes into the next, and the busier the server, the larger its batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sfu.errors import RequestError
from sfu.store.faults import away_reason, is_away, is_whole

log = logging.getLogger(__name__)
T = TypeVar("T")

Step = tuple[Executable, Mapping[str, Any]]
"""A statement, kept by its module so that it is compiled once, and its values."""
Done = Callable[[RequestError | None], None]
Work = Callable[[AsyncConnection], Awaitable[T]]
"""What is done in a transaction of its own."""

TOLD_AT_ONCE = 10
"""Writes of which it is told that they are durable, before others have their turn of the event loop."""
MAX_WAITING = 10_000
"""Writes that may wait: some seconds of a busy server. Then senders are refused until it has drained."""
MAX_BATCH = 1_000
"""Writes in one transaction: bounds how long the first of them waits."""
AWAY_S = 15.0
"""How long a database may be away (it restarts, or another program holds it); then the writes have failed."""
RETRY_S = (0.2, 1.0, 3.0)
"""Pauses before trying again while it is away; the last one again and again."""
LAST_S = 2.0
"""How long one that is away is waited for when the server stops: less than what stops servers waits."""


@dataclass(slots=True)
class _Write:
    steps: tuple[Step, ...]
    done: Done | None
    room: str = ""


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
        self._of_rooms: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._closing = False
        self._hurry = asyncio.Event()
        self._until_s = math.inf
        self._away: Exception | None = None
        self._lost = lost or asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Writes that are not durable yet."""
        return len(self._waiting) + self._under_way

    def submit(self, steps: Iterable[Step], done: Done | None = None, *, room: str = "") -> None:
        """Queue one write. `done` is called once, with None after its commit, else with `storage_failed`.

        `room` is the one that opens with what is written here: its opening waits for the write (`flush`).
        The steps of a write are committed together or not at all; one write's failure harms no other.
        Raises `RequestError` `overloaded` where too many wait, and then nothing is queued.
        """
        self.check()
        self._waiting.append(_Write(tuple(steps), done, room))
        if room:
            self._of_rooms[room] += 1
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

    async def flush(self, room: str | None = None) -> None:
        """Wait until everything submitted so far is durable, or has failed.

        With `room` it is enough that this holds of what was submitted for that room: whoever opens a room
        does not wait for all that others store.
        """
        if not self.waiting or (room is not None and room not in self._of_rooms):
            return
        reached = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write((), lambda _: None if reached.done() else reached.set_result(None)))
        self._wake.set()
        await reached

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own: all or nothing. Raises `RequestError` `storage_failed`."""

        begun = False

        async def once() -> T:
            nonlocal begun
            async with self._engine.begin() as connection:
                begun = True
                result = await work(connection)
                self._check_allowed()
                return result

        with failures():
            # What has begun may have done something that is not to be done twice.
            return await self._patiently(once, lambda: not begun)

    def _check_allowed(self) -> None:
        """Last before a commit. Raises `RequestError` `storage_failed`."""
        if self._lost.is_set():
            raise storage_failed()

    def hurry(self) -> None:
        """The server stops: what a database that is away does not take within `LAST_S` from now on fails."""
        if not self._hurry.is_set():
            self._until_s = asyncio.get_running_loop().time() + LAST_S
            self._hurry.set()

    async def close(self) -> None:
        """Commit what waits, and end."""
        self.hurry()
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
        if error is None or len(batch) == 1 or is_whole(error):
            for count, write in enumerate(batch):
                if count % TOLD_AT_ONCE == TOLD_AT_ONCE - 1:
                    await asyncio.sleep(0)
                self._tell(write, error)
            return
        # One of them is at fault: alone, only that one fails.
        for write in batch:
            self._tell(write, await self._try([write]))

    def _tell(self, write: _Write, error: Exception | None) -> None:
        if write.room:
            self._of_rooms[write.room] -= 1
            if not self._of_rooms[write.room]:
                del self._of_rooms[write.room]
        if write.done is not None:
            try:
                write.done(None if error is None else storage_failed())
            except Exception:
                log.exception("what follows a write failed")

    async def _try(self, batch: list[_Write]) -> Exception | None:
        async def once() -> None:
            async with self._engine.begin() as connection:
                await _execute(connection, batch)
                self._check_allowed()

        try:
            await self._patiently(once)
        except RequestError as error:
            return error
        except (SQLAlchemyError, OSError) as error:
            log.error("%d writes failed: %s", len(batch), type(error).__name__)
            return error
        return None

    async def _patiently(
        self, once: Callable[[], Awaitable[T]], may_repeat: Callable[[], bool] = lambda: True
    ) -> T:
        """Do `once`, and again while the database is away. Raises what it raises in the end."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + AWAY_S
        pauses_s = itertools.chain(RETRY_S, itertools.repeat(RETRY_S[-1]))
        while True:
            if self._away is not None and loop.time() >= self._until_s:
                raise self._away
            try:
                result = await once()
            except (SQLAlchemyError, OSError) as error:
                self._note(error)
                if self._away is None or not may_repeat() or loop.time() >= min(give_up_s, self._until_s):
                    raise
            else:
                self._note(None)
                return result
            await self._pause(next(pauses_s))

    def _note(self, error: Exception | None) -> None:
        """Keep in mind whether the database is away, and say when that changes."""
        away = error if error is not None and is_away(error) else None
        if away is not None and self._away is None:
            log.warning("the database is away: %s", away_reason(away))
        elif away is None and self._away is not None:
            log.warning("the database is back")
        self._away = away

    async def _pause(self, pause_s: float) -> None:
        """Sleep; who stops the server does not wait for the end of a pause."""
        left_s = self._until_s - asyncio.get_running_loop().time()
        if self._hurry.is_set():
            await asyncio.sleep(max(0.0, min(pause_s, left_s)))
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), pause_s)


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
