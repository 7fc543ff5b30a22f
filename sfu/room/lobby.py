"""Who waits to be let in."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.errors import RequestError
from sfu.room.commands import Join
from sfu.room.model import SessionKey


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who has asked to come in, and how."""

    id: str
    join: Join
    since_ms: int


@dataclass(frozen=True, slots=True)
class WaitingView:
    """What those who decide see."""

    id: str
    identity: str
    name: str
    since_ms: int


class Lobby:
    """In the order of coming. `on` says whether there is one now; those who wait stay when it ends."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        self._waiting[waiting.id] = waiting

    def take(self, waiting: str) -> Waiting:
        """Raises `RequestError` `not_found`."""
        found = self._waiting.pop(waiting, None)
        if found is None:
            raise RequestError("not_found", "nobody of that id waits")
        return found

    def ids(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    def of_session(self, session: SessionKey) -> str | None:
        return next((each.id for each in self._waiting.values() if each.join.session == session), None)

    def of_identity(self, identity: str | None) -> str | None:
        """None for who has no identity yet."""
        waiting = self._waiting.values()
        return next((w.id for w in waiting if identity is not None and w.join.identity == identity), None)

    def views(self) -> tuple[WaitingView, ...]:
        return tuple(
            WaitingView(each.id, each.join.identity or "", each.join.name, each.since_ms)
            for each in self._waiting.values()
        )
