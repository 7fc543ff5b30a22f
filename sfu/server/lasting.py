"""A class between the room core and the store: what was asked and voted is answered when it is durable.

Everybody is told at once, before that: a class does not wait for a disk. What is drawn comes in many pieces
and is written a little later, each stroke once for all that was added to it meanwhile. What stands in a room
while it is open, as raised hands, is taken up where it was if the server ended first, and only then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sfu import clock
from sfu.errors import RequestError
from sfu.ids import ParticipantId, RoomName
from sfu.room import acts
from sfu.room.acts import Act
from sfu.room.alarms import Thresholds
from sfu.room.board import Stroke
from sfu.room.breakout import Breakout
from sfu.room.class_records import (
    Asked,
    BallotCast,
    BoardCleared,
    BreakoutPlaced,
    BreakoutsClosed,
    BreakoutsOpened,
    ClassChange,
    ClassHistory,
    HandLowered,
    HandRaised,
    Held,
    PollClosed,
    PollDropped,
    PollOpened,
    PollRecord,
    QuestionAnswered,
    QuestionAsked,
    QuestionDropped,
    QuestionRecord,
    QuestionVoted,
    RoomSettings,
    StrokeDropped,
    StrokeKept,
    ThresholdsSet,
    TurnTaken,
)
from sfu.room.effects import Effect
from sfu.room.hands import RETURN_US, HandRecord
from sfu.room.model import BreakoutId
from sfu.server import act_requests
from sfu.server.wire import Json
from sfu.store import classwork, people, standing
from sfu.store.classwork import StoredPoll, StoredQuestion, StoredStroke
from sfu.store.standing import StoredHand, StoredStanding
from sfu.store.store import Store
from sfu.store.writes import Done, Step

log = logging.getLogger(__name__)

WRITE_AFTER_S = 0.5
"""What is drawn may be lost by a crash for this long."""
STALE_MS = 12 * 3_600_000
"""Nothing was touched for so long: the server was away for a day at school, and the lesson is over."""

_ASKED = (
    acts.AskQuestion
    | acts.VoteQuestion
    | acts.AnswerQuestion
    | acts.RemoveQuestion
    | acts.OpenPoll
    | acts.VotePoll
    | acts.ClosePoll
    | acts.RemovePoll
    | acts.SetThresholds
)
"""Acts that are answered when they are durable."""

Answer = Callable[[Json | RequestError], None]


@dataclass(slots=True)
class _Sketch:
    """What a room's database has not yet; a stroke is None where it is gone."""

    cleared: bool = False
    strokes: dict[str, Stroke | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Outcome:
    """Of an act's last write, and who waits for it."""

    result: Json | RequestError | None = None
    answer: Answer | None = None

    def ended(self, error: RequestError | None) -> None:
        self.result = {"type": "ok"} if error is None else error
        if self.answer is not None:
            self.answer(self.result)

    def tell(self, answer: Answer) -> None:
        self.answer = answer
        if self.result is not None:
            answer(self.result)


class Lasting:
    """One for all rooms of a conference."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sketches: dict[RoomName, _Sketch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._outcome: _Outcome | None = None
        self._started_us = clock.now_us()

    async def history(self, room: RoomName) -> ClassHistory:
        """What a room opens with. Raises `RequestError` `storage_failed`."""
        self._write_out()
        await self._store.writes.flush(room)
        async with self._store.reading() as connection:
            stood = self._going_on(room, await standing.standing_in(connection, room))
            return ClassHistory(
                settings=_settings(await people.room_settings(connection, room)),
                questions=tuple(map(_question, await classwork.questions_of(connection, room))),
                polls=tuple(map(_poll, await classwork.polls_of(connection, room))),
                strokes=tuple(map(_stroke, await classwork.strokes_of(connection, room))),
                turns=await classwork.turns_of(connection, room),
                thresholds={
                    key: Thresholds(low, high)
                    for key, (low, high) in (await classwork.thresholds_of(connection, room)).items()
                },
                hands=tuple(HandRecord(each.identity, each.number, each.raised_ms) for each in stood.hands),
                breakouts=tuple(Breakout(BreakoutId(number), name) for number, name in stood.breakouts),
                places={who: BreakoutId(number) for who, number in stood.places.items()},
            )

    def _going_on(self, room: RoomName, stood: StoredStanding) -> StoredStanding:
        """What stood in a room when the server ended; nothing, for good, where its lesson is over.

        It is where nobody was back soon after the start: hands and breakout rooms have ended with it, as
        those of a room that has been empty do.
        """
        if not stood.last_ms:
            return stood
        since_start_us = clock.now_us() - self._started_us
        if since_start_us < RETURN_US and clock.wall_ms() - stood.last_ms < STALE_MS:
            return stood
        self._submit(room, standing.cleared(room))
        return StoredStanding()

    def act(self, wanted: Act, apply: Callable[[Act], Iterable[Effect]], answer: Answer) -> Json | None:
        """Do an act and return `ok`; None: `answer` is called when it is durable, or could not be stored.

        Raises `RequestError`; nothing has changed then.
        """
        if isinstance(wanted, _ASKED):
            self._store.writes.check()
        self._outcome = None
        done = apply(wanted)
        if self._outcome is None:
            return act_requests.answer(done)
        self._outcome.tell(answer)
        return None

    def keep(self, room: RoomName, change: ClassChange) -> None:
        """Make a change last."""
        match change:
            case StrokeKept(stroke):
                self._sketch(room).strokes[stroke.id] = stroke
            case StrokeDropped(gone):
                self._sketch(room).strokes[gone] = None
            case BoardCleared():
                sketch = self._sketch(room)
                sketch.cleared = True
                sketch.strokes.clear()
            case _ if isinstance(change, Held):
                # It holds for as long as the server runs, whatever the disk says.
                held = self._outcome = _Outcome()
                self._submit(room, _held_steps(room, change), lambda error: held.ended(None))
            case _:
                self._outcome = _Outcome()
                self._submit(room, _steps(room, change), self._outcome.ended)

    def close(self) -> None:
        """Hand over what was drawn."""
        self._write_out()

    def _sketch(self, room: RoomName) -> _Sketch:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER_S, self._write_out)
        return self._sketches.setdefault(room, _Sketch())

    def _write_out(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sketches, self._sketches = self._sketches, {}
        for room, sketch in sketches.items():
            self._submit(room, _sketch_steps(room, sketch))

    def _submit(self, room: RoomName, steps: list[Step], done: Done | None = None) -> None:
        try:
            self._store.writes.submit(steps, done, room=room)
        except RequestError as error:
            log.warning("a class could not be stored: too many writes wait", extra={"room": room})
            if done is not None:
                done(error)


def _steps(room: RoomName, change: Asked | RoomSettings) -> list[Step]:
    now_ms = clock.wall_ms()
    match change:
        case QuestionAsked(question):
            return classwork.asked(
                StoredQuestion(
                    room=room,
                    id=question.id,
                    identity=question.identity,
                    name=question.name,
                    sender=question.participant,
                    text=question.text,
                    asked_ms=question.asked_at_ms,
                    voters=question.votes,
                )
            )
        case QuestionAnswered(question, answered, answer):
            return classwork.answered(room, question, now_ms if answered else None, answer)
        case QuestionVoted(question, identity, voted):
            return classwork.voted(room, question, identity, now_ms, on=voted)
        case QuestionDropped(question):
            return classwork.question_dropped(room, question)
        case PollOpened(poll):
            return classwork.opened(
                StoredPoll(
                    room=room,
                    id=poll.id,
                    identity=poll.identity,
                    question=poll.question,
                    options=poll.options,
                    multiple=poll.multiple,
                    opened_ms=poll.opened_at_ms,
                )
            )
        case PollClosed(poll):
            return classwork.closed(room, poll, now_ms)
        case BallotCast(poll, identity, choices):
            return classwork.cast(room, poll, identity, choices, now_ms)
        case PollDropped(poll):
            return classwork.poll_dropped(room, poll)
        case RoomSettings():
            settings = people.StoredSettings(
                template=change.template,
                locked=change.locked,
                lobby=change.lobby,
                silenced=change.silenced,
            )
            return people.room_set(room, settings, now_ms)
        case ThresholdsSet(identity, series, wanted):
            return classwork.thresholds_set(room, identity, series, wanted.low, wanted.high, now_ms)


def _held_steps(room: RoomName, change: Held) -> list[Step]:
    now_ms = clock.wall_ms()
    match change:
        case HandRaised(hand):
            stored = StoredHand(identity=hand.identity, number=hand.number, raised_ms=hand.raised_at_ms)
            return standing.raised(room, stored)
        case HandLowered(identity):
            return standing.lowered(room, identity)
        case TurnTaken(identity, count):
            return classwork.taken(room, {identity: count}, now_ms)
        case BreakoutsOpened(breakouts):
            return standing.divided(room, [(each.id, each.name) for each in breakouts], now_ms)
        case BreakoutsClosed():
            return standing.united(room)
        case BreakoutPlaced(identities, breakout):
            return standing.placed(room, identities, breakout, now_ms)


def _sketch_steps(room: RoomName, sketch: _Sketch) -> list[Step]:
    now_ms = clock.wall_ms()
    gone = [id_ for id_, stroke in sketch.strokes.items() if stroke is None]
    there = [
        StoredStroke(
            room=room,
            id=stroke.id,
            number=stroke.number,
            identity=stroke.author,
            color=stroke.color,
            width=stroke.width,
            points=tuple(value for point in stroke.points for value in point),
            at_ms=now_ms,
        )
        for stroke in sketch.strokes.values()
        if stroke is not None
    ]
    cleared = classwork.cleared(room) if sketch.cleared else []
    return [*cleared, *classwork.drawn(room, gone, there)]


def _settings(stored: people.StoredSettings | None) -> RoomSettings | None:
    if stored is None:
        return None
    return RoomSettings(
        template=stored.template, locked=stored.locked, lobby=stored.lobby, silenced=stored.silenced
    )


def _question(stored: StoredQuestion) -> QuestionRecord:
    return QuestionRecord(
        id=stored.id,
        participant=ParticipantId(stored.sender),
        identity=stored.identity,
        name=stored.name,
        text=stored.text,
        asked_at_ms=stored.asked_ms,
        answered=stored.answered_ms is not None,
        answer=stored.answer,
        votes=stored.voters,
    )


def _poll(stored: StoredPoll) -> PollRecord:
    return PollRecord(
        id=stored.id,
        identity=stored.identity,
        question=stored.question,
        options=stored.options,
        multiple=stored.multiple,
        opened_at_ms=stored.opened_ms,
        open=stored.closed_ms is None,
        ballots=stored.ballots,
    )


def _stroke(stored: StoredStroke) -> Stroke:
    return Stroke(
        id=stored.id,
        author=stored.identity,
        color=stored.color,
        width=stored.width,
        points=tuple(zip(stored.points[::2], stored.points[1::2], strict=True)),
        number=stored.number,
    )
