"""Whom viewers attend to: who speaks now, and who spoke last. It orders what is sent where not all can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sfu.ids import SubscriptionKey

HOLD_US = 3_000_000
"""A speaker is preferred until this long after the last word: a dialogue must not make layers change."""
NEVER_US = -1
MAX_SCREENS = 4
"""Screens that one subscriber sees beside the people in its last-N."""


class Attention:
    """When each participant was last heard to speak."""

    def __init__(self) -> None:
        self._spoke_us: dict[str, int] = {}
        self._speaking: tuple[str, ...] = ()
        self._lately: dict[str, None] = {}

    def follow(self, speakers: tuple[str, ...]) -> bool:
        """These speak from now on, in their order. Whether one is new, or has passed another."""
        before, self._speaking = self._speaking, speakers
        known = [each for each in before if each in set(speakers)]
        return list(speakers) != known

    def go_on(self, now_us: int) -> None:
        """Those who speak still do. The first counts as the one heard last."""
        for place, speaker in enumerate(self._speaking):
            self._spoke_us[speaker] = now_us - place
        lately = [each for each in self._lately if self.speaks(each, now_us)]
        self._lately = dict.fromkeys((*self._speaking, *lately))

    @property
    def lately(self) -> Iterable[str]:
        """Those who speak, in their order, then those who did a moment ago."""
        return self._lately.keys()

    def forget(self, speaker: str) -> None:
        self._spoke_us.pop(speaker, None)
        self._lately.pop(speaker, None)
        self._speaking = tuple(each for each in self._speaking if each != speaker)

    def spoke_us(self, speaker: str) -> int:
        """When the participant last spoke, `NEVER_US` for one who never did."""
        return self._spoke_us.get(speaker, NEVER_US)

    def speaks(self, speaker: str, now_us: int) -> bool:
        """Whether the participant speaks, or did a moment ago."""
        spoke_us = self._spoke_us.get(speaker)
        return spoke_us is not None and now_us - spoke_us < HOLD_US


def rank(priority: int, *, screen: bool, speaks: bool) -> int:
    """The order in which an estimate is spent, higher first.

    What the subscriber asks for (`priority`) decides; among equals a shared screen goes before speakers, and
    they before everybody else.
    """
    return priority * 3 + (2 if screen else 1 if speaks else 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture of a participant that one subscriber would like; `spoke_us` is when that one last spoke."""

    key: SubscriptionKey
    priority: int
    spoke_us: int


def beyond_places(
    people: Sequence[Candidate], screens: Sequence[Candidate], limit: int
) -> frozenset[SubscriptionKey]:
    """Those to leave out of pictures of people and of screens. A few screens take none of the `limit` places.

    What is called a screen beyond these is a picture like others: a camera that is called so has no place of
    its own.
    """
    surplus = beyond(screens, MAX_SCREENS)
    return beyond([*people, *(each for each in screens if each.key in surplus)], limit)


def beyond(candidates: Sequence[Candidate], limit: int) -> frozenset[SubscriptionKey]:
    """Those to leave out so that at most `limit` are sent to the subscriber; 0 is no limit.

    Kept are those of the highest priority, among equals whoever spoke last, among those who never spoke the
    first of the sequence. So a new speaker comes in at once, and the longest silent leaves.
    """
    if not limit or len(candidates) <= limit:
        return frozenset()
    ordered = sorted(candidates, key=lambda each: (-each.priority, -each.spoke_us))
    return frozenset(each.key for each in ordered[limit:])
