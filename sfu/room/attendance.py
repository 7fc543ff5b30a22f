"""Who was there, from when to when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from sfu.ids import ParticipantId
from sfu.room.model import LeaveReason
from sfu.room.permissions import Role

MAX_VISITS = 5000
"""Ended visits that one room remembers; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """`left_at_ms` and `reason` are None while it lasts."""

    identity: str
    name: str
    role: Role
    joined_at_ms: int
    left_at_ms: int | None = None
    reason: LeaveReason | None = None


class Attendance:
    """Hidden participants are never written down here: the report is for those who may not see them."""

    def __init__(self) -> None:
        self._present: dict[ParticipantId, Visit] = {}
        self._ended: deque[Visit] = deque(maxlen=MAX_VISITS)

    def joined(self, participant: ParticipantId, visit: Visit) -> None:
        self._present[participant] = visit

    def changed(self, participant: ParticipantId, role: Role) -> None:
        if visit := self._present.get(participant):
            self._present[participant] = replace(visit, role=role)

    def left(self, participant: ParticipantId, now_ms: int, reason: LeaveReason) -> None:
        if visit := self._present.pop(participant, None):
            self._ended.append(replace(visit, left_at_ms=now_ms, reason=reason))

    def visits(self) -> tuple[Visit, ...]:
        """In the order of coming."""
        return tuple(sorted((*self._ended, *self._present.values()), key=lambda visit: visit.joined_at_ms))
