"""Numbers of rooms for the media plane."""

from __future__ import annotations

from sfu.ids import RoomName, TransportKey
from sfu.server.places import RoomNumbers

RED, BLUE = RoomName("red"), RoomName("blue")


def test_a_room_keeps_its_number_while_it_has_transports() -> None:
    rooms = RoomNumbers()
    red = rooms.enter(TransportKey(1), RED)
    assert rooms.enter(TransportKey(2), BLUE) != red
    assert rooms.enter(TransportKey(3), RED) == red
    rooms.leave(TransportKey(1))
    assert rooms.enter(TransportKey(4), RED) == red
    rooms.leave(TransportKey(3))
    rooms.leave(TransportKey(4))
    assert rooms.enter(TransportKey(5), RED) != red


def test_who_enters_after_a_failure_is_apart_from_it() -> None:
    rooms = RoomNumbers()
    failed = rooms.enter(TransportKey(1), RED)
    rooms.enter(TransportKey(2), BLUE)
    assert rooms.fail(failed) == RED
    fresh = rooms.enter(TransportKey(3), RED)
    assert fresh != failed
    rooms.leave(TransportKey(1))
    assert rooms.enter(TransportKey(4), RED) == fresh
    assert rooms.fail(failed) is None
