"""Breakout groups: a room divided, so that each group sees and hears only itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    Who leaves keeps its place by its identity, as long as the groups are there. `groups` and `places` are
    those of a room that was open when the server ended.
    """

    def __init__(
        self, groups: Iterable[Breakout] = (), places: Mapping[str, BreakoutId] | None = None
    ) -> None:
        self.groups = tuple(groups)
        there = {group.id for group in self.groups}
        self._places = {who: place for who, place in (places or {}).items() if place in there}

    def open(self, names: tuple[str, ...]) -> None:
        """Raises `RequestError` `bad_state` where there are some."""
        if self.groups:
            raise RequestError("bad_state", "there are breakout rooms already")
        self.groups = tuple(Breakout(BreakoutId(number), name) for number, name in enumerate(names, 1))

    def check(self, breakout: BreakoutId | None) -> None:
        """Raises `RequestError` `not_found`; None, the main room, is always there."""
        if breakout is not None and all(group.id != breakout for group in self.groups):
            raise RequestError("not_found", "no such breakout room")

    def left(self, identity: str, breakout: BreakoutId | None, *, keep: bool) -> tuple[str, ...]:
        """Somebody has left the room who was there; None is the main room. `keep` false: to begin anew.

        Returns whose places are forgotten by that.
        """
        if breakout is None:
            return ()
        if not keep:
            return (identity,)
        oldest = tuple(self._places)[: max(0, len(self._places) + 1 - MAX_PLACES)]
        for each in oldest:
            del self._places[each]
        self._places[identity] = breakout
        return oldest

    def entered(self, identity: str) -> BreakoutId | None:
        """Where somebody who comes belongs."""
        return self._places.pop(identity, None)

    def close(self) -> None:
        self.groups = ()
        self._places.clear()
