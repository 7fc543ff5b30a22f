"""Telemetry as the JSON objects of docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sfu.config import MAX_SAMPLES
from sfu.ids import ParticipantId
from sfu.room import acts
from sfu.room.alarms import Alarm, Sample, Series
from sfu.room.class_events import AlarmChanged, SamplesTaken, SeriesDeclared
from sfu.room.telemetry import MAX_SERIES, SeriesView
from sfu.server import validation as v
from sfu.server.act_requests import MAX_ID, InRoom
from sfu.server.validation import Message

Json = dict[str, Any]

MAX_NAME = 64
MAX_UNIT = 32
MIN_SILENT_S = 1
MAX_SILENT_S = 86_400
LARGEST = 1e15
"""Of a value: further away a double has no tenths."""


def series(value: Series) -> Json:
    return {
        "name": value.name,
        "title": value.title,
        "unit": value.unit,
        "low": value.low,
        "high": value.high,
        "hysteresis": value.hysteresis,
        "silent_s": value.silent_s,
    }


def alarm(value: Alarm, by: ParticipantId | None = None) -> Json:
    return {
        "participant": value.participant,
        "series": value.series.name,
        "title": value.series.title,
        "unit": value.series.unit,
        "state": value.state,
        "side": value.side,
        "limit": value.limit,
        "value": value.value,
        "at_ms": value.at_ms,
        "by": by,
        "reason": value.reason or None,
    }


def snapshot(views: Iterable[SeriesView]) -> list[Json]:
    """`joined.class.telemetry`."""
    return [
        {
            "participant": each.participant,
            "series": series(each.series),
            "samples": [[sample.at_ms, sample.value] for sample in each.samples],
            "alarm": None if each.alarm is None else alarm(each.alarm),
        }
        for each in views
    ]


def event(value: SeriesDeclared | SamplesTaken | AlarmChanged) -> Json:
    """The message that tells of `value`."""
    match value:
        case SeriesDeclared():
            declared = [series(each) for each in value.series]
            return {"type": "telemetry_series", "participant": value.participant, "series": declared}
        case SamplesTaken():
            return {
                "type": "telemetry",
                "participant": value.participant,
                "samples": [[each.series, each.at_ms, each.value] for each in value.samples],
                "received_at_ms": value.received_at_ms,
            }
        case AlarmChanged():
            return {"type": "alarm", "alarm": alarm(value.alarm, value.by)}


# --- requests ----------------------------------------------------------------------------------


def _declare(message: Message) -> InRoom:
    declared = tuple(_series(each) for each in v.objects(message, "series", most=MAX_SERIES))
    if not declared:
        raise v.bad("series must not be empty")
    return InRoom(partial(acts.DeclareSeries, series=declared))


def _series(message: Message) -> Series:
    name = v.label(message, "name", shortest=1, longest=MAX_NAME)
    low, high = _threshold(message, "low"), _threshold(message, "high")
    if low is not None and high is not None and low >= high:
        raise v.bad("low must be below high")
    hysteresis = _number(message, "hysteresis") if message.get("hysteresis") is not None else 0.0
    if hysteresis < 0:
        raise v.bad("hysteresis must not be below 0")
    silent_s = _threshold(message, "silent_s")
    if silent_s is not None and not MIN_SILENT_S <= silent_s <= MAX_SILENT_S:
        raise v.bad(f"silent_s must be between {MIN_SILENT_S} and {MAX_SILENT_S}")
    return Series(
        name=name,
        title=v.label(message, "title", longest=MAX_NAME, default="") or name,
        unit=v.label(message, "unit", longest=MAX_UNIT, default=""),
        low=low,
        high=high,
        hysteresis=hysteresis,
        silent_s=silent_s,
    )


def _send(message: Message) -> InRoom:
    given = message.get("samples")
    if not isinstance(given, list) or not 0 < len(given) <= MAX_SAMPLES:
        raise v.bad(f"samples must be a list of 1 to {MAX_SAMPLES} samples")
    return InRoom(partial(acts.SendSamples, samples=tuple(map(_sample, given))))


def _sample(given: object) -> Sample:
    if not isinstance(given, list) or len(given) != 3:
        raise v.bad("a sample is [series, t_ms, value]")
    fields = dict(zip(("series", "t_ms", "value"), given, strict=True))
    return Sample(
        v.text(fields, "series", shortest=1, longest=MAX_NAME),
        v.integer(fields, "t_ms", lowest=0, highest=v.LARGEST_ID),
        _number(fields, "value"),
    )


def _thresholds(message: Message) -> InRoom:
    low, high = _threshold(message, "low"), _threshold(message, "high")
    if low is not None and high is not None and low >= high:
        raise v.bad("low must be below high")
    return InRoom(partial(acts.SetThresholds, **_target(message), low=low, high=high))


def _acknowledge(message: Message) -> InRoom:
    return InRoom(partial(acts.AcknowledgeAlarm, **_target(message)))


def _target(message: Message) -> dict[str, Any]:
    return {
        "target": ParticipantId(v.text(message, "participant", shortest=1, longest=MAX_ID)),
        "series": v.text(message, "series", shortest=1, longest=MAX_NAME),
    }


def _threshold(message: Message, name: str) -> float | None:
    return None if message.get(name) is None else _number(message, name)


def _number(message: Mapping[str, Any], name: str) -> float:
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise v.bad(f"{name} must be a number")
    return float(value)


PARSERS = {
    "telemetry_declare": _declare,
    "telemetry": _send,
    "telemetry_thresholds": _thresholds,
    "alarm_acknowledge": _acknowledge,
}
