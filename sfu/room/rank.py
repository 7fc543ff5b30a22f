"""Who may act upon whom. This is the one place that says so: upon an owner only an owner.

It counts for whatever is done to a person (role, rights, muting, removing, moving, turning away) and to what
is a person's own (messages, files, strokes), inside the room and from outside. What is the room's own (its
settings, breakout rooms, polls, questions, the whiteboard as a whole, the spotlight) is for everybody who
moderates.
"""

from __future__ import annotations

from collections.abc import Mapping

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room import visibility
from sfu.room.model import Participant
from sfu.room.permissions import Role


def reaches(by: Role, other: Role) -> bool:
    """Whether one of role `by` may act upon one of role `other`."""
    return by == "owner" or other != "owner"


def check(by: Role, other: Role) -> None:
    """Raises `RequestError` `not_allowed` where `by` does not reach `other`."""
    if not reaches(by, other):
        raise RequestError("not_allowed", "only an owner may do this to an owner")


def target(
    by: Participant, people: Mapping[ParticipantId, Participant], wanted: ParticipantId
) -> Participant:
    """The participant of that id, to be acted upon. Raises `RequestError` `not_found`, `not_allowed`."""
    found = visibility.found(by, people, wanted)
    if found is not by:
        check(by.role, found.role)
    return found


def check_author(role: Role, identity: str, author: str, owners: Mapping[str, bool]) -> None:
    """The same for what an author made, who may be gone; `owners` are `Room.owners`."""
    if author != identity:
        check(role, "owner" if owners.get(author) else "participant")
