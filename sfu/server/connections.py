"""A table of connections by host, and which of them gives way when there are too many.

A new connection is never refused because others behind its address are silent: the oldest of them gives way.
A connection that somebody has joined over does not count for its host, so a school behind one address is not
shut out by its own pupils.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class Rank(IntEnum):
    """How much a connection has shown; the least gives way first."""

    IDLE = 0
    """No request is under way: none has come yet, or the last one is answered."""
    ASKING = 1
    """A request is under way, by nobody knows whom."""
    KNOWN = 2
    """A request is under way whose credential is good."""


class Guest(Protocol):
    """A connection as the table sees it."""

    host: str

    def give_way(self) -> None:
        """End at once."""


class _Host:
    """Connections of one host that give way, oldest first in each rank."""

    def __init__(self) -> None:
        self.ranks: tuple[dict[Guest, None], ...] = tuple({} for _ in Rank)

    def __len__(self) -> int:
        return sum(map(len, self.ranks))

    def oldest(self) -> tuple[Rank, Guest]:
        return next((rank, next(iter(self.ranks[rank]))) for rank in Rank if self.ranks[rank])


class Connections:
    """At most `most` connections, and of one host `most_per_host` that nobody has joined over."""

    def __init__(self, most: int, most_per_host: int) -> None:
        self._most = most
        self._most_per_host = most_per_host
        self._hosts: dict[str, _Host] = {}
        self._ranks: dict[Guest, Rank | None] = {}
        # Hosts by how many connections they have, so that the one with most is found at once.
        self._crowds: dict[int, dict[str, None]] = {}
        self._largest = 0

    def __len__(self) -> int:
        return len(self._ranks)

    def make_place(self, host: str) -> bool:
        """Let another connection give way where there are too many. Returns whether there is a place now.

        Where all are too many, the host that has most gives way, with what is idle or where it has more than
        its share.
        """
        own = len(self._hosts.get(host, ()))
        if own >= self._most_per_host:
            return self._give_way(host)
        if len(self) < self._most:
            return True
        if not self._largest:
            return False
        if own >= self._largest:
            return self._give_way(host)
        return self._give_way(next(iter(self._crowds[self._largest])), only_idle=self._largest <= own + 1)

    def add(self, guest: Guest) -> None:
        """A connection has come; it is idle."""
        self._put(guest, Rank.IDLE)

    def rank(self, guest: Guest, rank: Rank) -> None:
        """A connection is of another rank from now on. Nothing happens where it is gone or held."""
        if self._ranks.get(guest) is not None:
            self._take(guest)
            self._put(guest, rank)

    def hold(self, guest: Guest) -> None:
        """Somebody has joined over it: it gives way to nobody, and its host may have others."""
        if self._ranks.get(guest) is not None:
            self._take(guest)
            self._ranks[guest] = None

    def remove(self, guest: Guest) -> None:
        """A connection has ended."""
        if guest in self._ranks:
            self._take(guest)

    def _give_way(self, host: str, *, only_idle: bool = False) -> bool:
        rank, guest = self._hosts[host].oldest()
        if only_idle and rank is not Rank.IDLE:
            return False
        self._take(guest)
        guest.give_way()
        return True

    def _put(self, guest: Guest, rank: Rank) -> None:
        self._ranks[guest] = rank
        host = self._hosts.setdefault(guest.host, _Host())
        self._uncrowd(guest.host, len(host))
        host.ranks[rank][guest] = None
        self._crowd(guest.host, len(host))

    def _take(self, guest: Guest) -> None:
        rank = self._ranks.pop(guest)
        if rank is None:
            return
        host = self._hosts[guest.host]
        self._uncrowd(guest.host, len(host))
        del host.ranks[rank][guest]
        if len(host):
            self._crowd(guest.host, len(host))
        else:
            del self._hosts[guest.host]
        while self._largest and self._largest not in self._crowds:
            self._largest -= 1

    def _crowd(self, host: str, count: int) -> None:
        self._crowds.setdefault(count, {})[host] = None
        self._largest = max(self._largest, count)

    def _uncrowd(self, host: str, count: int) -> None:
        if count:
            del self._crowds[count][host]
            if not self._crowds[count]:
                del self._crowds[count]
