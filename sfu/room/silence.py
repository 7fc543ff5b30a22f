"""A lasting silence: students have no sound until somebody gives it to one of them, or to all again."""

from __future__ import annotations

from sfu.ids import ParticipantId
from sfu.room.permissions import Grants, Role, Source

SOUND: tuple[Source, ...] = ("microphone", "screen_audio")
"""Sources that are always heard. Sound of the source `other` needs the right to a microphone."""


class Silence:
    """Whether there is one, and which sources it has taken from whom."""

    def __init__(self) -> None:
        self.on = False
        self.taken: dict[ParticipantId, tuple[Source, ...]] = {}

    def applied(self, participant: ParticipantId, role: Role, grants: Grants) -> Grants:
        """The rights of one who would have `grants` otherwise."""
        if not self.on or not _silences(role, grants):
            return grants
        if taken := tuple(source for source in SOUND if grants.may_publish(source, "audio")):
            self.taken[participant] = taken
        for source in taken:
            grants = grants.without(source)
        return grants


def _silences(role: Role, grants: Grants) -> bool:
    """Who falls silent: neither who moderates nor presenters nor devices."""
    return role == "participant" and not grants.moderate
