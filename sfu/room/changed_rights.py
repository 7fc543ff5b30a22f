"""What moderators changed of rights: it holds for as long as the room does, whoever goes and comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from sfu.room.permissions import GrantChanges, Grants, Role

MAX_CHANGED = 5000
"""Identities remembered; the one that was changed longest ago is forgotten first."""


class ChangedRights:
    """By identity: the role that somebody was given (None: none), and what differs from its rights since."""

    def __init__(self, roles: Mapping[Role, Grants]) -> None:
        self._roles = roles
        self._changed: OrderedDict[str, tuple[Role | None, GrantChanges]] = OrderedDict()

    def set_role(self, identity: str, role: Role) -> None:
        self._remember(identity, role, GrantChanges())

    def set_grants(self, identity: str, changes: GrantChanges) -> None:
        role, before = self._changed.get(identity, (None, GrantChanges()))
        self._remember(identity, role, before.then(changes))

    def applied(self, identity: str | None, role: Role, grants: Grants) -> tuple[Role, Grants]:
        """What is left of, or has come to, what somebody brings."""
        given, changes = self._changed.get(identity or "", (None, GrantChanges()))
        if given is not None:
            role, grants = given, self.of_role(given, grants)
        return role, changes.applied(grants)

    def of_role(self, role: Role, before: Grants) -> Grants:
        """The rights of a role, for somebody who is here already: whether it may be, and is seen, stays."""
        return GrantChanges(join=before.join, hidden=before.hidden).applied(self._roles[role])

    def _remember(self, identity: str, role: Role | None, changes: GrantChanges) -> None:
        self._changed[identity] = (role, changes)
        self._changed.move_to_end(identity)
        if len(self._changed) > MAX_CHANGED:
            self._changed.popitem(last=False)
