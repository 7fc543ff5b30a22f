"""Fair shares of the event loop: whose work comes next, and how much of it one person may ask for.

All requests of all sessions, and of the HTTP API, are done by one thread. Three rules keep one person's from
holding up the others':

- **Turns.** Requests are done at once while the present turn of the event loop is young. Past `TURN_S`, and
  where one alone may take as long, they wait for the next one. What fair shares would have done first goes
  first (fair queueing by finish times), so what is small passes what is large, and it makes no difference by
  how many sessions somebody asks.
- **Accounts.** Each request has a cost in CPU time (`costs.py`), which its person pays from an account that
  fills again. A request is refused while the account is empty.
- **Lanes.** Of what runs beside the loop, as queries of the database, a person has a few under way at most.

A person is an identity where tokens say who somebody is, else a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
import time
import weakref
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.server.rates import TokenBucket

TURN_S = 0.003
"""Work of requests in one turn of the event loop; one request more may come on top."""
TURN_US = TURN_S * 1e6
MAX_ACCOUNTS = 10_000
"""People whose account is known; the one that asked longest ago is forgotten first."""
MAX_WAITING = 64
"""Of one person in one lane."""
PEOPLE_AT_A_HOST = 3
"""Without tokens a host may be a class behind one address: it has the work of so many people."""


class Account:
    """What one person has asked for, over all its sessions and requests. Amounts are microseconds of CPU."""

    def __init__(self, limits: LimitsConfig, now_us: int, people: int = 1) -> None:
        burst_us = limits.work_burst_s * people * 1e6
        self._bucket = TokenBucket(limits.work_per_s * people * 1e6, burst_us, now_us)
        self._people = people
        self._running: Counter[str] = Counter()
        self.charged_us = 0.0
        """All that was ever paid."""
        self.tag_us = 0.0
        """When the last request that it asked for is done, in the virtual time of `Turns`."""

    def check(self, now_us: int) -> None:
        """Raises `RequestError` `rate_limited` while there is a debt; it says how long."""
        if not self._bucket.take(0, now_us):
            after_ms = max(1, math.ceil(self._bucket.wait_us(0, now_us) / 1000))
            message = "too much work for the server: ask again later"
            raise RequestError("rate_limited", message, {"retry_after_ms": after_ms})

    def charge(self, amount_us: float, now_us: int) -> None:
        """Pay for what is being done. What a request turns out to cost may leave a debt."""
        self._bucket.spend(amount_us, now_us)
        self.charged_us += amount_us

    @contextlib.contextmanager
    def running(self, kind: str) -> Iterator[None]:
        """One more of what runs beside the loop. Raises `RequestError` `rate_limited` past `MAX_WAITING`."""
        if self._running[kind] >= MAX_WAITING * self._people:
            raise RequestError("rate_limited", f"too many at a time: {kind}")
        self._running[kind] += 1
        try:
            yield
        finally:
            self._running[kind] -= 1
            if not self._running[kind]:
                del self._running[kind]


class Accounts:
    """One for each person, by name."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._known: OrderedDict[tuple[str, str], Account] = OrderedDict()

    def person(self, identity: str) -> Account:
        """Of whom a token names."""
        return self._find(("person", identity), 1)

    def host(self, host: str) -> Account:
        """Of whoever comes from one host without a token (yet)."""
        return self._find(("host", host), PEOPLE_AT_A_HOST)

    def _find(self, name: tuple[str, str], people: int) -> Account:
        account = self._known.pop(name, None) or Account(self._limits, clock.now_us(), people)
        self._known[name] = account
        if len(self._known) > MAX_ACCOUNTS:
            self._known.popitem(last=False)
        return account


class Turns:
    """Whose request is done next. `now_s` is the clock by which a turn of the event loop grows old."""

    def __init__(self, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._now_s = now_s
        self._began_s: float | None = None
        self._virtual_us = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, float, asyncio.Future[None]]] = []
        """By when each is done in virtual time; then the order of asking, and the cost."""
        self._pumping = False

    async def take(self, account: Account, cost_us: float) -> None:
        """Pay, and return when the work may be done: at once, or when it is this one's turn."""
        account.charge(cost_us, clock.now_us())
        start_us = max(self._virtual_us, account.tag_us)
        account.tag_us = start_us + cost_us
        # What takes a whole turn lets go first what has come or been answered in this one.
        if not self._waiting and cost_us < TURN_US and not self._is_old():
            self._virtual_us = start_us
            return
        mine = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (account.tag_us, next(self._order), cost_us, mine))
        self._pump_soon()
        await mine

    def _is_old(self) -> bool:
        """Whether this turn of the loop has lasted long enough; the first who asks begins it."""
        if self._began_s is None:
            self._began_s = self._now_s()
            asyncio.get_running_loop().call_soon(self._end)
            return False
        return self._now_s() - self._began_s > TURN_S

    def _end(self) -> None:
        self._began_s = None

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Wake those who come next: as many as a turn has time for by what they cost, and one at least."""
        self._pumping = False
        woken_us: float | None = None
        while self._waiting:
            done_us, _, cost_us, waiting = self._waiting[0]
            if not waiting.done():
                if woken_us is not None and woken_us + cost_us > TURN_US:
                    break
                self._virtual_us = max(self._virtual_us, done_us - cost_us)
                woken_us = (woken_us or 0.0) + cost_us
                waiting.set_result(None)
            heapq.heappop(self._waiting)
        if self._waiting:
            self._pump_soon()


class Lane:
    """What runs beside the loop, as queries do: so many at once of all people, and of one. Others wait."""

    def __init__(self, kind: str, *, at_once: int, of_one: int) -> None:
        self._kind = kind
        self._of_one = of_one
        self._places = asyncio.Semaphore(at_once)
        self._own: weakref.WeakKeyDictionary[Account, asyncio.Semaphore] = weakref.WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def place(self, account: Account) -> AsyncIterator[None]:
        """Raises `RequestError` `rate_limited` where too much of this person's waits."""
        own = self._own.setdefault(account, asyncio.Semaphore(self._of_one))
        with account.running(self._kind):
            async with own, self._places:
                yield
