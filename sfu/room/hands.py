"""Raised hands: an ordered queue, and how often each person has been called on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sfu.ids import ParticipantId


@dataclass(frozen=True, slots=True)
class Hand:
    participant: ParticipantId
    raised_at_ms: int


@dataclass(frozen=True, slots=True)
class HandsView:
    """`queue` in the order of raising; `answered` counts by identity how often somebody was called on."""

    queue: tuple[Hand, ...]
    answered: Mapping[str, int]


class Hands:
    """Bounded by who is in the room, `answered` by `MAX_ANSWERED` identities."""

    MAX_ANSWERED = 1000

    def __init__(self, turns: Mapping[str, int] | None = None) -> None:
        self._raised: dict[ParticipantId, int] = {}
        self._answered = dict(turns or {})

    def raise_(self, participant: ParticipantId, now_ms: int) -> bool:
        """Whether that changed something: a hand that is up keeps its place."""
        if participant in self._raised:
            return False
        self._raised[participant] = now_ms
        return True

    def lower(self, participant: ParticipantId) -> bool:
        """Whether the hand was up."""
        return self._raised.pop(participant, None) is not None

    def lower_all(self) -> bool:
        """Whether any hand was up."""
        had = bool(self._raised)
        self._raised.clear()
        return had

    def call_on(self, participant: ParticipantId, identity: str) -> int | None:
        """It is this one's turn: the hand, if up, goes down, and the turn counts.

        Returns how many turns it has had; None where no more people are counted.
        """
        self._raised.pop(participant, None)
        if identity not in self._answered and len(self._answered) >= self.MAX_ANSWERED:
            return None
        self._answered[identity] = self._answered.get(identity, 0) + 1
        return self._answered[identity]

    def view(self) -> HandsView:
        return HandsView(tuple(Hand(who, at) for who, at in self._raised.items()), dict(self._answered))
