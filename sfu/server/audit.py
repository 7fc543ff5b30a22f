"""The audit log: who changed what for others."""

from __future__ import annotations

import contextlib

from sfu.errors import RequestError
from sfu.server.events import RoomEvent
from sfu.server.quotas import ROW_BYTES, Quotas
from sfu.store import people
from sfu.store.store import Store

_WHO = frozenset({"participant", "identity", "name", "role", "act"})


class Audit:
    """Writes down what moderators and administrators do, who records, and alarms.

    Acts have been paid for by those who do them; alarms, which a device may raise and end all day, are paid
    for by their room. `lost` counts those that it had no share left for.
    """

    def __init__(self, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas
        self.lost = 0

    def listen(self, event: RoomEvent) -> None:
        """A listener of `Events`. What cannot be stored now is lost to the log, and stops nobody."""
        if event.type == "alarm" and not self._quotas.take_of_room(event.room, ROW_BYTES):
            self.lost += 1
        elif event.type in {"moderated", "recording", "alarm"}:
            detail = {name: value for name, value in event.data.items() if name not in _WHO}
            action = event.data.get("act", event.type)
            steps = people.recorded(event.at_ms, event.room, event.data["identity"], action, detail)
            with contextlib.suppress(RequestError):
                self._store.writes.submit(steps)
