"""Breakout groups: a room divided, so that each group sees and hears only itself."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.errors import RequestError
from sfu.room.model import BreakoutId

MAX_BREAKOUTS = 50
MAX_PLACES = 1000
"""Kept for those who have left; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Breakout:
    id: BreakoutId
    name: str


class Breakouts:
    """The list of groups; who is in which one is each participant's `breakout`.

    Who leaves keeps its place by its identity, as long as the groups are there.
    """

    def __init__(self) -> None:
        self.groups: tuple[Breakout, ...] = ()
        self._places: dict[str, BreakoutId] = {}

    def open(self, names: tuple[str, ...]) -> None:
        """Raises `RequestError` `bad_state` where there are some."""
        if self.groups:
            raise RequestError("bad_state", "there are breakout rooms already")
        self.groups = tuple(Breakout(BreakoutId(number), name) for number, name in enumerate(names, 1))

    def check(self, breakout: BreakoutId | None) -> None:
        """Raises `RequestError` `not_found`; None, the main room, is always there."""
        if breakout is not None and all(group.id != breakout for group in self.groups):
            raise RequestError("not_found", "no such breakout room")

    def left(self, identity: str, breakout: BreakoutId | None) -> None:
        """Somebody has left the room who was there; None is the main room."""
        self._places.pop(identity, None)
        if breakout is None:
            return
        if len(self._places) >= MAX_PLACES:
            del self._places[next(iter(self._places))]
        self._places[identity] = breakout

    def entered(self, identity: str) -> BreakoutId | None:
        """Where somebody who comes belongs."""
        return self._places.pop(identity, None)

    def close(self) -> None:
        self.groups = ()
        self._places.clear()
