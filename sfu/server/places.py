"""Numbers of rooms for the media plane, which places and fails transports by them."""

from __future__ import annotations

import itertools
from collections import Counter

from sfu.ids import RoomName, TransportKey


class RoomNumbers:
    """A room has a number while it has transports, and another one after it has failed."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._current: dict[RoomName, int] = {}
        self._placed: dict[TransportKey, tuple[RoomName, int]] = {}
        self._counts: Counter[int] = Counter()

    def enter(self, transport: TransportKey, room: RoomName) -> int:
        """A transport of a room: the room's number."""
        number = self._current.get(room)
        if number is None:
            number = self._current[room] = next(self._numbers)
        self._placed[transport] = room, number
        self._counts[number] += 1
        return number

    def number_of(self, transport: TransportKey) -> int:
        """The number of the room that a transport is in."""
        return self._placed[transport][1]

    def leave(self, transport: TransportKey) -> None:
        """A transport has closed."""
        room, number = self._placed.pop(transport)
        self._counts[number] -= 1
        if not self._counts[number]:
            del self._counts[number]
            if self._current.get(room) == number:
                del self._current[room]

    def fail(self, number: int) -> RoomName | None:
        """What is left in the room with that number has failed, what enters from now on is apart from it.

        Returns the room's name, None where nothing of it is left.
        """
        room = next((room for room, other in self._placed.values() if other == number), None)
        if room is not None and self._current.get(room) == number:
            del self._current[room]
        return room
