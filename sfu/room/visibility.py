"""What anybody may learn of a hidden participant: nothing at all, without the right `see_hidden`.

This is the one place that says so. To everybody else a room is what it would be without its hidden people:
they are no target of a request, have no place in a count or a limit, and keep nothing alive. Whatever a
participant asks or is told about others goes through one of these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.model import Participant
from sfu.room.permissions import Grants


def sees(grants: Grants, other: Participant, viewer: ParticipantId | None = None) -> bool:
    """Whether `viewer`, with these rights, may know of a participant. Everybody knows of itself."""
    return tells(grants, hidden=other.grants.hidden) or other.id == viewer


def tells(grants: Grants, *, hidden: bool) -> bool:
    """Whether somebody with these rights may learn of one who is, or was, `hidden`."""
    return grants.see_hidden or not hidden


def known_to(viewer: Participant, people: Iterable[Participant]) -> list[Participant]:
    """Those of `people` that the viewer may know of."""
    return [each for each in people if sees(viewer.grants, each, viewer.id)]


def known_to_all(people: Iterable[Participant]) -> list[Participant]:
    """Those of `people` that everybody may know of: what is counted, limited or told to all is about them."""
    return [each for each in people if not each.grants.hidden]


def found(
    viewer: Participant, people: Mapping[ParticipantId, Participant], target: ParticipantId
) -> Participant:
    """The participant of that id. Raises `RequestError` `not_found`, where the viewer may not know it too."""
    one = people.get(target)
    if one is None or not sees(viewer.grants, one, viewer.id):
        raise RequestError("not_found", f"no participant {target}")
    return one


def beside(people: Iterable[Participant], *, hidden: bool) -> list[Participant]:
    """Those with whom a newcomer shares the places of a room: hidden people have places of their own."""
    return [each for each in people if each.grants.hidden == hidden]
