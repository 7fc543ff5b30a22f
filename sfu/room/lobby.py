"""Who waits to be let in."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.errors import RequestError
from sfu.room import visibility
from sfu.room.commands import Join
from sfu.room.model import SessionKey
from sfu.room.permissions import Grants


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who has asked to come in, and how; `hidden` as it will be in the room."""

    id: str
    join: Join
    since_ms: int
    hidden: bool = False


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

    def count(self, *, hidden: bool) -> int:
        """How many wait who will be hidden, or who will not."""
        return sum(each.hidden == hidden for each in self._waiting.values())

    def take(self, waiting: str) -> Waiting:
        """Raises `RequestError` `not_found`."""
        found = self.find(waiting)
        del self._waiting[waiting]
        return found

    def find(self, waiting: str, grants: Grants | None = None) -> Waiting:
        """Raises `RequestError` `not_found`, also where somebody with these `grants` may not know of it."""
        found = self._waiting.get(waiting)
        if found is None or (grants is not None and found not in self._seen(grants)):
            raise RequestError("not_found", "nobody of that id waits")
        return found

    def ids(self, grants: Grants) -> tuple[str, ...]:
        """Those whom somebody with these rights may know of."""
        return tuple(each.id for each in self._seen(grants))

    def everybody(self) -> tuple[str, ...]:
        return tuple(self._waiting)

    def adopt(self, older: Lobby) -> None:
        """Take over those who wait for a room that begins anew."""
        self._waiting |= older._waiting

    def of_session(self, session: SessionKey) -> str | None:
        return next((each.id for each in self._waiting.values() if each.join.session == session), None)

    def of_identity(self, identity: str | None) -> str | None:
        """None for who has no identity yet."""
        waiting = self._waiting.values()
        return next((w.id for w in waiting if identity is not None and w.join.identity == identity), None)

    def views(self, grants: Grants) -> tuple[WaitingView, ...]:
        """As somebody with these rights sees it."""
        return tuple(
            WaitingView(each.id, each.join.identity or "", each.join.name, each.since_ms)
            for each in self._seen(grants)
        )

    def _seen(self, grants: Grants) -> list[Waiting]:
        return [each for each in self._waiting.values() if visibility.tells(grants, hidden=each.hidden)]
