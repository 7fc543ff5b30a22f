"""Breakout groups: a room divided, so that each group sees and hears only itself."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.errors import RequestError
from sfu.room.model import BreakoutId

MAX_BREAKOUTS = 50


@dataclass(frozen=True, slots=True)
class Breakout:
    id: BreakoutId
    name: str


class Breakouts:
    """The list of groups; who is in which one is each participant's `breakout`."""

    def __init__(self) -> None:
        self.groups: tuple[Breakout, ...] = ()

    def open(self, names: tuple[str, ...]) -> None:
        """Raises `RequestError` `bad_state` where there are some."""
        if self.groups:
            raise RequestError("bad_state", "there are breakout rooms already")
        self.groups = tuple(Breakout(BreakoutId(number), name) for number, name in enumerate(names, 1))

    def check(self, breakout: BreakoutId | None) -> None:
        """Raises `RequestError` `not_found`; None, the main room, is always there."""
        if breakout is not None and all(group.id != breakout for group in self.groups):
            raise RequestError("not_found", "no such breakout room")

    def close(self) -> None:
        self.groups = ()
