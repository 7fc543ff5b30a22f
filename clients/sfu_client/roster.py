"""The view of the room's members, kept true by the server's messages. No I/O."""

from __future__ import annotations

from typing import Any

from sfu_client.events import (
    Event,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PublicationAdded,
    PublicationRemoved,
    PublicationUpdated,
)
from sfu_client.model import Participant, Publication


class Roster:
    """Participants other than oneself, by id. Each method returns what changed, in order."""

    def __init__(self) -> None:
        self.participants: dict[str, Participant] = {}

    def find(self, publication_id: str) -> tuple[Participant, Publication] | None:
        """The publication and whose it is."""
        for participant in self.participants.values():
            if publication := participant.publications.get(publication_id):
                return participant, publication
        return None

    def replace(self, snapshot: list[dict[str, Any]]) -> list[Event]:
        """Make the view equal to `snapshot` (the `participants` of `joined`)."""
        changes: list[Event] = []
        present = {str(item["id"]) for item in snapshot}
        for gone in [key for key in self.participants if key not in present]:
            changes += self.leave(gone, "left")
        for item in snapshot:
            known = self.participants.get(str(item["id"]))
            changes += self.join(item) if known is None else self._catch_up(known, item)
        return changes

    def join(self, message: dict[str, Any]) -> list[Event]:
        """A `participant_joined`."""
        participant = Participant.parse(message)
        if participant.id in self.participants:
            return self._catch_up(self.participants[participant.id], message)
        self.participants[participant.id] = participant
        added = [PublicationAdded(participant, item) for item in participant.publications.values()]
        return [ParticipantJoined(participant), *added]

    def update(self, message: dict[str, Any]) -> list[Event]:
        """A `participant_updated`."""
        participant = self.participants.get(str(message["id"]))
        if participant is None:
            return []
        participant.update(message)
        return [ParticipantUpdated(participant)]

    def leave(self, participant_id: str, reason: str) -> list[Event]:
        """A `participant_left`."""
        participant = self.participants.pop(participant_id, None)
        if participant is None:
            return []
        removed = [PublicationRemoved(participant, item) for item in participant.publications.values()]
        return [*removed, ParticipantLeft(participant, reason)]

    def publish(self, message: dict[str, Any]) -> list[Event]:
        """A `publication_added` or `publication_updated`."""
        participant = self.participants.get(str(message["participant"]))
        if participant is None:
            return []
        known = participant.publications.get(str(message["id"]))
        if known is not None:
            known.update(message)
            return [PublicationUpdated(participant, known)]
        publication = Publication.parse(message)
        participant.publications[publication.id] = publication
        return [PublicationAdded(participant, publication)]

    def unpublish(self, publication_id: str) -> list[Event]:
        """A `publication_removed`."""
        found = self.find(publication_id)
        if found is None:
            return []
        participant, publication = found
        del participant.publications[publication_id]
        return [PublicationRemoved(participant, publication)]

    def _catch_up(self, participant: Participant, message: dict[str, Any]) -> list[Event]:
        changes = self.update(message)
        listed = list(message.get("publications") or ())
        present = {str(item["id"]) for item in listed}
        for gone in [key for key in participant.publications if key not in present]:
            changes += self.unpublish(gone)
        for item in listed:
            changes += self.publish(item)
        return changes
