"""What participants are told of the room and of the class besides media."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.ids import ParticipantId, PublicationId
from sfu.room.alarms import Alarm, Sample, Series
from sfu.room.board import Stroke
from sfu.room.breakout import Breakout
from sfu.room.hands import HandsView
from sfu.room.lobby import WaitingView
from sfu.room.polls import PollView
from sfu.room.questions import QuestionView
from sfu.room.telemetry import SeriesView


@dataclass(frozen=True, slots=True)
class Spotlight:
    participant: ParticipantId
    publication: PublicationId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomView:
    """The room itself as everybody in it sees it."""

    name: str
    template: str
    locked: bool
    lobby: bool
    silenced: bool
    spotlight: Spotlight | None
    breakouts: tuple[Breakout, ...]
    recording: tuple[ParticipantId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """The class as one participant finds it; `waiting` is None for who does not moderate."""

    hands: HandsView
    questions: tuple[QuestionView, ...]
    polls: tuple[PollView, ...]
    waiting: tuple[WaitingView, ...] | None
    strokes: int
    telemetry: tuple[SeriesView, ...]


@dataclass(frozen=True, slots=True)
class RoomUpdated:
    room: RoomView


@dataclass(frozen=True, slots=True)
class LobbyChanged:
    waiting: tuple[WaitingView, ...]


@dataclass(frozen=True, slots=True)
class HandsChanged:
    hands: HandsView


@dataclass(frozen=True, slots=True)
class QuestionChanged:
    question: QuestionView


@dataclass(frozen=True, slots=True)
class QuestionRemoved:
    question: int


@dataclass(frozen=True, slots=True)
class PollChanged:
    poll: PollView


@dataclass(frozen=True, slots=True)
class PollRemoved:
    poll: int


@dataclass(frozen=True, slots=True)
class Reacted:
    participant: ParticipantId
    reaction: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """`stroke` has the new points only."""

    participant: ParticipantId
    stroke: Stroke


@dataclass(frozen=True, slots=True)
class Erased:
    """One stroke, or with None all."""

    stroke: str | None


@dataclass(frozen=True, slots=True)
class SeriesDeclared:
    """New series, or what is said of them has changed."""

    participant: ParticipantId
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class SamplesTaken:
    participant: ParticipantId
    samples: tuple[Sample, ...]
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class AlarmChanged:
    """`by` acknowledged it; None where the value did it."""

    alarm: Alarm
    by: ParticipantId | None


@dataclass(frozen=True, slots=True)
class Broadcasted:
    participant: ParticipantId
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A participant has begun to record, or ended it."""

    participant: ParticipantId
    on: bool


ClassEvent = (
    RoomUpdated
    | LobbyChanged
    | HandsChanged
    | QuestionChanged
    | QuestionRemoved
    | PollChanged
    | PollRemoved
    | Reacted
    | Drawn
    | Erased
    | SeriesDeclared
    | SamplesTaken
    | AlarmChanged
    | Broadcasted
    | RecordingChanged
)
