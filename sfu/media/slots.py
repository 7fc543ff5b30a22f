"""Which publications have an m-line of one subscriber, where there are more of them than m-lines.

An m-line costs its subscriber memory and every offer its size, so a large room gives them by need: first to
what flows, then to what the subscriber asks for, then to screens and speakers. While there are enough,
everything has one. One that has an m-line keeps it until another needs it more, so that nothing flaps:
whoever speaks counts as speaking for some seconds, and among equals nobody gives way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, TypedDict, Unpack

from sfu.ids import ParticipantId, PublicationId
from sfu.media.attention import MAX_SCREENS, Attention
from sfu.media.decisions import DEFAULT_PRIORITY
from sfu.rtp.parameters import Kind

USUAL = 2
"""Sounds, or pictures, of one publisher that are as good as anybody's: camera and screen. More of them come
last, so that a few publishers do not use up everybody's m-lines."""
_LEADING = 4
"""One m-line in so many is sure to whoever leads the list of speakers, also where more people make noise than
there are m-lines."""


class Claim(TypedDict):
    """What may change of a candidate. `flows` is False while it is muted, or paused by wish."""

    flows: bool
    priority: int
    sized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A publication that may have an m-line, see `Claim`."""

    key: PublicationId
    participant: ParticipantId
    screen: bool = False
    flows: bool = True
    priority: int = DEFAULT_PRIORITY
    sized: bool = False


_SPARE = 10
"""One m-line in so many is not used, so that a new speaker need not wait until an old one's is closed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Those that have lost their m-line, whether any m-line is another's now, and whether more may be."""

    lost: tuple[PublicationId, ...] = ()
    changed: bool = False
    more: bool = False


class _Need(NamedTuple):
    """How much a candidate needs an m-line, greater is more."""

    flows: bool
    priority: int
    sized: bool
    usual: bool
    screen: bool
    voice: int


class Slots:
    """The m-lines of one kind of one subscriber, `limit` of them, of which `swaps` change hands at once.

    Of `pictures`, one that flows takes the place of one that is muted; a sound does so when it is heard.
    """

    def __init__(self, limit: int, *, pictures: bool, swaps: int) -> None:
        self._limit = limit
        self._swaps = swaps
        self._pictures = pictures
        self._people: dict[ParticipantId, dict[PublicationId, Candidate]] = {}
        self._held: dict[PublicationId, Candidate] = {}
        self._waiting: dict[PublicationId, Candidate] = {}
        self._asked: dict[PublicationId, None] = {}
        """Those of `_waiting` that the subscriber asks for by priority or size, or that have just changed."""
        self._screens: dict[PublicationId, None] = {}
        self._voices: dict[ParticipantId, int] = {}
        self._attention = Attention()

    @property
    def crowded(self) -> bool:
        """Whether some have no m-line."""
        return bool(self._waiting)

    def holds(self, key: PublicationId) -> bool:
        return key in self._held

    def waits(self, key: PublicationId) -> bool:
        return key in self._waiting

    def add(self, candidate: Candidate) -> bool:
        """A new candidate; whether it has an m-line at once."""
        self._people.setdefault(candidate.participant, {})[candidate.key] = candidate
        if candidate.screen:
            self._screens[candidate.key] = None
        free = len(self._held) < self._limit and not self._waiting
        (self._held if free else self._waiting)[candidate.key] = candidate
        if not free:
            self._asked[candidate.key] = None
        return free

    def change(self, key: PublicationId, **claim: Unpack[Claim]) -> bool:
        """What is known of a candidate has changed; whether an m-line may change hands for it."""
        place = self._held if key in self._held else self._waiting
        before = place.get(key)
        if before is None:
            return False
        after = replace(before, **claim)
        if after == before:
            return False
        place[key] = self._people[after.participant][key] = after
        if place is self._waiting:
            self._asked[key] = None
        return bool(self._waiting)

    def remove(self, key: PublicationId) -> None:
        """Forget a candidate. Its m-line is free until things are settled."""
        candidate = self._held.get(key) or self._waiting.get(key)
        if candidate is None:
            return
        theirs = self._people[candidate.participant]
        del theirs[key]
        if not theirs:
            del self._people[candidate.participant]
        self._screens.pop(key, None)
        self._asked.pop(key, None)
        self._waiting.pop(key, None)
        self._held.pop(key, None)

    def settle(self, attention: Attention, *, swap: bool) -> Settled:
        """Give away what is free and, with `swap`, what others need more."""
        if not self._waiting:
            return Settled()
        self._listen(attention)
        contenders = deque(sorted(self._contenders(), key=self._rank, reverse=True))
        lost: list[PublicationId] = []
        before = len(self._held)
        while self._waiting and len(self._held) < self._limit:
            self._seat(contenders.popleft() if contenders else self._next())
        while swap and contenders and len(lost) < self._swaps:
            best = contenders.popleft()
            worst = min(reversed(self._held.values()), key=self._rank, default=None)
            if worst is None or self._need(best) <= self._need(worst):
                break
            del self._held[worst.key]
            self._waiting[worst.key] = worst
            lost.append(worst.key)
            self._seat(best)
        more = swap and len(lost) == self._swaps and bool(contenders)
        if swap and not more:
            self._asked = {key: None for key in self._asked if self._explicit(self._waiting[key])}
        return Settled(tuple(lost), changed=bool(lost) or len(self._held) != before, more=more)

    def pressed(self, attention: Attention) -> bool:
        """Whether somebody who speaks has no m-line: it may get one when others have been silent for long."""
        self._listen(attention)
        return any(each.flows for each in self._speaking())

    # --- who needs what --------------------------------------------------------------------------

    def _listen(self, attention: Attention) -> None:
        self._attention = attention
        here = [speaker for speaker in attention.lately if speaker in self._people]
        leading = max(1, self._limit // _LEADING)
        self._voices = {
            ParticipantId(speaker): 2 if place < leading else 1 for place, speaker in enumerate(here)
        }

    def _contenders(self) -> list[Candidate]:
        found = {key: self._waiting[key] for key in self._asked}
        found.update((each.key, each) for each in self._speaking())
        found.update((key, self._waiting[key]) for key in self._screens if key in self._waiting)
        if self._pictures and not all(each.flows for each in self._held.values()):
            found.update((each.key, each) for each in self._first_flowing())
        return list(found.values())

    def _speaking(self) -> Iterator[Candidate]:
        for speaker in self._voices:
            for key, candidate in self._people[speaker].items():
                if key in self._waiting:
                    yield candidate

    def _first_flowing(self) -> Iterator[Candidate]:
        idle = sum(not each.flows for each in self._held.values())
        for candidate in self._waiting.values():
            if candidate.flows:
                yield candidate
                idle -= 1
            if not idle:
                return

    def _next(self) -> Candidate:
        """The first of those that wait, one that flows if there is one."""
        first = next(iter(self._waiting.values()))
        return next((each for each in self._waiting.values() if each.flows), first)

    def _seat(self, candidate: Candidate) -> None:
        del self._waiting[candidate.key]
        self._asked.pop(candidate.key, None)
        self._held[candidate.key] = candidate

    def _need(self, candidate: Candidate) -> _Need:
        theirs = self._people[candidate.participant]
        place = next(index for index, key in enumerate(theirs) if key == candidate.key)
        return _Need(
            candidate.flows,
            candidate.priority,
            candidate.sized,
            place < USUAL,
            candidate.screen and candidate.key in islice(self._screens, MAX_SCREENS),
            self._voices.get(candidate.participant, 0),
        )

    def _rank(self, candidate: Candidate) -> tuple[_Need, int]:
        return self._need(candidate), self._attention.spoke_us(candidate.participant)

    @staticmethod
    def _explicit(candidate: Candidate) -> bool:
        return candidate.flows and (candidate.sized or candidate.priority > DEFAULT_PRIORITY)


class MLines:
    """All m-lines of one subscriber, `limit` with closed ones. Half of those in use are for sound."""

    def __init__(self, limit: int) -> None:
        spare = max(1, limit // _SPARE)
        sound = (limit - spare) // 2
        # The first m-line is never closed, and carries nothing once its media has ended.
        swaps = max(1, (spare - 1) // 2)
        self._kinds: dict[Kind, Slots] = {
            "audio": Slots(sound, pictures=False, swaps=swaps),
            "video": Slots(limit - spare - sound, pictures=True, swaps=swaps),
        }
        self._kind_of: dict[PublicationId, Kind] = {}

    @property
    def crowded(self) -> bool:
        """Whether some candidates have no m-line."""
        return any(slots.crowded for slots in self._kinds.values())

    def holds(self, key: PublicationId) -> bool:
        return any(slots.holds(key) for slots in self._kinds.values())

    def waits(self, key: PublicationId) -> bool:
        return any(slots.waits(key) for slots in self._kinds.values())

    def add(self, kind: Kind, candidate: Candidate) -> bool:
        """A new candidate; whether it has an m-line at once."""
        self._kind_of[candidate.key] = kind
        return self._kinds[kind].add(candidate)

    def change(self, key: PublicationId, **claim: Unpack[Claim]) -> bool:
        """What is known of a candidate has changed; whether an m-line may change hands for it."""
        kind = self._kind_of.get(key)
        return kind is not None and self._kinds[kind].change(key, **claim)

    def remove(self, key: PublicationId) -> None:
        kind = self._kind_of.pop(key, None)
        if kind is not None:
            self._kinds[kind].remove(key)

    def settle(self, attention: Attention, *, swap: bool) -> Settled:
        """Give away what is free and, with `swap`, what others need more."""
        sounds, pictures = (slots.settle(attention, swap=swap) for slots in self._kinds.values())
        return Settled(
            sounds.lost + pictures.lost, sounds.changed or pictures.changed, sounds.more or pictures.more
        )

    def pressed(self, attention: Attention) -> bool:
        """Whether somebody who speaks has no m-line."""
        return any(slots.pressed(attention) for slots in self._kinds.values())
