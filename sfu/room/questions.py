"""Questions of a class: asked by anybody, voted for, answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.class_records import QuestionRecord

MAX_QUESTIONS = 200
"""In one room; the oldest answered one makes place for a new one."""
MAX_VOTES = 5000
"""For one question: guests who come and go do not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionView:
    """`votes` counts identities; `voted` is whether the one this is for is among them."""

    id: int
    participant: ParticipantId
    identity: str
    name: str
    text: str
    asked_at_ms: int
    votes: int
    answered: bool
    answer: str
    voted: bool | None = None


@dataclass(slots=True, kw_only=True)
class Question:
    id: int
    participant: ParticipantId
    identity: str
    name: str
    text: str
    asked_at_ms: int
    votes: set[str] = field(default_factory=set)
    answered: bool = False
    answer: str = ""

    def record(self) -> QuestionRecord:
        """As it is kept."""
        return QuestionRecord(
            id=self.id,
            participant=self.participant,
            identity=self.identity,
            name=self.name,
            text=self.text,
            asked_at_ms=self.asked_at_ms,
            answered=self.answered,
            answer=self.answer,
            votes=tuple(sorted(self.votes)),
        )

    def view(self, identity: str | None = None) -> QuestionView:
        """As everybody sees it; with `identity` as that one does."""
        return QuestionView(
            id=self.id,
            participant=self.participant,
            identity=self.identity,
            name=self.name,
            text=self.text,
            asked_at_ms=self.asked_at_ms,
            votes=len(self.votes),
            answered=self.answered,
            answer=self.answer,
            voted=None if identity is None else identity in self.votes,
        )


class Questions:
    """Ids increase by one; who asks has voted for it."""

    def __init__(self, history: Iterable[QuestionRecord] = ()) -> None:
        self._kept = {record.id: _question(record) for record in history}
        self._next = 1 + max(self._kept, default=0)

    def __getitem__(self, question: int) -> Question:
        """Raises `RequestError` `not_found`."""
        found = self._kept.get(question)
        if found is None:
            raise RequestError("not_found", f"no question {question}")
        return found

    def ask(
        self, participant: ParticipantId, identity: str, name: str, text: str, now_ms: int
    ) -> tuple[Question, int | None]:
        """The question, and the id of the one that made place. Raises `RequestError` `bad_state`: full."""
        removed: int | None = None
        if len(self._kept) >= MAX_QUESTIONS:
            removed = next((q.id for q in self._kept.values() if q.answered), None)
            if removed is None:
                raise RequestError("bad_state", "there are too many open questions")
            del self._kept[removed]
        question = Question(
            id=self._next,
            participant=participant,
            identity=identity,
            name=name,
            text=text,
            asked_at_ms=now_ms,
            votes={identity},
        )
        self._kept[question.id] = question
        self._next += 1
        return question, removed

    def vote(self, question: int, identity: str, *, voted: bool) -> Question:
        """Vote for a question or take the vote back. Raises `RequestError` `not_found`, `bad_state`."""
        found = self[question]
        if not voted:
            found.votes.discard(identity)
        elif len(found.votes) >= MAX_VOTES:
            raise RequestError("bad_state", "the question has all the votes it can have")
        else:
            found.votes.add(identity)
        return found

    def remove(self, question: int) -> None:
        del self._kept[self[question].id]

    def expire(self, before_ms: int) -> list[int]:
        """Forget those asked before `before_ms`; returns their ids."""
        old = [each.id for each in self._kept.values() if each.asked_at_ms < before_ms]
        for question in old:
            del self._kept[question]
        return old

    def views(self, identity: str) -> tuple[QuestionView, ...]:
        return tuple(question.view(identity) for question in self._kept.values())


def _question(record: QuestionRecord) -> Question:
    return Question(
        id=record.id,
        participant=record.participant,
        identity=record.identity,
        name=record.name,
        text=record.text,
        asked_at_ms=record.asked_at_ms,
        votes=set(record.votes),
        answered=record.answered,
        answer=record.answer,
    )
