"""A fault of the media plane's own, seen from outside: one room is closed, and can be joined anew."""

from __future__ import annotations

import pytest
from signalling import clients

from sfu.ids import RoomName, TransportKey
from sfu.media.plane import PlaneFault


async def test_a_fault_of_the_plane_closes_its_room_only(caplog: pytest.LogCaptureFixture) -> None:
    async with clients() as those:
        ann, ben = await those.join(), await those.join(name="Ben")
        eve = await those.join(room="elsewhere")
        conference = those.server._conference
        rooms = conference.media._rooms
        number = rooms.enter(TransportKey(1_000_001), RoomName("r"))
        rooms.enter(TransportKey(1_000_002), RoomName("elsewhere"))
        conference.notices.take([PlaneFault(number)])
        for member in (ann, ben):
            closed, ws_code = await member.ended()
            assert (closed["code"], closed["reconnect"], ws_code) == ("internal", True, 1011)
        assert (await eve.request("ping"))["type"] == "pong"
        again = await those.join()
        assert (await again.request("ping"))["type"] == "pong"
        assert rooms.enter(TransportKey(1_000_003), RoomName("r")) != number
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert vars(record)["room"] == "r"
