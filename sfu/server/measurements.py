"""Telemetry on its way to the store: what cannot be kept is counted, and shown all the same."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from sfu.errors import RequestError
from sfu.ids import RoomName
from sfu.room.effects import SamplesToStore
from sfu.store import samples
from sfu.store.samples import StoredSample
from sfu.store.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 100
"""A room's samples are counted again when it may have a hundredth more than it may have."""


class Measurements:
    """`lost` counts samples that the store had no place for. `most` are kept of each room, 0 is no limit."""

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self._since: Counter[RoomName] = Counter()
        self._pruning: dict[RoomName, asyncio.Task[None]] = {}
        self.lost = 0

    def close(self) -> None:
        for task in self._pruning.values():
            task.cancel()

    def keep(self, effect: SamplesToStore) -> None:
        """Queue samples. Nobody waits for them: the next ones come soon."""
        stored = [
            StoredSample(
                room=effect.room,
                identity=effect.identity,
                series=each.series,
                unit=effect.units[each.series],
                at_ms=each.at_ms,
                value=each.value,
            )
            for each in effect.samples
        ]

        def ended(error: RequestError | None) -> None:
            if error is not None:
                self._lose(len(stored))
            elif self._most:
                self._count(effect.room, len(stored))

        try:
            self._store.writes.submit(samples.added(stored), ended)
        except RequestError:
            self._lose(len(stored))

    def _lose(self, count: int) -> None:
        if not self.lost:
            log.warning("telemetry is not stored: counted from now on, not logged")
        self.lost += count

    def _count(self, room: RoomName, stored: int) -> None:
        """The room has as many more at most: some may have been there."""
        self._since[room] += stored
        if self._since[room] > self._most // LOOK_EVERY and room not in self._pruning:
            del self._since[room]
            self._pruning[room] = asyncio.create_task(self._prune(room))

    async def _prune(self, room: RoomName) -> None:
        try:
            if gone := await samples.prune(self._store, room, self._most):
                log.warning("%d old samples are deleted: too many", gone, extra={"room": room})
        except RequestError:
            pass  # Logged by the store; the next count comes soon.
        finally:
            del self._pruning[room]
