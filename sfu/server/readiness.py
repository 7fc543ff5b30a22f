"""Whether the server can serve right now, and if not why: for who sends it users, or restarts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sfu import clock
from sfu.errors import RequestError
from sfu.server.media import Media
from sfu.store import probe
from sfu.store.store import Store

PROBE_S = 5.0
"""How long what was found out holds: anybody may ask, and each probe waits for the disk."""
WRITE_S = 3.0
"""How long a write may take."""
LATE_S = 2.0
"""How old the last decision of policy may be; without one no layer is chosen and no keyframe asked for."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the server is not ready. `code` is stable."""

    code: str
    message: str


class Readiness:
    """`stopping` tells whether the server is about to end."""

    def __init__(self, store: Store, media: Media, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._media = media
        self._stopping = stopping
        self._probing: asyncio.Task[list[Reason]] | None = None
        self._probed_s = 0.0

    async def reasons(self) -> list[Reason]:
        """All there are; none: it is ready."""
        found = []
        if self._stopping():
            found.append(Reason("draining", "the server stops"))
        if (late_s := self._media.policy_age_s) > LATE_S:
            found.append(Reason("policy_late", f"the last decision about media was {late_s:.1f} s ago"))
        return found + await self._probed()

    def alive(self) -> bool:
        """Whether what drives media is alive; the event loop is, or nobody would ask."""
        return self._media.policy_age_s < 10 * LATE_S

    def close(self) -> None:
        """Give up what is under way."""
        if self._probing is not None:
            self._probing.cancel()

    async def _probed(self) -> list[Reason]:
        now_s = asyncio.get_running_loop().time()
        if self._probing is None or (self._probing.done() and now_s - self._probed_s >= PROBE_S):
            self._probed_s = now_s
            self._probing = asyncio.create_task(self._probe())
        return await asyncio.shield(self._probing)

    async def _probe(self) -> list[Reason]:
        media, storage = await asyncio.gather(self._probe_media(), self._probe_storage())
        return media + storage

    async def _probe_media(self) -> list[Reason]:
        if await self._media.receives():
            return []
        return [Reason("media_port_deaf", f"nothing is received on the media port {self._media.port}")]

    async def _probe_storage(self) -> list[Reason]:
        if self._store.lost.is_set():
            return [Reason("database_lost", "another server has taken the database")]
        try:
            async with asyncio.timeout(WRITE_S):
                await self._store.writes.durable(probe.steps(clock.wall_ms()))
        except TimeoutError:
            return [Reason("storage_slow", f"a write takes longer than {WRITE_S:g} s")]
        except RequestError as error:
            return [Reason(error.code, error.message)]
        return []
