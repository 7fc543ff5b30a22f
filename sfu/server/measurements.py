"""Telemetry on its way to the store: what cannot be kept is counted, and shown all the same."""

from __future__ import annotations

import logging

from sfu.errors import RequestError
from sfu.room.effects import SamplesToStore
from sfu.store import samples
from sfu.store.samples import StoredSample
from sfu.store.store import Store

log = logging.getLogger(__name__)


class Measurements:
    """`lost` counts samples that the store had no place for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lost = 0

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

        try:
            self._store.writes.submit(samples.added(stored), ended)
        except RequestError:
            self._lose(len(stored))

    def _lose(self, count: int) -> None:
        if not self.lost:
            log.warning("telemetry is not stored: counted from now on, not logged")
        self.lost += count
