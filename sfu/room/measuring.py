"""Acts of telemetry: declaring, sending, thresholds, acknowledging. Each checks its right itself."""

from __future__ import annotations

from sfu.errors import RequestError
from sfu.room import acts, visibility
from sfu.room.alarms import Thresholds
from sfu.room.class_events import AlarmChanged, SamplesTaken, SeriesDeclared
from sfu.room.class_records import ThresholdsSet
from sfu.room.effects import Announce, ClassToStore, Effect, Event, SamplesToStore
from sfu.room.following import watches
from sfu.room.model import Instant, Participant
from sfu.room.room import Room


def measure(room: Room, member: Participant, act: acts.TelemetryAct, now: Instant) -> list[Effect]:
    """Raises `RequestError`; nothing has changed then."""
    match act:
        case acts.DeclareSeries():
            _may_send(member)
            series, alarms = room.telemetry.declare(member.id, member.identity, act.series, now)
            return _tell(room, member, SeriesDeclared(member.id, series)) + room.tell_alarms(alarms)
        case acts.SendSamples():
            _may_send(member)
            alarms = room.telemetry.take(member.id, act.samples, now)
            done = _tell(room, member, SamplesTaken(member.id, act.samples, now.wall_ms))
            units = {each.series: room.telemetry.series(member.id, each.series).unit for each in act.samples}
            done.append(SamplesToStore(room.name, member.identity, act.samples, units))
            return done + room.tell_alarms(alarms)
        case acts.SetThresholds():
            _may_decide(member)
            return _set_thresholds(room, member, act, now)
        case acts.AcknowledgeAlarm():
            _may_decide(member)
            alarm = room.telemetry.acknowledge(act.target, act.series, now.wall_ms)
            return room.tell(AlarmChanged(alarm, member.id), act.target)


def _set_thresholds(room: Room, member: Participant, act: acts.SetThresholds, now: Instant) -> list[Effect]:
    target = visibility.found(member, room.participants, act.target)
    wanted = Thresholds(act.low, act.high)
    series, alarms = room.telemetry.set_thresholds(target.id, target.identity, act.series, wanted, now)
    kept = ClassToStore(room.name, ThresholdsSet(target.identity, act.series, wanted))
    return [kept, *room.tell(SeriesDeclared(target.id, (series,)), target.id), *room.tell_alarms(alarms)]


def _may_send(member: Participant) -> None:
    if not member.grants.may_send_data:
        raise RequestError("not_allowed", "no right to send data")


def _may_decide(member: Participant) -> None:
    if not member.grants.may_moderate:
        raise RequestError("not_allowed", "no right to moderate")


def _tell(room: Room, member: Participant, event: Event) -> list[Effect]:
    """Those who watch it."""
    told = tuple(
        each.id for each in room.participants.values() if each is not member and watches(each, member)
    )
    return [Announce(told, event)] if told else []
