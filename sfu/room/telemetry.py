"""Telemetry: declared series of timed numbers, what they were lately, and their alarms."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.alarms import Alarm, Sample, Series, Side, Thresholds, change, side_of
from sfu.room.model import Instant, LeaveReason
from sfu.room.thinning import thinned

MAX_SERIES = 32
"""Of one participant."""
MAX_ROOM_SERIES = 500
MAX_THRESHOLDS = 2000
"""Of a room; past that the oldest are forgotten: devices may be gone for good."""
RECENT = 600
"""Samples of each series that are remembered: a minute at ten a second."""
RECENT_MS = 60_000
SHOWN = 100
"""Of these, late joiners get so many of each series: a plot has few hundred pixels."""
ROOM_SHOWN = 10_000
"""And of all series together: some 300 kB of JSON."""
LEAST_SHOWN = 9
MAX_AHEAD_MS = 10_000
"""A device's clock may be ahead by so much. What is later is a clock that is wrong."""
MAX_BEHIND_MS = 86_400_000
"""A device may have kept samples for so long while it had no connection."""
STEPPED_US = 20_000_000
"""When only samples older than the newest have come for so long, the device's clock was set back."""
GRID_US = 250_000
"""Silence is looked for this often at most: many series would wake the server for each of their samples."""

GONE_WELL: frozenset[LeaveReason] = frozenset({"left", "replaced", "removed", "shutdown"})
"""Why a device leaves without being missed; else it was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesView:
    """`samples` are the last minute's, fewer where there are many."""

    participant: ParticipantId
    series: Series
    samples: tuple[Sample, ...]
    alarm: Alarm | None


@dataclass(slots=True)
class _Known:
    """`samples` are in the order of their times; `heard_us` is when the newest of them came."""

    participant: ParticipantId
    series: Series
    heard_us: int
    samples: list[Sample] = field(default_factory=list)
    alarm: Alarm | None = None

    @property
    def newest(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def turn(self, side: Side | None, at_ms: int) -> list[Alarm]:
        """The alarm's side is `side` from now on."""
        value = self.newest.value if self.newest else None
        told = change(self.participant, self.series, self.alarm, side, value, at_ms)
        if told is None:
            return []
        self.alarm = told if told.state == "raised" else None
        return [told]

    def judge_again(self, at_ms: int) -> list[Alarm]:
        """Limits have changed: the value that is there is judged by them, as if it came now."""
        standing = self.alarm
        if standing is not None and standing.side == "silent":
            return [] if self.series.silent_s is not None else self.turn(self._side(None), at_ms)
        side = self._side(None)
        if standing is not None and side == standing.side:
            limit = self.series.low if side == "low" else self.series.high
            assert limit is not None
            self.alarm = replace(standing, series=self.series, limit=limit)
        return self.turn(side, at_ms)

    def take(self, sample: Sample, now: Instant) -> list[Alarm]:
        newest = self.newest
        if newest is not None and sample.at_ms < newest.at_ms:
            if now.us - self.heard_us < STEPPED_US:
                self._keep(sample)
                return []
            self.samples.clear()
        self.heard_us = now.us
        self._keep(sample)
        standing = None if self.alarm is None else self.alarm.side
        return self.turn(side_of(self.series, sample.value, standing), sample.at_ms)

    def _side(self, standing: Side | None) -> Side | None:
        return None if self.newest is None else side_of(self.series, self.newest.value, standing)

    def _keep(self, sample: Sample) -> None:
        """Of what comes twice the later is kept; what is older than the last minute is not."""
        samples = self.samples
        if samples and samples[-1].at_ms - sample.at_ms > RECENT_MS:
            return
        place = bisect_left(samples, sample.at_ms, key=lambda each: each.at_ms)
        if place < len(samples) and samples[place].at_ms == sample.at_ms:
            samples[place] = sample
        else:
            samples.insert(place, sample)
        oldest_ms = samples[-1].at_ms - RECENT_MS
        old = bisect_left(samples, oldest_ms, key=lambda each: each.at_ms)
        del samples[: max(old, len(samples) - RECENT)]


class Telemetry:
    """Of one room; what a participant declared goes with it. `thresholds` are by identity and series."""

    def __init__(self, thresholds: Mapping[tuple[str, str], Thresholds] | None = None) -> None:
        self._known: dict[ParticipantId, dict[str, _Known]] = {}
        self._thresholds = dict(thresholds or {})

    def declare(
        self, participant: ParticipantId, identity: str, series: Iterable[Series], now: Instant
    ) -> tuple[tuple[Series, ...], list[Alarm]]:
        """Add series, or change what is said of them; what a moderator has set stays.

        Returns the series as they are, and the alarms that this raises or clears. Raises `RequestError`
        `too_large`.
        """
        mine = self._known.get(participant, {})
        declared = {each.name: self._with_set(identity, each) for each in series}
        new = len(declared.keys() - mine.keys())
        if len(mine) + new > MAX_SERIES:
            raise RequestError("too_large", f"at most {MAX_SERIES} series")
        if sum(map(len, self._known.values())) + new > MAX_ROOM_SERIES:
            raise RequestError("too_large", "the room has too many series")
        self._known[participant] = mine
        alarms: list[Alarm] = []
        for name, each in declared.items():
            if name in mine:
                mine[name].series = each
                alarms += mine[name].judge_again(now.wall_ms)
            else:
                mine[name] = _Known(participant, each, now.us)
        return tuple(declared.values()), alarms

    def take(self, participant: ParticipantId, samples: Iterable[Sample], now: Instant) -> list[Alarm]:
        """Keep samples; returns the alarms that they raise or clear. What is older than the newest does not.

        Raises `RequestError` `not_found` (a series that was not declared) or `bad_request` (an impossible
        time); nothing is kept then.
        """
        taken = list(samples)
        mine = self._known.get(participant, {})
        for sample in taken:
            if sample.series not in mine:
                raise RequestError("not_found", f"the series {sample.series} is not declared")
            if not now.wall_ms - MAX_BEHIND_MS <= sample.at_ms <= now.wall_ms + MAX_AHEAD_MS:
                raise RequestError("bad_request", "t_ms is not near the time of this server")
        return [alarm for sample in taken for alarm in mine[sample.series].take(sample, now)]

    def set_thresholds(
        self, participant: ParticipantId, identity: str, series: str, wanted: Thresholds, now: Instant
    ) -> tuple[Series, list[Alarm]]:
        """For this series of this identity, also when it comes back. Returns as `declare` does.

        Raises `RequestError` `not_found`.
        """
        known = self._find(participant, series)
        self._thresholds.pop((identity, series), None)
        self._thresholds[identity, series] = wanted
        if len(self._thresholds) > MAX_THRESHOLDS:
            del self._thresholds[next(iter(self._thresholds))]
        known.series = self._with_set(identity, known.series)
        return known.series, known.judge_again(now.wall_ms)

    def acknowledge(self, participant: ParticipantId, series: str, now_ms: int) -> Alarm:
        """Somebody has seen the alarm. Raises `RequestError` `not_found`, `bad_state` where there is none."""
        known = self._find(participant, series)
        if known.alarm is None or known.alarm.state != "raised":
            raise RequestError("bad_state", "there is no alarm to acknowledge")
        known.alarm = replace(known.alarm, state="acknowledged", at_ms=now_ms)
        return known.alarm

    def silent(self, now: Instant) -> list[Alarm]:
        """The alarms of series of which nothing has come for too long."""
        return [
            alarm
            for known in self._all()
            if (due := _silent_at_us(known)) is not None and due <= now.us
            for alarm in known.turn("silent", now.wall_ms)
        ]

    def deadline_us(self) -> int | None:
        """When `silent` is due; None while nothing is waited for."""
        return min((due for known in self._all() if (due := _silent_at_us(known)) is not None), default=None)

    def forget(self, participant: ParticipantId, reason: LeaveReason, now_ms: int) -> list[Alarm]:
        """It is gone: its alarms end. Where it was lost, what must not be silent is an alarm before."""
        told: list[Alarm] = []
        for known in self._known.pop(participant, {}).values():
            if reason not in GONE_WELL and known.series.silent_s is not None:
                told += known.turn("silent", now_ms)
            if known.alarm is not None:
                told.append(replace(known.alarm, state="ended", at_ms=now_ms, reason=reason))
        return told

    def series(self, participant: ParticipantId, name: str) -> Series:
        """Raises `RequestError` `not_found`."""
        return self._find(participant, name).series

    def declared(self, participant: ParticipantId) -> tuple[Series, ...]:
        """The series of one participant."""
        return tuple(known.series for known in self._known.get(participant, {}).values())

    def views(self) -> tuple[SeriesView, ...]:
        """Every series there is, with fewer samples where there are many."""
        known = list(self._all())
        most = min(SHOWN, max(LEAST_SHOWN, ROOM_SHOWN // max(1, len(known))))
        return tuple(
            SeriesView(
                participant=each.participant,
                series=each.series,
                samples=thinned(each.samples, most),
                alarm=each.alarm,
            )
            for each in known
        )

    def _all(self) -> Iterable[_Known]:
        return (known for mine in self._known.values() for known in mine.values())

    def _with_set(self, identity: str, series: Series) -> Series:
        found = self._thresholds.get((identity, series.name))
        return series if found is None else replace(series, low=found.low, high=found.high)

    def _find(self, participant: ParticipantId, series: str) -> _Known:
        known = self._known.get(participant, {}).get(series)
        if known is None:
            raise RequestError("not_found", f"no series {series} of {participant}")
        return known


def _silent_at_us(known: _Known) -> int | None:
    """When it will have been silent for too long, None where that is no alarm or is one already."""
    if known.series.silent_s is None or (known.alarm is not None and known.alarm.side == "silent"):
        return None
    due_us = known.heard_us + round(known.series.silent_s * 1_000_000)
    return -(-due_us // GRID_US) * GRID_US
