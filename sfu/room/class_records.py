"""A class as it is kept: what a room opens with, and each change of it that has to last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sfu.ids import ParticipantId
from sfu.room.alarms import Thresholds
from sfu.room.board import Stroke
from sfu.room.breakout import Breakout
from sfu.room.hands import HandRecord
from sfu.room.model import BreakoutId

# --- what a room opens with --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRecord:
    """`participant` is who asked, of then; `votes` are identities."""

    id: int
    participant: ParticipantId
    identity: str
    name: str
    text: str
    asked_at_ms: int
    answered: bool = False
    answer: str = ""
    votes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRecord:
    """`identity` opened it; `ballots` maps identities to the options they chose."""

    id: int
    identity: str
    question: str
    options: tuple[str, ...]
    multiple: bool
    opened_at_ms: int
    open: bool = True
    ballots: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSettings:
    """What a room is, by the name of its template, and how whoever moderates has set it."""

    template: str
    locked: bool
    lobby: bool
    silenced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassHistory:
    """Questions and polls by id, strokes in the order of drawing; `turns` counts by identity.

    `settings` is None where nothing is known of an earlier room of that name. `hands`, `breakouts` and
    `places` (who is in which one, by identity) are of a room that was open when the server ended.
    """

    settings: RoomSettings | None = None
    questions: tuple[QuestionRecord, ...] = ()
    polls: tuple[PollRecord, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    turns: Mapping[str, int] = field(default_factory=dict)
    thresholds: Mapping[tuple[str, str], Thresholds] = field(default_factory=dict)
    hands: tuple[HandRecord, ...] = ()
    breakouts: tuple[Breakout, ...] = ()
    places: Mapping[str, BreakoutId] = field(default_factory=dict)


# --- what changes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    question: QuestionRecord


@dataclass(frozen=True, slots=True)
class QuestionAnswered:
    question: int
    answered: bool
    answer: str


@dataclass(frozen=True, slots=True)
class QuestionVoted:
    question: int
    identity: str
    voted: bool


@dataclass(frozen=True, slots=True)
class QuestionDropped:
    question: int


@dataclass(frozen=True, slots=True)
class PollOpened:
    poll: PollRecord


@dataclass(frozen=True, slots=True)
class PollClosed:
    poll: int


@dataclass(frozen=True, slots=True)
class BallotCast:
    poll: int
    identity: str
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PollDropped:
    poll: int


@dataclass(frozen=True, slots=True)
class StrokeKept:
    """New, or longer than before: the whole of it."""

    stroke: Stroke


@dataclass(frozen=True, slots=True)
class StrokeDropped:
    stroke: str


@dataclass(frozen=True, slots=True)
class BoardCleared:
    pass


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """`identity` has been called on, `count` times by now."""

    identity: str
    count: int


@dataclass(frozen=True, slots=True)
class HandRaised:
    hand: HandRecord


@dataclass(frozen=True, slots=True)
class HandLowered:
    """The hand of `identity`, or with None every hand."""

    identity: str | None


@dataclass(frozen=True, slots=True)
class BreakoutsOpened:
    breakouts: tuple[Breakout, ...]


@dataclass(frozen=True, slots=True)
class BreakoutsClosed:
    """Nobody has a place in one any more."""


@dataclass(frozen=True, slots=True)
class BreakoutPlaced:
    """These people are in a breakout room, or with None in the main one."""

    identities: tuple[str, ...]
    breakout: BreakoutId | None


@dataclass(frozen=True, slots=True)
class ThresholdsSet:
    """A moderator has said where the alarms of a series of `identity` are."""

    identity: str
    series: str
    thresholds: Thresholds


Asked = (
    QuestionAsked
    | QuestionAnswered
    | QuestionVoted
    | QuestionDropped
    | PollOpened
    | PollClosed
    | BallotCast
    | PollDropped
    | ThresholdsSet
)
"""Whoever makes one of these, or sets the room, is answered when it is durable."""
Held = HandRaised | HandLowered | TurnTaken | BreakoutsOpened | BreakoutsClosed | BreakoutPlaced
"""Whoever makes one of these is answered when it is durable, or cannot be: a class goes on without a disk."""
Sketched = StrokeKept | StrokeDropped | BoardCleared
"""These are many, and are written a little later."""
ClassChange = Asked | Held | Sketched | RoomSettings
