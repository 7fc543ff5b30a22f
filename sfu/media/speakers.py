"""Who is speaking, from the audio levels that publishers send beside their packets (RFC 6464).

Each source has an envelope with a fast attack and a slow release, the ballistics of a programme level meter
(IEC 60268-10): short noises do not make a speaker, pauses between words do not end one. Two thresholds keep
a source near the edge from flickering, and a margin keeps two equally loud speakers from changing places.

Levels are what publishers say of themselves. So nobody gains by more than the level of ordinary speech, and
among those who speak the participants who have spoken less of the last minute come first: whoever is loud all
the time, or says so, stands behind everybody who pauses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sfu.ids import PublicationKey

QUIETEST_DBOV = 60
"""A level this far below overload (and any below it) is 0: room noise of a common headset."""
LOUDEST_DBOV = 10
"""A level this far below overload (and any above it) is 1: shouting into the microphone."""

_ATTACK_US = 80_000
_RELEASE_US = 600_000
_START = 0.35
_STOP = 0.2
_LEAD = 0.1
_HOLD_US = 60_000
"""A level counts this long: packets of 20 or 60 ms leave no gaps between polls."""
_REPORT_US = 200_000
_STEP = 0.05
_ORDINARY = 0.6
"""A voice near its microphone is at -30 dBov; louder ones stand before others by nothing but their gain."""
_SHARE_US = 60_000_000
"""Over how long speaking counts against those who go on speaking."""
_FORGOTTEN = 0.01


@dataclass(slots=True)
class _Source:
    who: str
    heard: float = 0.0
    heard_us: int = 0
    envelope: float = 0.0
    speaking: bool = False


class ActiveSpeakers:
    """An ordered list of speakers that changes only when a listener would agree."""

    def __init__(self) -> None:
        self._sources: dict[PublicationKey, _Source] = {}
        self._shares: dict[str, float] = {}
        """How much of the last minute or so a participant has spoken, whatever it published meanwhile."""
        self._order: list[PublicationKey] = []
        self._reported: tuple[tuple[PublicationKey, float], ...] = ()
        self._reported_us = 0
        self._last_us: int | None = None

    def observe(self, publication: PublicationKey, who: str, level: int, now_us: int) -> None:
        """The loudest level since the last call, in -dBov: 0 loud, 127 silent. Spec: RFC 6464 section 3.

        `who` is the participant whose publication it is.
        """
        source = self._sources.setdefault(publication, _Source(who))
        loudness = (QUIETEST_DBOV - level) / (QUIETEST_DBOV - LOUDEST_DBOV)
        source.heard = min(1.0, max(0.0, loudness))
        source.heard_us = now_us

    def remove(self, publication: PublicationKey) -> None:
        """The publication has ended."""
        self._sources.pop(publication, None)

    def tick(self, now_us: int) -> tuple[tuple[PublicationKey, float], ...] | None:
        """The speakers with their level (0..1 in steps of 0.05), in order; None while nothing is new.

        A change of who speaks is told at once, a change of levels alone at most every 200 ms.
        """
        elapsed_us = 0 if self._last_us is None else now_us - self._last_us
        self._last_us = now_us
        attack = -math.expm1(-elapsed_us / _ATTACK_US)
        release = -math.expm1(-elapsed_us / _RELEASE_US)
        for source in self._sources.values():
            heard = source.heard if now_us - source.heard_us <= _HOLD_US else 0.0
            step = heard - source.envelope
            source.envelope += step * (attack if step > 0 else release)
            source.speaking = source.envelope >= (_STOP if source.speaking else _START)
        self._age(elapsed_us)
        self._rank()
        speakers = tuple((key, self._level(key)) for key in self._order)
        same_people = [key for key, _ in speakers] == [key for key, _ in self._reported]
        if speakers == self._reported or (same_people and now_us - self._reported_us < _REPORT_US):
            return None
        self._reported = speakers
        self._reported_us = now_us
        return speakers

    def _level(self, key: PublicationKey) -> float:
        return round(round(self._sources[key].envelope / _STEP) * _STEP, 2)

    def _age(self, elapsed_us: int) -> None:
        """Follow who speaks how much. Nothing is kept of who has been silent for some minutes."""
        ageing = -math.expm1(-elapsed_us / _SHARE_US)
        speaking = {source.who for source in self._sources.values() if source.speaking}
        for who in [*self._shares, *(speaking - self._shares.keys())]:
            share = self._shares.get(who, 0.0)
            self._shares[who] = share + ((who in speaking) - share) * ageing
            if self._shares[who] < _FORGOTTEN and who not in speaking:
                del self._shares[who]

    def _rank(self) -> None:
        """Keep the order of those who still speak; someone passes another only by a clear lead."""
        speaking = {key for key, source in self._sources.items() if source.speaking}
        order = [key for key in self._order if key in speaking]
        order += self._by_claim(speaking.difference(order))
        for index in range(1, len(order)):
            while index and self._claim(order[index]) > self._claim(order[index - 1]) + _LEAD:
                order[index - 1], order[index] = order[index], order[index - 1]
                index -= 1
        self._order = order

    def _by_claim(self, keys: Iterable[PublicationKey]) -> list[PublicationKey]:
        return sorted(keys, key=lambda key: (-self._claim(key), key))

    def _claim(self, key: PublicationKey) -> float:
        """What brings a speaker to the front: to be heard well, and to have left others their turn."""
        source = self._sources[key]
        return min(source.envelope, _ORDINARY) - self._shares.get(source.who, 0.0)
