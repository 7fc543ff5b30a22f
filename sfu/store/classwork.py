"""What a class leaves: questions, polls, the whiteboard, turns. A vote or a ballot is a row of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    Table,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from sfu.store.tables import ballots, polls, question_votes, questions, strokes, thresholds, turns
from sfu.store.writes import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuestion:
    """`sender` is the participant of then; `voters` are identities."""

    room: str
    id: int
    identity: str
    name: str
    sender: str
    text: str
    asked_ms: int
    answered_ms: int | None = None
    answer: str = ""
    voters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPoll:
    """`ballots` maps identities to the options they chose."""

    room: str
    id: int
    identity: str
    question: str
    options: tuple[str, ...]
    multiple: bool
    opened_ms: int
    closed_ms: int | None = None
    ballots: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStroke:
    """`points` are x, y, x, y and so on; `number` its place in the order of drawing."""

    room: str
    id: str
    number: int
    identity: str
    color: str
    width: int
    points: tuple[int, ...]
    at_ms: int


_ROOM: BindParameter[str] = bindparam("of_room")
_ID: BindParameter[int | str] = bindparam("of_id")
_WHO: BindParameter[str] = bindparam("of_identity")

_ASK = insert(questions)
_ANSWER = (
    update(questions)
    .where(questions.c.room == _ROOM, questions.c.id == _ID)
    .values(answered_ms=bindparam("new_answered_ms"), answer=bindparam("new_answer"))
)
_DROP_QUESTION = delete(questions).where(questions.c.room == _ROOM, questions.c.id == _ID)
_VOTE = insert(question_votes)
_UNVOTE = delete(question_votes).where(
    question_votes.c.room == _ROOM, question_votes.c.question == _ID, question_votes.c.identity == _WHO
)
_DROP_VOTES = delete(question_votes).where(question_votes.c.room == _ROOM, question_votes.c.question == _ID)
_OPEN = insert(polls)
_CLOSE = (
    update(polls).where(polls.c.room == _ROOM, polls.c.id == _ID).values(closed_ms=bindparam("new_closed_ms"))
)
_DROP_POLL = delete(polls).where(polls.c.room == _ROOM, polls.c.id == _ID)
_CAST = insert(ballots)
_UNCAST = delete(ballots).where(ballots.c.room == _ROOM, ballots.c.poll == _ID, ballots.c.identity == _WHO)
_DROP_BALLOTS = delete(ballots).where(ballots.c.room == _ROOM, ballots.c.poll == _ID)
_DRAW = insert(strokes)
_ERASE = delete(strokes).where(strokes.c.room == _ROOM, strokes.c.id == _ID)
_CLEAR = delete(strokes).where(strokes.c.room == _ROOM)
_TURN = insert(turns)
_SET_THRESHOLDS = insert(thresholds)
_FORGET_THRESHOLDS = delete(thresholds).where(
    thresholds.c.room == _ROOM, thresholds.c.identity == _WHO, thresholds.c.series == _ID
)
_FORGET_TURN = delete(turns).where(turns.c.room == _ROOM, turns.c.identity == _WHO)


# --- writing -----------------------------------------------------------------------------------


def asked(question: StoredQuestion) -> list[Step]:
    """A new question, with the votes it has."""
    row = {column.name: getattr(question, column.name) for column in questions.c}
    steps: list[Step] = [(_ASK, row)]
    for voter in question.voters:
        steps += voted(question.room, question.id, voter, question.asked_ms, on=True)
    return steps


def answered(room: str, question: int, answered_ms: int | None, answer: str) -> list[Step]:
    """Marked as answered, or, with None, as open again."""
    values = {"new_answered_ms": answered_ms, "new_answer": answer}
    return [(_ANSWER, {"of_room": room, "of_id": question, **values})]


def voted(room: str, question: int, identity: str, at_ms: int, *, on: bool) -> list[Step]:
    """`identity` votes for the question, or no more."""
    steps: list[Step] = [(_UNVOTE, {"of_room": room, "of_id": question, "of_identity": identity})]
    if on:
        row = {"room": room, "question": question, "identity": identity, "at_ms": at_ms}
        steps.append((_VOTE, row))
    return steps


def question_dropped(room: str, question: int) -> list[Step]:
    return _both(_DROP_QUESTION, _DROP_VOTES, room, question)


def opened(poll: StoredPoll) -> list[Step]:
    """A new poll."""
    row = {column.name: getattr(poll, column.name) for column in polls.c}
    return [(_OPEN, row | {"options": list(poll.options)})]


def closed(room: str, poll: int, at_ms: int) -> list[Step]:
    return [(_CLOSE, {"of_room": room, "of_id": poll, "new_closed_ms": at_ms})]


def cast(room: str, poll: int, identity: str, choices: Sequence[int], at_ms: int) -> list[Step]:
    """`identity` chooses, in place of what it chose before; nothing takes its vote back."""
    before: Step = (_UNCAST, {"of_room": room, "of_id": poll, "of_identity": identity})
    row = {"room": room, "poll": poll, "identity": identity, "choices": list(choices), "at_ms": at_ms}
    return [before, (_CAST, row)] if choices else [before]


def poll_dropped(room: str, poll: int) -> list[Step]:
    return _both(_DROP_POLL, _DROP_BALLOTS, room, poll)


def drawn(room: str, gone: Sequence[str], there: Sequence[StoredStroke]) -> list[Step]:
    """Strokes that are gone, and those that are new or longer than they were."""
    steps: list[Step] = [
        (_ERASE, {"of_room": room, "of_id": stroke}) for stroke in (*gone, *(each.id for each in there))
    ]
    for stroke in there:
        row = {column.name: getattr(stroke, column.name) for column in strokes.c}
        steps.append((_DRAW, row | {"points": list(stroke.points)}))
    return steps


def cleared(room: str) -> list[Step]:
    """An empty board."""
    return [(_CLEAR, {"of_room": room})]


def taken(room: str, counts: Mapping[str, int], at_ms: int) -> list[Step]:
    """How often these identities have been called on by now."""
    return [
        *((_FORGET_TURN, {"of_room": room, "of_identity": identity}) for identity in counts),
        *(
            (_TURN, {"room": room, "identity": identity, "count": count, "at_ms": at_ms})
            for identity, count in counts.items()
        ),
    ]


def thresholds_set(
    room: str, identity: str, series: str, low: float | None, high: float | None, at_ms: int
) -> list[Step]:
    """Where the alarms of a series of `identity` are, in place of what was set before."""
    row = {"room": room, "identity": identity, "series": series, "low": low, "high": high, "at_ms": at_ms}
    return [
        (_FORGET_THRESHOLDS, {"of_room": room, "of_identity": identity, "of_id": series}),
        (_SET_THRESHOLDS, row),
    ]


def _both(first: Executable, second: Executable, room: str, number: int) -> list[Step]:
    return [(statement, {"of_room": room, "of_id": number}) for statement in (first, second)]


async def drop_orphans(connection: AsyncConnection) -> None:
    """Votes and ballots go with what they were for: a later question of that number has its own."""
    for table, orphaned in orphans():
        await connection.execute(delete(table).where(orphaned))


def orphans() -> list[tuple[Table, ColumnElement[bool]]]:
    """Tables whose rows belong to others, and which rows have lost theirs."""
    return [_orphans(question_votes, "question", questions), _orphans(ballots, "poll", polls)]


def _orphans(table: Table, column: str, of: Table) -> tuple[Table, ColumnElement[bool]]:
    there = select(literal(1)).where(of.c.room == table.c.room, of.c.id == table.c[column])
    return table, ~there.exists()


# --- reading -----------------------------------------------------------------------------------


async def questions_of(connection: AsyncConnection, room: str) -> list[StoredQuestion]:
    """By id."""
    voters: dict[int, list[str]] = {}
    votes = select(question_votes).where(question_votes.c.room == room).order_by(question_votes.c.at_ms)
    for row in (await connection.execute(votes)).all():
        voters.setdefault(row.question, []).append(row.identity)
    query = select(questions).where(questions.c.room == room).order_by(questions.c.id)
    return [
        StoredQuestion(**row._mapping, voters=tuple(voters.get(row.id, ())))
        for row in (await connection.execute(query)).all()
    ]


async def polls_of(connection: AsyncConnection, room: str) -> list[StoredPoll]:
    """By id."""
    cast_in: dict[int, dict[str, tuple[int, ...]]] = {}
    for row in (await connection.execute(select(ballots).where(ballots.c.room == room))).all():
        cast_in.setdefault(row.poll, {})[row.identity] = tuple(row.choices)
    query = select(polls).where(polls.c.room == room).order_by(polls.c.id)
    return [
        StoredPoll(**{**row._mapping, "options": tuple(row.options)}, ballots=cast_in.get(row.id, {}))
        for row in (await connection.execute(query)).all()
    ]


async def strokes_of(connection: AsyncConnection, room: str) -> list[StoredStroke]:
    """In the order of drawing."""
    query = select(strokes).where(strokes.c.room == room).order_by(strokes.c.number)
    return [
        StoredStroke(**{**row._mapping, "points": tuple(row.points)})
        for row in (await connection.execute(query)).all()
    ]


async def turns_of(connection: AsyncConnection, room: str) -> dict[str, int]:
    """By identity."""
    rows = (await connection.execute(select(turns).where(turns.c.room == room))).all()
    return {row._mapping["identity"]: row._mapping["count"] for row in rows}


async def thresholds_of(
    connection: AsyncConnection, room: str
) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Low and high by identity and series, oldest first."""
    query = select(thresholds).where(thresholds.c.room == room).order_by(thresholds.c.at_ms)
    return {
        (row.identity, row.series): (row.low, row.high) for row in (await connection.execute(query)).all()
    }
