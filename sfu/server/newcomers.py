"""Bound the signalling sessions of one host that have not joined; the oldest gives way to a newer one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Newcomer:
    """A session that is open. `end` cuts it off."""

    def __init__(self, host: str, end: Callable[[], None]) -> None:
        self.host = host
        self.end = end


class Newcomers:
    """At most `most` sessions of one host that have not joined.

    One that has joined with a token does not count, however many people are behind one address. Without
    tokens (`guarded` is false) anybody can join, so it counts, but gives way to nobody.
    """

    def __init__(self, most: int, *, guarded: bool) -> None:
        self._most = most
        self._guarded = guarded
        self._waiting: dict[str, dict[Newcomer, None]] = {}
        self._counted: set[Newcomer] = set()
        self._joined: Counter[str] = Counter()

    def enter(self, newcomer: Newcomer) -> bool:
        """A session is opened. Returns false where there is no place for it."""
        host = newcomer.host
        waiting = self._waiting.setdefault(host, {})
        if len(waiting) + self._joined[host] >= self._most:
            if not waiting:
                self._forget(host)
                return False
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.end()
        waiting[newcomer] = None
        return True

    def joined(self, newcomer: Newcomer) -> None:
        """A session has joined, or waits in a lobby. Nothing happens where it had to give way before."""
        if newcomer not in self._waiting.get(newcomer.host, ()):
            return
        del self._waiting[newcomer.host][newcomer]
        if not self._guarded:
            self._counted.add(newcomer)
            self._joined[newcomer.host] += 1
        self._forget(newcomer.host)

    def left(self, newcomer: Newcomer) -> None:
        """A session has ended."""
        host = newcomer.host
        self._waiting.get(host, {}).pop(newcomer, None)
        if newcomer in self._counted:
            self._counted.remove(newcomer)
            self._joined[host] -= 1
        self._forget(host)

    def _forget(self, host: str) -> None:
        if not self._waiting.get(host):
            self._waiting.pop(host, None)
        if not self._joined[host]:
            del self._joined[host]
