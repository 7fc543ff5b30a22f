"""Telemetry: declared series of timed numbers, what they were lately, and alarms at thresholds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from sfu.errors import RequestError
from sfu.ids import ParticipantId

MAX_SERIES = 32
"""Of one participant."""
MAX_ROOM_SERIES = 500
RECENT = 600
"""Samples of each series that late joiners get: a minute at ten a second."""
RECENT_MS = 60_000
MAX_AHEAD_MS = 10_000
"""A device's clock may be ahead by so much. What is later is a clock that is wrong."""
MAX_BEHIND_MS = 86_400_000
"""A device may have kept samples for so long while it had no connection."""

AlarmState = Literal["raised", "cleared", "acknowledged"]
Side = Literal["low", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Below `low` or above `high` is an alarm, until the value is `hysteresis` inside again."""

    name: str
    title: str
    unit: str
    low: float | None = None
    high: float | None = None
    hysteresis: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """`at_ms` is when it was measured, Unix milliseconds."""

    series: str
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`limit` is the threshold that was crossed."""

    participant: ParticipantId
    series: Series
    state: AlarmState
    side: Side
    limit: float
    value: float
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesView:
    """`samples` are the last minute's."""

    participant: ParticipantId
    series: Series
    samples: tuple[Sample, ...]
    alarm: Alarm | None


@dataclass(slots=True)
class _Known:
    series: Series
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=RECENT))
    newest_ms: int = 0
    alarm: Alarm | None = None


class Telemetry:
    """Of one room; what a participant declared goes with it."""

    def __init__(self) -> None:
        self._known: dict[ParticipantId, dict[str, _Known]] = {}

    def declare(self, participant: ParticipantId, series: Iterable[Series]) -> None:
        """Add series, or change what is said of them. Raises `RequestError` `too_large`."""
        mine = self._known.get(participant, {})
        declared = {each.name: each for each in series}
        new = len(declared.keys() - mine.keys())
        if len(mine) + new > MAX_SERIES:
            raise RequestError("too_large", f"at most {MAX_SERIES} series")
        if sum(map(len, self._known.values())) + new > MAX_ROOM_SERIES:
            raise RequestError("too_large", "the room has too many series")
        self._known[participant] = mine
        for name, each in declared.items():
            if name in mine:
                mine[name].series = each
            else:
                mine[name] = _Known(each)

    def take(self, participant: ParticipantId, samples: Iterable[Sample], now_ms: int) -> list[Alarm]:
        """Keep samples; returns the alarms that they raise or clear.

        Raises `RequestError` `not_found` (a series that was not declared) or `bad_request` (an impossible
        time); nothing is kept then.
        """
        taken = list(samples)
        mine = self._known.get(participant, {})
        for sample in taken:
            if sample.series not in mine:
                raise RequestError("not_found", f"the series {sample.series} is not declared")
            if not now_ms - MAX_BEHIND_MS <= sample.at_ms <= now_ms + MAX_AHEAD_MS:
                raise RequestError("bad_request", "t_ms is not near the time of this server")
        alarms = []
        for sample in taken:
            known = mine[sample.series]
            if known.newest_ms - sample.at_ms > RECENT_MS:
                # Of a time without connection: it is stored, but the last minute and its alarm are not its.
                continue
            known.newest_ms = max(known.newest_ms, sample.at_ms)
            known.samples.append(sample)
            if (alarm := _judge(participant, known, sample)) is not None:
                known.alarm = alarm if alarm.state == "raised" else None
                alarms.append(alarm)
        return alarms

    def set_thresholds(
        self, participant: ParticipantId, series: str, low: float | None, high: float | None
    ) -> Series:
        """Raises `RequestError` `not_found`."""
        known = self._find(participant, series)
        known.series = replace(known.series, low=low, high=high)
        return known.series

    def acknowledge(self, participant: ParticipantId, series: str, now_ms: int) -> Alarm:
        """Somebody has seen the alarm. Raises `RequestError` `not_found`, `bad_state` where there is none."""
        known = self._find(participant, series)
        if known.alarm is None or known.alarm.state != "raised":
            raise RequestError("bad_state", "there is no alarm to acknowledge")
        known.alarm = replace(known.alarm, state="acknowledged", at_ms=now_ms)
        return known.alarm

    def forget(self, participant: ParticipantId) -> None:
        """It has left."""
        self._known.pop(participant, None)

    def series(self, participant: ParticipantId, name: str) -> Series:
        """Raises `RequestError` `not_found`."""
        return self._find(participant, name).series

    def declared(self, participant: ParticipantId) -> tuple[Series, ...]:
        """The series of one participant."""
        return tuple(known.series for known in self._known.get(participant, {}).values())

    def views(self) -> tuple[SeriesView, ...]:
        """Every series there is."""
        return tuple(
            SeriesView(
                participant=participant,
                series=known.series,
                samples=tuple(_recent(known)),
                alarm=known.alarm,
            )
            for participant, mine in self._known.items()
            for known in mine.values()
        )

    def _find(self, participant: ParticipantId, series: str) -> _Known:
        known = self._known.get(participant, {}).get(series)
        if known is None:
            raise RequestError("not_found", f"no series {series} of {participant}")
        return known


def _judge(participant: ParticipantId, known: _Known, sample: Sample) -> Alarm | None:
    """The change of the series' alarm by a sample, None where it stays as it is."""
    series, value = known.series, sample.value
    if known.alarm is not None:
        low = series.low is None or value >= series.low + series.hysteresis
        high = series.high is None or value <= series.high - series.hysteresis
        if not (low and high):
            return None
        return replace(known.alarm, state="cleared", series=series, value=value, at_ms=sample.at_ms)
    if series.low is not None and value < series.low:
        side: Side = "low"
        limit = series.low
    elif series.high is not None and value > series.high:
        side, limit = "high", series.high
    else:
        return None
    return Alarm(
        participant=participant,
        series=series,
        state="raised",
        side=side,
        limit=limit,
        value=value,
        at_ms=sample.at_ms,
    )


def _recent(known: _Known) -> list[Sample]:
    """The last minute's, in the order of their times."""
    recent = (each for each in known.samples if known.newest_ms - each.at_ms <= RECENT_MS)
    return sorted(recent, key=lambda each: each.at_ms)
