"""What participants do in a room besides media: moderate it, and work in it. Each names who does it first."""

from __future__ import annotations

from dataclasses import dataclass

from sfu.ids import ParticipantId, PublicationId
from sfu.room.alarms import Sample, Series
from sfu.room.board import Point
from sfu.room.model import BreakoutId
from sfu.room.permissions import GrantChanges, Role, Source
from sfu.room.state import Value

# --- moderation: all of these need `moderate` --------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetRole:
    """The target gets what its new role may do here by default."""

    participant: ParticipantId
    target: ParticipantId
    role: Role


@dataclass(frozen=True, slots=True)
class SetGrants:
    participant: ParticipantId
    target: ParticipantId
    changes: GrantChanges


@dataclass(frozen=True, slots=True)
class MuteOthers:
    """Mute one participant's publications of a source; with None everybody's who does not moderate."""

    participant: ParticipantId
    target: ParticipantId | None
    source: Source


@dataclass(frozen=True, slots=True)
class Remove:
    """The target's membership ends."""

    participant: ParticipantId
    target: ParticipantId


@dataclass(frozen=True, slots=True)
class SetRoom:
    """Lock the room, open its lobby, silence the students; None leaves a value as it is."""

    participant: ParticipantId
    locked: bool | None
    lobby: bool | None
    silenced: bool | None = None


@dataclass(frozen=True, slots=True)
class SetSpotlight:
    """Show one participant, or one publication of it, large to all; None ends it."""

    participant: ParticipantId
    target: ParticipantId | None
    publication: PublicationId | None


@dataclass(frozen=True, slots=True)
class Admit:
    """Let somebody in who waits; with None everybody."""

    participant: ParticipantId
    waiting: str | None


@dataclass(frozen=True, slots=True)
class Deny:
    participant: ParticipantId
    waiting: str


@dataclass(frozen=True, slots=True)
class OpenBreakouts:
    participant: ParticipantId
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssignBreakout:
    """Move participants, oneself too, to a breakout room, or with None back to the main one."""

    participant: ParticipantId
    targets: tuple[ParticipantId, ...]
    breakout: BreakoutId | None


@dataclass(frozen=True, slots=True)
class CloseBreakouts:
    """Everybody is called back."""

    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A text shown to everybody, in whatever breakout room."""

    participant: ParticipantId
    text: str


# --- a class -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RaiseHand:
    participant: ParticipantId
    raised: bool


@dataclass(frozen=True, slots=True)
class LowerHand:
    """Another's hand; with None everybody's."""

    participant: ParticipantId
    target: ParticipantId | None


@dataclass(frozen=True, slots=True)
class CallOn:
    """It is the target's turn to answer."""

    participant: ParticipantId
    target: ParticipantId


@dataclass(frozen=True, slots=True)
class AskQuestion:
    participant: ParticipantId
    text: str


@dataclass(frozen=True, slots=True)
class VoteQuestion:
    participant: ParticipantId
    question: int
    voted: bool


@dataclass(frozen=True, slots=True)
class AnswerQuestion:
    participant: ParticipantId
    question: int
    answered: bool
    answer: str


@dataclass(frozen=True, slots=True)
class RemoveQuestion:
    participant: ParticipantId
    question: int


@dataclass(frozen=True, slots=True)
class OpenPoll:
    participant: ParticipantId
    question: str
    options: tuple[str, ...]
    multiple: bool


@dataclass(frozen=True, slots=True)
class VotePoll:
    participant: ParticipantId
    poll: int
    choices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClosePoll:
    participant: ParticipantId
    poll: int


@dataclass(frozen=True, slots=True)
class RemovePoll:
    participant: ParticipantId
    poll: int


@dataclass(frozen=True, slots=True)
class React:
    participant: ParticipantId
    reaction: str


@dataclass(frozen=True, slots=True)
class Draw:
    """Add a stroke, or go on with one's own of that id."""

    participant: ParticipantId
    stroke: str
    color: str
    width: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Erase:
    participant: ParticipantId
    stroke: str


@dataclass(frozen=True, slots=True)
class ClearBoard:
    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class ChangeState:
    """Give a key of the shared state a value, or where `deleted` is true take it away.

    Only where the key is at `if_version` now: 0 is a key that is not there, None is whatever it is.
    """

    participant: ParticipantId
    key: str
    value: Value = None
    deleted: bool = False
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class SetRecording:
    """Say that one records, or does no more; needs `record`."""

    participant: ParticipantId
    on: bool


# --- telemetry ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeclareSeries:
    participant: ParticipantId
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class SendSamples:
    participant: ParticipantId
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class SetThresholds:
    """Where the alarms of another's series are; None is no threshold. Needs `moderate`."""

    participant: ParticipantId
    target: ParticipantId
    series: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AcknowledgeAlarm:
    """The alarm has been seen. Needs `moderate`."""

    participant: ParticipantId
    target: ParticipantId
    series: str


Moderation = (
    SetRole
    | SetGrants
    | MuteOthers
    | Remove
    | SetRoom
    | SetSpotlight
    | Admit
    | Deny
    | OpenBreakouts
    | AssignBreakout
    | CloseBreakouts
    | Broadcast
)
ClassAct = (
    RaiseHand
    | LowerHand
    | CallOn
    | AskQuestion
    | VoteQuestion
    | AnswerQuestion
    | RemoveQuestion
    | OpenPoll
    | VotePoll
    | ClosePoll
    | RemovePoll
    | React
    | Draw
    | Erase
    | ClearBoard
    | SetRecording
)
TelemetryAct = DeclareSeries | SendSamples | SetThresholds | AcknowledgeAlarm
Act = Moderation | ClassAct | TelemetryAct | ChangeState

FromOutside = (
    Moderation
    | LowerHand
    | CallOn
    | AnswerQuestion
    | RemoveQuestion
    | OpenPoll
    | ClosePoll
    | RemovePoll
    | ClearBoard
    | SetThresholds
    | AcknowledgeAlarm
    | ChangeState
)
"""What somebody may do who is not in the room."""
