"""Who was in which room, from when to when and why they left, written as it happens."""

from __future__ import annotations

import logging

from sfu import clock
from sfu.errors import RequestError
from sfu.room.model import LeaveReason, ParticipantView
from sfu.server.events import RoomEvent
from sfu.store import people
from sfu.store.store import Store
from sfu.store.writes import Step

log = logging.getLogger(__name__)


class Attendance:
    """A participant's membership is one session of the table; resuming continues it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._present: set[str] = set()

    def joined(self, participant: ParticipantView, room: str) -> None:
        if participant.id not in self._present:
            self._present.add(participant.id)
            steps = people.joined(
                participant.id,
                room,
                participant.identity,
                participant.name,
                participant.joined_at_ms,
                hidden=participant.grants.hidden,
            )
            self._write(steps, room)

    def left(self, participant: str, reason: LeaveReason) -> None:
        if participant in self._present:
            self._present.discard(participant)
            self._write(people.left(participant, reason, clock.wall_ms()))

    def listen(self, event: RoomEvent) -> None:
        """A listener of `Events`: a recording that a killed server leaves open is ended at the next start."""
        if event.type == "recording" and event.data["participant"] in self._present:
            self._write(people.recording(event.data["participant"], on=event.data["on"]))

    def close(self) -> None:
        """The server stops: everybody's session ends."""
        for participant in list(self._present):
            self.left(participant, "shutdown")

    def _write(self, steps: list[Step], room: str = "") -> None:
        try:
            self._store.writes.submit(steps, room=room)
        except RequestError:
            # Calls go on without a disk that keeps up.
            log.warning("a session could not be recorded: too many writes wait")
