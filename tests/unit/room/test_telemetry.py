"""Series, samples and alarms."""

from __future__ import annotations

import pytest

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room import telemetry
from sfu.room.telemetry import Alarm, Sample, Series, Telemetry

CAM, OTHER = ParticipantId("PA_cam"), ParticipantId("PA_other")
NOW_MS = 1_800_000_000_000
PULSE = Series(name="pulse", title="Pulse", unit="1/min", low=50, high=120, hysteresis=5)


def declared() -> Telemetry:
    made = Telemetry()
    made.declare(CAM, [PULSE])
    return made


def send(made: Telemetry, *values: float) -> list[Alarm]:
    samples = [Sample("pulse", NOW_MS + number, value) for number, value in enumerate(values)]
    return made.take(CAM, samples, NOW_MS)


def test_an_alarm_is_raised_once_and_cleared_when_the_value_is_well_inside() -> None:
    made = declared()
    (raised,) = send(made, 100, 121, 125, 118)
    assert (raised.state, raised.side, raised.limit, raised.value) == ("raised", "high", 120, 121)
    assert send(made, 116) == []
    (cleared,) = send(made, 115, 119)
    assert (cleared.state, cleared.value) == ("cleared", 115)
    (low,) = send(made, 49)
    assert (low.side, low.limit) == ("low", 50)
    assert [each.state for each in send(made, 55, 130)] == ["cleared", "raised"]


def test_an_alarm_is_acknowledged_once_and_stays_until_it_clears() -> None:
    made = declared()
    with pytest.raises(RequestError, match="bad_state"):
        made.acknowledge(CAM, "pulse", NOW_MS)
    send(made, 130)
    assert made.acknowledge(CAM, "pulse", NOW_MS).state == "acknowledged"
    with pytest.raises(RequestError, match="bad_state"):
        made.acknowledge(CAM, "pulse", NOW_MS)
    assert send(made, 131) == []
    (view,) = made.views()
    assert view.alarm is not None
    assert view.alarm.state == "acknowledged"
    assert [each.state for each in send(made, 80)] == ["cleared"]
    assert made.views()[0].alarm is None


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        ([Sample("pulse", NOW_MS, 1), Sample("unknown", NOW_MS, 1)], "not_found"),
        (
            [Sample("pulse", NOW_MS, 1), Sample("pulse", NOW_MS + telemetry.MAX_AHEAD_MS + 1, 1)],
            "bad_request",
        ),
        ([Sample("pulse", NOW_MS - telemetry.MAX_BEHIND_MS - 1, 1)], "bad_request"),
    ],
)
def test_a_bad_sample_refuses_all_that_came_with_it(samples: list[Sample], code: str) -> None:
    made = declared()
    with pytest.raises(RequestError, match=code):
        made.take(CAM, samples, NOW_MS)
    assert made.views()[0].samples == ()


def test_late_joiners_get_the_last_minute() -> None:
    made = declared()
    for age_s in (90, 61, 59, 0):
        made.take(CAM, [Sample("pulse", NOW_MS - age_s * 1000, age_s)], NOW_MS)
    assert [each.value for each in made.views()[0].samples] == [59, 0]
    made.take(CAM, [Sample("pulse", NOW_MS, 70)] * (telemetry.RECENT + 5), NOW_MS)
    assert len(made.views()[0].samples) == telemetry.RECENT


def test_what_was_kept_without_connection_is_neither_the_last_minute_nor_an_alarm() -> None:
    made = declared()
    send(made, 70)
    kept = [Sample("pulse", NOW_MS - 3_600_000 + number, 200) for number in range(telemetry.RECENT)]
    assert made.take(CAM, kept, NOW_MS) == []
    assert [each.value for each in made.views()[0].samples] == [70]


def test_samples_of_the_last_minute_are_in_the_order_of_their_times() -> None:
    made = declared()
    made.take(CAM, [Sample("pulse", NOW_MS - age_ms, 60 + age_ms) for age_ms in (5, 20, 10, 0)], NOW_MS)
    assert [each.value for each in made.views()[0].samples] == [80, 70, 65, 60]


def test_series_are_limited_and_go_with_their_participant() -> None:
    made = declared()
    many = [Series(name=f"s{number}", title="", unit="") for number in range(telemetry.MAX_SERIES)]
    with pytest.raises(RequestError, match="too_large"):
        made.declare(CAM, many)
    made.declare(OTHER, many)
    made.declare(CAM, [Series(name="pulse", title="Heart", unit="bpm")])
    assert made.series(CAM, "pulse").title == "Heart"
    made.forget(OTHER)
    assert [view.participant for view in made.views()] == [CAM]


def test_thresholds_change_from_outside() -> None:
    made = declared()
    assert made.set_thresholds(CAM, "pulse", None, 90).high == 90
    assert [each.limit for each in send(made, 95)] == [90]
    with pytest.raises(RequestError, match="not_found"):
        made.set_thresholds(CAM, "unknown", None, None)
