"""Raised hands: an ordered queue, and how often each person has been called on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sfu.ids import ParticipantId

RETURN_US = 5 * 60 * 1_000_000
"""How long a hand of an earlier run of the server waits for its owner, and a room for the first to be back.

Pages are back within seconds, a rebooted laptop within minutes. Who comes later comes to another moment of
the lesson, or to another lesson, where nobody remembers what the hand was about.
"""


@dataclass(frozen=True, slots=True)
class Hand:
    participant: ParticipantId
    raised_at_ms: int


@dataclass(frozen=True, slots=True)
class HandRecord:
    """A hand as it is kept: `number` is its place in the order of raising."""

    identity: str
    number: int
    raised_at_ms: int


@dataclass(frozen=True, slots=True)
class HandsView:
    """`queue` in the order of raising; `answered` counts by identity how often somebody was called on."""

    queue: tuple[Hand, ...]
    answered: Mapping[str, int]


class Hands:
    """Bounded by who is in the room, `answered` by `MAX_ANSWERED` identities.

    A hand is its owner's by identity and keeps its place when the owner joins anew. Those in `raised`, which
    an earlier run of the server has left, are not seen by anybody until their owners are here; at
    `wait_until_us` those that are missing still go down.
    """

    MAX_ANSWERED = 1000

    def __init__(
        self,
        turns: Mapping[str, int] | None = None,
        raised: Iterable[HandRecord] = (),
        wait_until_us: int = 0,
    ) -> None:
        self._raised = {hand.identity: hand for hand in sorted(raised, key=lambda each: each.number)}
        self._owners: dict[str, ParticipantId] = {}
        self._last = max((hand.number for hand in self._raised.values()), default=0)
        self._wait_until_us = wait_until_us
        self._answered = dict(turns or {})

    def __len__(self) -> int:
        """How many are up, with those whose owners are not here."""
        return len(self._raised)

    def raise_(self, participant: ParticipantId, identity: str, now_ms: int) -> HandRecord | None:
        """The new hand; None where it is up, and keeps its place."""
        if identity in self._raised:
            return None
        self._last += 1
        self._owners[identity] = participant
        self._raised[identity] = HandRecord(identity, self._last, now_ms)
        return self._raised[identity]

    def lower(self, identity: str) -> bool:
        """Whether the hand was up."""
        self._owners.pop(identity, None)
        return self._raised.pop(identity, None) is not None

    def lower_all(self) -> bool:
        """Whether any hand was up. Those that wait for their owners go as well."""
        had = bool(self._raised)
        self._raised.clear()
        self._owners.clear()
        return had

    def up(self, identity: str) -> bool:
        """Whether somebody who is here has its hand up."""
        return identity in self._owners

    def returned(self, participant: ParticipantId, identity: str, now_us: int, *, may: bool) -> bool:
        """Somebody has joined: a hand that it has up goes on in its place, where it may have one up.

        Returns whether it has lost one.
        """
        if identity not in self._raised:
            return False
        if may and (identity in self._owners or now_us < self._wait_until_us):
            self._owners[identity] = participant
            return False
        return self.lower(identity)

    def expire(self, now_us: int) -> list[str]:
        """Whose hands go down because they have not come back."""
        if now_us < self._wait_until_us:
            return []
        gone = [identity for identity in self._raised if identity not in self._owners]
        for identity in gone:
            del self._raised[identity]
        return gone

    def deadline_us(self) -> int | None:
        """When `expire` is due; None where every hand has its owner."""
        return self._wait_until_us if len(self._raised) > len(self._owners) else None

    def call_on(self, identity: str) -> int | None:
        """It is this one's turn: the hand, if up, goes down, and the turn counts.

        Returns how many turns it has had; None where no more people are counted.
        """
        self.lower(identity)
        if identity not in self._answered and len(self._answered) >= self.MAX_ANSWERED:
            return None
        self._answered[identity] = self._answered.get(identity, 0) + 1
        return self._answered[identity]

    def view(self) -> HandsView:
        queue = (
            Hand(self._owners[identity], hand.raised_at_ms)
            for identity, hand in self._raised.items()
            if identity in self._owners
        )
        return HandsView(tuple(queue), dict(self._answered))
