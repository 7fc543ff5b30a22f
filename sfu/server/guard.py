"""One callback of an extension, called with limits, and what waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from sfu.config import ExtensionsConfig
from sfu.extensions import Refused
from sfu.server.fair_queue import FairQueue
from sfu.server.hook_thread import HookThread

log = logging.getLogger(__name__)
T = TypeVar("T")

WAITING = 256
"""Things that may wait for one callback; past that whoever has caused most of them loses its oldest."""


class Guard:
    """One callback: `calls`, `failures` and what was `dropped` are counted."""

    def __init__(
        self,
        call: Callable[..., Awaitable[Any]],
        thread: HookThread,
        config: ExtensionsConfig,
        *,
        may_refuse: bool = False,
    ) -> None:
        self.name = f"{getattr(call, '__module__', '?')}.{getattr(call, '__qualname__', call)}"
        self.calls = self.failures = self.dropped = 0
        self.on = True
        self._call = call
        self._thread = thread
        self._config = config
        self._may_refuse = may_refuse
        self._in_a_row = 0

    async def __call__(self, argument: object, check: Callable[[Any], None] = lambda result: None) -> Any:
        """Its result; None where it fails, and from when it is switched off. Raises `Refused` where it may.

        `check` raises where the result is none that is of use: that is a failure.
        """
        if not self.on:
            return None
        self.calls += 1
        try:
            result = await self._thread.call(self._call, argument, self._config.timeout_s)
            check(result)
        except Exception as error:
            if isinstance(error, Refused) and self._may_refuse:
                self._in_a_row = 0
                raise
            self._failed(error)
            return None
        self._in_a_row = 0
        return result

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row == 1:
            log.error("the extension %s failed", self.name, exc_info=error)
        if self.on and self._in_a_row >= self._config.max_failures:
            self.on = False
            log.error("the extension %s failed %d times in a row: switched off", self.name, self._in_a_row)


class Feed(Generic[T]):
    """What waits for one callback, oldest first."""

    def __init__(self, guard: Guard, wanted: frozenset[str]) -> None:
        self.guard = guard
        self._wanted = wanted
        self._waiting: FairQueue[T] = FairQueue(WAITING)
        self._wake = asyncio.Event()

    def put(self, kind: str, thing: T, source: Hashable, *, weighty: bool = False) -> None:
        """`source` is who has caused it; what is `weighty` gives way last."""
        if not self.guard.on or (self._wanted and kind not in self._wanted):
            return
        if self._waiting.put(thing, source, weighty=weighty) is not None:
            self.guard.dropped += 1
        self._wake.set()

    async def run(self) -> None:
        """Call for ever."""
        while True:
            while len(self._waiting):
                await self.guard(self._waiting.popleft())
            self._wake.clear()
            await self._wake.wait()
