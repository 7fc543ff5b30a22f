"""Measured series and their alarms: when a value, or that none comes, is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sfu.ids import ParticipantId

AlarmState = Literal["raised", "acknowledged", "cleared", "ended"]
Side = Literal["low", "high", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Below `low` or above `high` is an alarm, until the value is `hysteresis` inside that limit again.

    No value for `silent_s` seconds is one too, until a value comes.
    """

    name: str
    title: str
    unit: str
    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0
    silent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a moderator has set for a series, in place of what its device says."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_ms` is when it was measured, Unix milliseconds."""

    series: str
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`limit` is the threshold that was crossed; of the side `silent` it is seconds.

    `value` is None where none has come yet. `reason` says why the device is gone where it `ended` so.
    """

    participant: ParticipantId
    series: Series
    state: AlarmState
    side: Side
    limit: float
    value: float | None
    at_ms: int
    reason: str = ""


def side_of(series: Series, value: float, standing: Side | None) -> Side | None:
    """The side on which `value` is an alarm while `standing` is: that one's limit is wider by the hysteresis.

    It ends at the middle between both limits at the latest: every alarm can be cleared.
    """
    low, high, inside = series.low, series.high, series.hysteresis
    if low is not None and high is not None:
        inside = min(inside, (high - low) / 2)
    if low is not None and value < low + (inside if standing == "low" else 0):
        return "low"
    if high is not None and value > high - (inside if standing == "high" else 0):
        return "high"
    return None


def raised(participant: ParticipantId, series: Series, side: Side, value: float | None, at_ms: int) -> Alarm:
    limit = {"low": series.low, "high": series.high, "silent": series.silent_s}[side]
    assert limit is not None
    return Alarm(
        participant=participant,
        series=series,
        state="raised",
        side=side,
        limit=limit,
        value=value,
        at_ms=at_ms,
    )


def change(
    participant: ParticipantId,
    series: Series,
    standing: Alarm | None,
    side: Side | None,
    value: float | None,
    at_ms: int,
) -> Alarm | None:
    """What there is to tell when the alarm's side is `side` from now on; None: nothing.

    Another side is another alarm: it is raised, whether or not the one before was acknowledged.
    """
    if side == (None if standing is None else standing.side):
        return None
    if side is not None:
        return raised(participant, series, side, value, at_ms)
    assert standing is not None
    return replace(standing, state="cleared", series=series, value=value, at_ms=at_ms)
