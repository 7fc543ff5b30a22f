"""A lasting silence: students have no microphone until somebody gives it to one of them, or to all again."""

from __future__ import annotations

from sfu.ids import ParticipantId
from sfu.room.permissions import Grants, Role


class Silence:
    """Whether there is one, and whose microphone it has taken."""

    def __init__(self) -> None:
        self.on = False
        self.taken: set[ParticipantId] = set()

    def applied(self, participant: ParticipantId, role: Role, grants: Grants) -> Grants:
        """The rights of one who would have `grants` otherwise."""
        if not self.on or not silences(role, grants):
            return grants
        self.taken.add(participant)
        return grants.without("microphone")


def silences(role: Role, grants: Grants) -> bool:
    """Who falls silent: neither who moderates nor presenters nor devices."""
    return role == "participant" and not grants.moderate and grants.may_publish("microphone")
