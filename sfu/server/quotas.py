"""What people may make the server keep: bytes a day, of each person and each room.

Who joins anew is no other person: a share belongs to the identity that a token names. Where nobody needs a
token anybody is as many people as they like, so that an address has a share besides.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.hosts import host_key
from sfu.ids import RoomName
from sfu.room import acts
from sfu.room.acts import Act
from sfu.server.rates import TokenBucket

ROW_BYTES = 512
"""What a row costs beside its texts: its other columns, and its place in the indexes."""
DAY_S = 86_400
MAX_KNOWN = 10_000
"""People, addresses or rooms whose share is known; the one that was used longest ago is forgotten first."""

_IN_PLACE = (
    acts.RaiseHand
    | acts.LowerHand
    | acts.CallOn
    | acts.VoteQuestion
    | acts.VotePoll
    | acts.ClosePoll
    | acts.RemoveQuestion
    | acts.RemovePoll
    | acts.React
    | acts.Draw
    | acts.Erase
    | acts.ClearBoard
    | acts.ChangeState
    | acts.DeclareSeries
    | acts.SendSamples
)
"""Acts that keep nothing, or something in place of what was there: other limits bound it. All others cost."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose share is used. `host` is empty where a token says who it is."""

    identity: str
    host: str = ""


NOBODY = Payer("")


class Quotas:
    """`refused` counts what was too much."""

    def __init__(self, limits: LimitsConfig, *, guarded: bool) -> None:
        self._guarded = guarded
        self._people = _Shares(limits.stored_bytes_per_day)
        self._hosts = _Shares(limits.address_stored_bytes_per_day)
        self._rooms = _Shares(limits.room_stored_bytes_per_day)
        self._files = _Shares(limits.address_file_bytes_per_day)
        self._joins = _Shares(limits.joins_per_day)
        self.refused = 0

    def payer(self, identity: str, address: str) -> Payer:
        """Whose share somebody at `address` uses who calls itself `identity`."""
        return Payer(identity, "" if self._guarded else host_key(address))

    def store(self, payer: Payer, room: RoomName, size: int) -> None:
        """Take `size` bytes of rows. Raises `RequestError` `quota_exceeded`; nothing is taken then."""
        shares = [self._people.of(payer.identity), self._rooms.of(room)]
        if payer.host:
            shares.append(self._hosts.of(payer.host))
        self._check(shares, size, "the share of what is kept a day is used up")
        for share in shares:
            share.take(size, clock.now_us())

    def take_of_room(self, room: RoomName, size: int) -> bool:
        """Take `size` bytes of rows that nobody has asked for; whether they were there."""
        return self._rooms.of(room).take(size, clock.now_us())

    def check_join(self, payer: Payer) -> None:
        """Raises `RequestError` `quota_exceeded` where `joined` would be one too many."""
        self._check([self._join_share(payer)], 1, "too many joins a day")

    def joined(self, payer: Payer) -> None:
        """Count a join, which leaves a row of who was there."""
        self._join_share(payer).take(1, clock.now_us())

    def check_file(self, payer: Payer, size: int) -> None:
        """Raises `RequestError` `quota_exceeded` where the payer's address may not send `size` bytes."""
        if payer.host:
            self._check([self._files.of(payer.host)], size, "the address has sent enough files today")

    def file_came(self, payer: Payer, size: int) -> None:
        """Count bytes of a file that have come. Raises `RequestError` `quota_exceeded`."""
        self.check_file(payer, size)
        if payer.host:
            self._files.of(payer.host).take(size, clock.now_us())

    def _join_share(self, payer: Payer) -> TokenBucket:
        return self._joins.of(payer.host or payer.identity)

    def _check(self, shares: Iterable[TokenBucket], size: int, why: str) -> None:
        now_us = clock.now_us()
        wait_us = max(share.wait_us(size, now_us) for share in shares)
        if wait_us > 0:
            self.refused += 1
            raise RequestError("quota_exceeded", why, {"retry_after_ms": math.ceil(wait_us / 1000)})


def cost(act: Act) -> int:
    """How many bytes an act makes the server keep, its line of the audit log included."""
    return 0 if isinstance(act, _IN_PLACE) else ROW_BYTES + bytes_of(act)


def bytes_of(kept: object) -> int:
    """Bytes of all texts in `kept`, and a little more."""
    return len(repr(kept).encode(errors="replace"))


class _Shares:
    """A day's share of each, which comes back over the day."""

    def __init__(self, per_day: int) -> None:
        self._per_day = per_day
        self._known: OrderedDict[str, TokenBucket] = OrderedDict()

    def of(self, name: str) -> TokenBucket:
        share = self._known.get(name)
        if share is None:
            share = self._known[name] = TokenBucket(self._per_day / DAY_S, self._per_day, clock.now_us())
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(name)
        return share
