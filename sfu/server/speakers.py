"""Who speaks, told where it is heard: in a room, or in one of its breakout rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sfu.ids import ParticipantId, RoomName
from sfu.room.model import BreakoutId
from sfu.server.wire import Json

Place = tuple[RoomName, BreakoutId | None]


class SpeakerLists:
    """Keeps what each place was told last, and tells it again only where that has changed."""

    def __init__(self, tell: Callable[[Place, Json], None]) -> None:
        self._tell = tell
        self._told: dict[Place, list[Json]] = {}

    def update(self, speakers: Iterable[tuple[Place, ParticipantId, float]]) -> None:
        """The speakers of all places, loudest first; one participant counts once, as its loudest source."""
        by_place: dict[Place, list[Json]] = {place: [] for place in self._told}
        for place, participant, level in speakers:
            heard = by_place.setdefault(place, [])
            if all(entry["participant"] != participant for entry in heard):
                heard.append({"participant": participant, "level": round(level, 3)})
        for place, heard in by_place.items():
            if self._told.get(place) != heard:
                self._tell(place, {"type": "speakers", "speakers": heard})
        self._told = {place: heard for place, heard in by_place.items() if heard}
