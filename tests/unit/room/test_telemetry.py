"""Series, samples and alarms."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room import telemetry
from sfu.room.alarms import Alarm, Sample, Series, Thresholds
from sfu.room.model import Instant
from sfu.room.telemetry import Telemetry

CAM, OTHER = ParticipantId("PA_cam"), ParticipantId("PA_other")
NOW_MS = 1_800_000_000_000
NOW = Instant(0, NOW_MS)
_later = itertools.count()
PULSE = Series(name="pulse", title="Pulse", unit="1/min", low=50, high=120, hysteresis=5)


def declared(
    series: Series = PULSE, thresholds: dict[tuple[str, str], Thresholds] | None = None
) -> Telemetry:
    made = Telemetry(thresholds)
    made.declare(CAM, "cam", [series], NOW)
    return made


def send(made: Telemetry, *values: float) -> list[Alarm]:
    """One after the other, whatever was sent before."""
    samples = [Sample("pulse", NOW_MS + next(_later), value) for value in values]
    return made.take(CAM, samples, NOW)


def after_s(seconds: float) -> Instant:
    return Instant(round(seconds * 1_000_000), NOW_MS + round(seconds * 1000))


def told(alarms: list[Alarm]) -> list[tuple[str, str, float | None]]:
    return [(each.state, each.side, each.value) for each in alarms]


def set_limits(made: Telemetry, low: float | None, high: float | None) -> list[Alarm]:
    return made.set_thresholds(CAM, "cam", "pulse", Thresholds(low, high), NOW)[1]


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


def test_another_side_is_another_alarm_even_where_the_first_was_acknowledged() -> None:
    made = declared()
    send(made, 30)
    made.acknowledge(CAM, "pulse", NOW_MS)
    assert told(send(made, 200)) == [("raised", "high", 200)]
    assert made.views()[0].alarm is not None


@pytest.mark.parametrize(
    ("low", "high", "hysteresis", "values", "expected"),
    [
        # The hysteresis is that of the limit which was crossed: 75 is well below 120, however near 50 it
        # is. It ends at the middle.
        (50, 120, 40, (130, 86, 85), [("raised", 130), ("cleared", 85)]),
        (50, 120, 40, (130, 60), [("raised", 130), ("cleared", 60)]),
        (
            50,
            60,
            10,
            (40, 54, 55, 70, 56, 55),
            [("raised", 40), ("cleared", 55), ("raised", 70), ("cleared", 55)],
        ),
        (None, 100, 10, (101, 91, 90), [("raised", 101), ("cleared", 90)]),
    ],
)
def test_every_alarm_can_be_cleared(
    low: float | None,
    high: float,
    hysteresis: float,
    values: tuple[float, ...],
    expected: list[tuple[str, float]],
) -> None:
    made = declared(Series(name="pulse", title="", unit="", low=low, high=high, hysteresis=hysteresis))
    assert [(each.state, each.value) for each in send(made, *values)] == expected


def test_what_is_older_than_the_newest_raises_and_clears_nothing() -> None:
    made = declared()
    made.take(CAM, [Sample("pulse", NOW_MS, 70)], NOW)
    assert made.take(CAM, [Sample("pulse", NOW_MS - 30_000, 200)], NOW) == []
    (view,) = made.views()
    assert [each.value for each in view.samples] == [200, 70]
    made.take(CAM, [Sample("pulse", NOW_MS + 10, 200)], NOW)
    assert made.take(CAM, [Sample("pulse", NOW_MS + 5, 70)], NOW) == []
    # Of the same moment as the newest: a device whose clock has whole seconds.
    assert told(made.take(CAM, [Sample("pulse", NOW_MS + 10, 70)], NOW)) == [("cleared", "high", 70)]


def test_a_clock_that_was_set_back_does_not_blind_for_long() -> None:
    made = declared()
    made.take(CAM, [Sample("pulse", NOW_MS, 70)], NOW)
    behind_ms = 3_600_000
    for second in range(1, telemetry.STEPPED_US // 1_000_000):
        late = Sample("pulse", NOW_MS + second * 1000 - behind_ms, 200)
        assert made.take(CAM, [late], after_s(second)) == []
    late = Sample("pulse", NOW_MS + 20_000 - behind_ms, 200)
    assert told(made.take(CAM, [late], after_s(20))) == [("raised", "high", 200)]
    assert [each.at_ms for each in made.views()[0].samples] == [late.at_ms]


def test_nothing_for_too_long_is_an_alarm_until_something_comes() -> None:
    made = declared(replace(PULSE, silent_s=10))
    assert made.deadline_us() == 10_000_000
    assert made.silent(after_s(9.9)) == []
    assert told(made.silent(after_s(10))) == [("raised", "silent", None)]
    assert made.silent(after_s(60)) == []
    assert made.deadline_us() is None
    made.acknowledge(CAM, "pulse", NOW_MS)
    assert told(made.take(CAM, [Sample("pulse", NOW_MS, 70)], after_s(61))) == [("cleared", "silent", 70)]
    assert made.deadline_us() == 71_000_000
    made.take(CAM, [Sample("pulse", NOW_MS + 1, 130)], after_s(62))
    assert told(made.silent(after_s(72))) == [("raised", "silent", 130)]
    assert told(made.take(CAM, [Sample("pulse", NOW_MS + 2, 130)], after_s(73))) == [("raised", "high", 130)]


def test_old_samples_do_not_hide_that_no_new_ones_come() -> None:
    made = declared(replace(PULSE, silent_s=10))
    made.take(CAM, [Sample("pulse", NOW_MS, 70)], NOW)
    made.take(CAM, [Sample("pulse", NOW_MS - 50, 70)], after_s(9))
    assert told(made.silent(after_s(10))) == [("raised", "silent", 70)]


def test_an_alarm_ends_with_its_device_which_says_why() -> None:
    made = declared()
    send(made, 130)
    (ended,) = made.forget(CAM, "left", NOW_MS + 5)
    assert (ended.state, ended.side, ended.reason, ended.at_ms) == ("ended", "high", "left", NOW_MS + 5)
    made = declared()
    send(made, 70)
    assert made.forget(CAM, "timeout", NOW_MS) == []


def test_a_device_that_is_lost_is_an_alarm_where_silence_is_one() -> None:
    made = declared(replace(PULSE, silent_s=60))
    send(made, 70)
    lost = made.forget(CAM, "timeout", NOW_MS)
    assert [(each.state, each.side, each.reason) for each in lost] == [
        ("raised", "silent", ""),
        ("ended", "silent", "timeout"),
    ]
    made = declared(replace(PULSE, silent_s=60))
    assert made.forget(CAM, "left", NOW_MS) == []


def test_late_joiners_get_few_samples_with_every_peak() -> None:
    made = declared()
    samples = [Sample("pulse", NOW_MS + number * 100, 70) for number in range(telemetry.RECENT)]
    samples[217] = replace(samples[217], value=119)
    samples[218] = replace(samples[218], value=51)
    made.take(CAM, samples, after_s(60))
    (view,) = made.views()
    assert len(view.samples) <= telemetry.SHOWN
    assert {samples[217], samples[218], samples[-1]} <= set(view.samples)
    assert list(view.samples) == sorted(view.samples, key=lambda each: each.at_ms)


def test_what_late_joiners_get_is_bounded_for_the_room() -> None:
    made = Telemetry()
    names = [f"s{number}" for number in range(telemetry.MAX_SERIES)]
    for number in range(telemetry.MAX_ROOM_SERIES // telemetry.MAX_SERIES):
        device = ParticipantId(f"PA_{number}")
        made.declare(device, str(number), [Series(name=name, title="", unit="") for name in names], NOW)
        for name in names:
            many = [Sample(name, NOW_MS + at * 100, at % 7) for at in range(100)]
            made.take(device, [*many[:50], Sample(name, NOW_MS + 5000, 99), *many[51:]], NOW)
    views = made.views()
    assert sum(len(view.samples) for view in views) <= telemetry.ROOM_SHOWN
    assert all(any(sample.value == 99 for sample in view.samples) for view in views)
    assert all(view.samples[-1].at_ms == NOW_MS + 9900 for view in views)


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
        made.take(CAM, samples, NOW)
    assert made.views()[0].samples == ()


def test_late_joiners_get_the_last_minute() -> None:
    made = declared()
    for age_s in (90, 61, 59, 0):
        made.take(CAM, [Sample("pulse", NOW_MS - age_s * 1000, age_s)], NOW)
    assert [each.value for each in made.views()[0].samples] == [59, 0]


def test_what_was_kept_without_connection_is_neither_the_last_minute_nor_an_alarm() -> None:
    made = declared()
    send(made, 70)
    kept = [Sample("pulse", NOW_MS - 3_600_000 + number, 200) for number in range(telemetry.RECENT)]
    assert made.take(CAM, kept, NOW) == []
    assert [each.value for each in made.views()[0].samples] == [70]


def test_samples_of_the_last_minute_are_in_the_order_of_their_times() -> None:
    made = declared()
    made.take(CAM, [Sample("pulse", NOW_MS - age_ms, 60 + age_ms) for age_ms in (5, 20, 10, 0)], NOW)
    assert [each.value for each in made.views()[0].samples] == [80, 70, 65, 60]


def test_series_are_limited_and_go_with_their_participant() -> None:
    made = declared()
    many = [Series(name=f"s{number}", title="", unit="") for number in range(telemetry.MAX_SERIES)]
    with pytest.raises(RequestError, match="too_large"):
        made.declare(CAM, "cam", many, NOW)
    made.declare(OTHER, "other", many, NOW)
    made.declare(CAM, "cam", [Series(name="pulse", title="Heart", unit="bpm")], NOW)
    assert made.series(CAM, "pulse").title == "Heart"
    made.forget(OTHER, "left", NOW_MS)
    assert [view.participant for view in made.views()] == [CAM]


def test_thresholds_change_from_outside_and_the_last_value_is_judged_by_them() -> None:
    made = declared()
    assert set_limits(made, None, 90) == []
    send(made, 85)
    assert told(set_limits(made, None, 80)) == [("raised", "high", 85)]
    # Well inside or not: by new limits the value is judged as if it came now.
    assert told(set_limits(made, None, 86)) == [("cleared", "high", 85)]
    assert told(set_limits(made, 86, 90)) == [("raised", "low", 85)]
    assert told(set_limits(made, None, 80)) == [("raised", "high", 85)]
    made.acknowledge(CAM, "pulse", NOW_MS)
    assert set_limits(made, None, 70) == []
    alarm = made.views()[0].alarm
    assert alarm is not None
    assert (alarm.state, alarm.limit) == ("acknowledged", 70)
    assert told(set_limits(made, None, None)) == [("cleared", "high", 85)]
    with pytest.raises(RequestError, match="not_found"):
        made.set_thresholds(CAM, "cam", "unknown", Thresholds(None, None), NOW)


def test_what_a_moderator_has_set_stays_when_the_device_declares_again_or_comes_back() -> None:
    made = declared()
    set_limits(made, 60, 80)
    ((again,), _) = made.declare(CAM, "cam", [replace(PULSE, title="Heart")], NOW)
    assert (again.title, again.low, again.high) == ("Heart", 60, 80)
    made.forget(CAM, "timeout", NOW_MS)
    ((back,), _) = made.declare(OTHER, "cam", [PULSE], NOW)
    assert (back.low, back.high) == (60, 80)
    ((another,), _) = made.declare(CAM, "somebody else", [PULSE], NOW)
    assert (another.low, another.high) == (50, 120)
    assert declared(thresholds={("cam", "pulse"): Thresholds(None, 90)}).series(CAM, "pulse").high == 90


def test_a_device_that_declares_other_limits_is_judged_by_them() -> None:
    made = declared()
    send(made, 100)
    _, alarms = made.declare(CAM, "cam", [replace(PULSE, high=90)], NOW)
    assert told(alarms) == [("raised", "high", 100)]
