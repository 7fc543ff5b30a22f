"""What late joiners are told of what is measured: bounded, whatever a room sends."""

from __future__ import annotations

import json

from sfu.ids import ParticipantId
from sfu.room import telemetry
from sfu.room.alarms import Sample, Series
from sfu.room.model import Instant
from sfu.room.telemetry import Telemetry
from sfu.server import telemetry_wire

NOW = Instant(0, 1_800_000_000_000)


def test_a_full_room_fits_into_a_message() -> None:
    made = Telemetry()
    names = [f"series {number}" for number in range(telemetry.MAX_SERIES)]
    for number in range(telemetry.MAX_ROOM_SERIES // telemetry.MAX_SERIES):
        device = ParticipantId(f"PA_{number:012}")
        series = [Series(name=name, title="t" * 64, unit="u" * 32, low=-1e15, high=1e15) for name in names]
        made.declare(device, str(number), series, NOW)
        for name in names:
            times = range(telemetry.RECENT)
            made.take(
                device, [Sample(name, NOW.wall_ms - at * 100, -1e14 / (at + 7)) for at in times[::-1]], NOW
            )
    assert len(json.dumps(telemetry_wire.snapshot(made.views()))) < 1_000_000
