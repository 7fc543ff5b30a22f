"""Who calls the HTTP API, and what that somebody may do."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.hosts import host_key
from sfu.ids import ParticipantId, RoomName
from sfu.room.model import Participant
from sfu.room.permissions import Grants, Role
from sfu.server import costs, tokens
from sfu.server.conference import Conference
from sfu.server.costs import Cost
from sfu.server.door import connection_of
from sfu.server.fairness import Account
from sfu.server.quotas import NOBODY, Payer
from sfu.server.rates import TokenBucket

MAX_CALLERS = 10_000
"""Callers whose rate is known; the one that called longest ago is forgotten first."""


_INSIDE = frozenset({"inside", "follow", "chat"})
"""Needs of who is in the room."""

NO_RIGHTS = Grants(publish=False, subscribe=False, data=False, chat=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`participant` is None for who is not in the room. `room` is the only one it may see; None: all.

    `limited` is who is there, but came with a token that allows less than the participant has.
    """

    identity: str = ""
    name: str = ""
    role: Role = "participant"
    grants: Grants = NO_RIGHTS
    participant: ParticipantId | None = None
    room: RoomName | None = None
    admin: bool = False
    limited: bool = False
    payer: Payer = NOBODY
    """Whose share is used by what it makes the server keep."""

    @property
    def actor(self) -> ParticipantId | None:
        """As whom it acts in the room. None: from outside, with the rights that stand here."""
        return None if self.limited else self.participant


class Callers:
    """`address` tells where a request comes from."""

    def __init__(
        self, conference: Conference, limits: LimitsConfig, address: Callable[[web.Request], str]
    ) -> None:
        self._conference = conference
        self._access = conference.access
        self._limits = limits
        self._address = address
        self.turns = conference.turns
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()

    async def find(
        self, request: web.Request, needs: str, cost: Cost, room: str | None
    ) -> tuple[Caller, Account]:
        """Find the caller when it is its turn, check that it may, and who pays. Raises `RequestError`.

        The code is one of a token's, `not_allowed` or `rate_limited`. Each caller with a good credential has
        a rate of its own; all others at an address share one, so that they hold up nobody else behind it.
        """
        address = self._address(request)
        host = host_key(address)
        account = self._conference.accounts.host(host)
        await self.turns.take(account, costs.UNKNOWN_US)
        caller = await self._allowed(request, needs, room, address)
        if self._access.guarded and caller.identity:
            account = self._conference.accounts.person(caller.identity)
        account.check(clock.now_us())
        people = self._conference.people_in(RoomName(room)) if room is not None else 0
        await self.turns.take(account, cost.of(0, people))
        return caller, account

    async def _allowed(self, request: web.Request, needs: str, room: str | None, address: str) -> Caller:
        host = host_key(address)
        if needs == "nothing":
            self._check_rate(host)
            return Caller()
        try:
            caller = await self._caller(request, needs, RoomName(room) if room is not None else None)
        except RequestError:
            self._check_rate(host)
            raise
        self._check_rate(host, caller.identity)
        if (connection := connection_of(request)) is not None:
            connection.known()
        if needs == "admin" and not caller.admin:
            raise RequestError("not_allowed", "for administrators only")
        if needs == "moderate" and not caller.grants.may_moderate:
            raise RequestError("not_allowed", "no right to moderate")
        if needs in _INSIDE and caller.participant is None and not caller.grants.may_moderate:
            # A token alone may belong to who waits in the lobby or was removed.
            raise RequestError("not_allowed", "only who is in the room sees it, or who moderates")
        if needs == "follow" and not caller.grants.follows:
            raise RequestError("not_allowed", "no right to subscribe or to chat, so none to read")
        if needs == "chat" and not caller.grants.may_chat:
            raise RequestError("not_allowed", "no right to chat")
        return replace(caller, payer=self._conference.quotas.payer(caller.identity, address))

    def store(self, caller: Caller, room: RoomName, size: int) -> None:
        """Take bytes of rows from the caller's share; an administrator has no limit.

        Raises `RequestError` `quota_exceeded`.
        """
        if not caller.admin:
            self._conference.quotas.store(caller.payer, room, size)

    async def _caller(self, request: web.Request, needs: str, room: RoomName | None) -> Caller:
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "participant" and (room is not None or needs == "server"):
            return self._participant(room, credential, self._address(request))
        if scheme.lower() != "bearer":
            raise RequestError("bad_token", "a token is needed, or a participant's secret")
        if not self._access.guarded:
            raise RequestError("not_allowed", "without auth.keys there are no tokens")
        claims = await self._access.claims(credential, self._address(request))
        if claims.admin:
            grants = Grants(moderate=True, record=True, see_hidden=True)
            return Caller(identity=claims.identity, name=claims.name, role="owner", grants=grants, admin=True)
        if room is not None:
            tokens.for_room(claims, room)
        role, grants = self._conference.claimed(claims)
        if room is not None and (present := self._conference.present(room, claims.identity)):
            return _limited(_as_it_is(present, room), role, grants)
        return Caller(
            identity=claims.identity, name=claims.name, role=role, grants=grants, room=RoomName(claims.room)
        )

    def _participant(self, room: RoomName | None, credential: str, address: str) -> Caller:
        """`room` is None where the path names none: it is the participant's own."""
        participant, _, secret = credential.partition(":")
        its = self._conference.core.room_of(ParticipantId(participant))
        member = its.authenticate(ParticipantId(participant), secret) if its is not None else None
        if its is None or member is None or room not in {None, its.name}:
            self._access.failed(address)
            raise RequestError("bad_token", "no such participant here, or another secret")
        return _as_it_is(member, its.name)

    def _check_rate(self, host: str, identity: str = "") -> None:
        now_us = clock.now_us()
        key = host, identity
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._limits.api_per_s, self._limits.api_burst, now_us)
        self._buckets[key] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not bucket.take(1, now_us):
            wait_ms = math.ceil(bucket.wait_us(1, now_us) / 1000)
            raise RequestError("rate_limited", "too many requests a second", {"retry_after_ms": wait_ms})


def _as_it_is(member: Participant, room: RoomName) -> Caller:
    """A participant, with the rights of this moment: what a moderator took is gone over HTTP as well."""
    return Caller(
        identity=member.identity,
        name=member.name,
        role=member.role,
        grants=member.grants,
        participant=member.id,
        room=room,
    )


def _limited(caller: Caller, role: Role, grants: Grants) -> Caller:
    """A participant's bearer: what it may now, and no more than its token says."""
    shared = caller.grants.within(grants)
    both = caller.role if role == "owner" or caller.role != "owner" else role
    if (both, shared) == (caller.role, caller.grants.within(caller.grants)):
        return caller
    return replace(caller, role=both, grants=shared, limited=True)
