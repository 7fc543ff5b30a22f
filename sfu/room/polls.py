"""Quick polls: the ballot is secret, the counts are live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sfu.errors import RequestError
from sfu.ids import ParticipantId
from sfu.room.class_records import PollRecord

MAX_POLLS = 50
"""In one room; the oldest closed one makes place for a new one."""
MAX_BALLOTS = 5000
"""In one poll: guests who come and go do not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollView:
    """`counts` beside `options`; `voters` have answered.

    `waiting`, who has not, is for who moderates; `voted` is the choice of the one this is for.
    """

    id: int
    question: str
    options: tuple[str, ...]
    multiple: bool
    open: bool
    opened_at_ms: int
    counts: tuple[int, ...]
    voters: int
    waiting: tuple[ParticipantId, ...] | None = None
    voted: tuple[int, ...] | None = None


@dataclass(slots=True, kw_only=True)
class Poll:
    """`identity` opened it."""

    id: int
    identity: str
    question: str
    options: tuple[str, ...]
    multiple: bool
    opened_at_ms: int
    open: bool = True
    ballots: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def vote(self, identity: str, choices: Iterable[int]) -> tuple[int, ...]:
        """Vote, or vote anew, or with no choices take the vote back; returns the choices in order.

        Raises `RequestError` `bad_state` when closed, `bad_request`.
        """
        chosen = tuple(sorted(set(choices)))
        if not self.open:
            raise RequestError("bad_state", "the poll is closed")
        if not all(0 <= choice < len(self.options) for choice in chosen):
            raise RequestError("bad_request", "no such option")
        if len(chosen) > 1 and not self.multiple:
            raise RequestError("bad_request", "one option only")
        if not chosen:
            self.ballots.pop(identity, None)
            return chosen
        if len(self.ballots) >= MAX_BALLOTS and identity not in self.ballots:
            raise RequestError("bad_state", "the poll has all the votes it can have")
        self.ballots[identity] = chosen
        return chosen

    def record(self) -> PollRecord:
        """As it is kept."""
        return PollRecord(
            id=self.id,
            identity=self.identity,
            question=self.question,
            options=self.options,
            multiple=self.multiple,
            opened_at_ms=self.opened_at_ms,
            open=self.open,
            ballots=dict(self.ballots),
        )

    def view(self, identity: str | None = None, waiting: tuple[ParticipantId, ...] | None = None) -> PollView:
        """As everybody sees it; with `identity` as that one does."""
        counts = [0] * len(self.options)
        for chosen in self.ballots.values():
            for choice in chosen:
                counts[choice] += 1
        return PollView(
            id=self.id,
            question=self.question,
            options=self.options,
            multiple=self.multiple,
            open=self.open,
            opened_at_ms=self.opened_at_ms,
            counts=tuple(counts),
            voters=len(self.ballots),
            waiting=waiting,
            voted=None if identity is None else self.ballots.get(identity, ()),
        )


class Polls:
    """Ids increase by one."""

    def __init__(self, history: Iterable[PollRecord] = ()) -> None:
        self._kept = {record.id: _poll(record) for record in history}
        self._next = 1 + max(self._kept, default=0)

    def __getitem__(self, poll: int) -> Poll:
        """Raises `RequestError` `not_found`."""
        found = self._kept.get(poll)
        if found is None:
            raise RequestError("not_found", f"no poll {poll}")
        return found

    def ids(self) -> tuple[int, ...]:
        return tuple(self._kept)

    def open(
        self, identity: str, question: str, options: tuple[str, ...], *, multiple: bool, now_ms: int
    ) -> tuple[Poll, int | None]:
        """The poll, and the id of the one that made place. Raises `RequestError` `bad_state`: full."""
        removed: int | None = None
        if len(self._kept) >= MAX_POLLS:
            removed = next((poll.id for poll in self._kept.values() if not poll.open), None)
            if removed is None:
                raise RequestError("bad_state", "there are too many open polls")
            del self._kept[removed]
        poll = Poll(
            id=self._next,
            identity=identity,
            question=question,
            options=options,
            multiple=multiple,
            opened_at_ms=now_ms,
        )
        self._kept[poll.id] = poll
        self._next += 1
        return poll, removed

    def remove(self, poll: int) -> None:
        del self._kept[self[poll].id]

    def expire(self, before_ms: int) -> list[int]:
        """Forget those opened before `before_ms`; returns their ids."""
        old = [each.id for each in self._kept.values() if each.opened_at_ms < before_ms]
        for poll in old:
            del self._kept[poll]
        return old


def _poll(record: PollRecord) -> Poll:
    return Poll(
        id=record.id,
        identity=record.identity,
        question=record.question,
        options=record.options,
        multiple=record.multiple,
        opened_at_ms=record.opened_at_ms,
        open=record.open,
        ballots=dict(record.ballots),
    )
