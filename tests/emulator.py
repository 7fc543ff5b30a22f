"""A network in virtual time: links that lose, delay, reorder and queue, the same way for the same seed.

`Link` is one direction of a path and knows no clock: give it packets and ask what has arrived. `Network` adds
a clock and calls receivers when packets arrive. Tests take the fixture `network`, or make their own with
another seed::

    def test_it(network: Network) -> None:
        received: list[bytes] = []
        uplink = network.link(lambda packet: received.append(packet), loss=0.05, delay_us=20_000)
        uplink(b"hello")
        network.clock.run_for(1_000_000)
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest

_WANDER_US = 50_000
"""Jitter moves to a new value this often: queues on a path fill and drain, they roll no dice per packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GilbertElliott:
    """Burst loss with two states: each packet moves the state, then is lost with that state's chance."""

    to_bad: float
    to_good: float
    loss_bad: float = 1.0
    loss_good: float = 0.0

    @property
    def mean_loss(self) -> float:
        bad = self.to_bad / (self.to_bad + self.to_good)
        return bad * self.loss_bad + (1 - bad) * self.loss_good


@dataclass(slots=True)
class LinkCounters:
    """Packets by what became of them."""

    sent: int = 0
    lost: int = 0
    overflowed: int = 0
    reordered: int = 0
    duplicated: int = 0


@dataclass(slots=True, kw_only=True)
class Link:
    """One direction of a path. Every condition may be changed while packets are under way.

    `capacity_bps` None is unlimited; else packets wait in a queue of `queue_bytes` and the newest is dropped
    where it would overflow. `delay_us` is the least one-way delay and `jitter_us` what is added at most, in
    order. `loss` is independent for each packet, `burst` comes besides. With the chance `reorder` a packet is
    held back for up to `reorder_us` while later ones pass; with the chance `duplicate` it arrives twice.
    """

    seed: int
    capacity_bps: int | None = None
    queue_bytes: int = 150_000
    delay_us: int = 0
    jitter_us: int = 0
    loss: float = 0.0
    burst: GilbertElliott | None = None
    reorder: float = 0.0
    reorder_us: int = 20_000
    duplicate: float = 0.0
    counters: LinkCounters = field(default_factory=LinkCounters)
    _rng: random.Random = field(init=False)
    _flying: list[tuple[int, int, bytes]] = field(default_factory=list, init=False)
    _order: Iterator[int] = field(default_factory=count, init=False)
    _free_us: float = field(default=0.0, init=False)
    _last_arrival_us: int = field(default=0, init=False)
    _bad: bool = field(default=False, init=False)
    _wander: tuple[int, float, float] = field(default=(-1, 0.0, 0.0), init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def send(self, now_us: int, packet: bytes) -> int | None:
        """Put a packet in; when it will arrive (the first time), or None where it will not.

        `now_us` must not go back.
        """
        self.counters.sent += 1
        departure_us = self._pass_queue(now_us, len(packet))
        if departure_us is None:
            self.counters.overflowed += 1
            return None
        if self._loses():
            self.counters.lost += 1
            return None
        arrival_us = departure_us + self.delay_us + self._jitter(departure_us)
        if self._happens(self.reorder):
            self.counters.reordered += 1
            arrival_us += self._rng.randint(1, self.reorder_us)
        else:
            arrival_us = self._last_arrival_us = max(arrival_us, self._last_arrival_us)
        heapq.heappush(self._flying, (arrival_us, next(self._order), packet))
        if self._happens(self.duplicate):
            self.counters.duplicated += 1
            heapq.heappush(self._flying, (arrival_us, next(self._order), packet))
        return arrival_us

    def deliver(self, now_us: int) -> list[tuple[int, bytes]]:
        """Packets that have arrived by `now_us` and were not delivered before, with their times, in order."""
        arrived: list[tuple[int, bytes]] = []
        while self._flying and self._flying[0][0] <= now_us:
            arrival_us, _, packet = heapq.heappop(self._flying)
            arrived.append((arrival_us, packet))
        return arrived

    @property
    def next_arrival_us(self) -> int | None:
        """When the next packet arrives, None while none is under way."""
        return self._flying[0][0] if self._flying else None

    def queued_bytes(self, now_us: int) -> int:
        """What waits to be put on the wire."""
        if self.capacity_bps is None:
            return 0
        return max(0, round((self._free_us - now_us) * self.capacity_bps / 8e6))

    def _pass_queue(self, now_us: int, size: int) -> int | None:
        if self.capacity_bps is None:
            return now_us
        if self.queued_bytes(now_us) + size > self.queue_bytes:
            return None
        self._free_us = max(self._free_us, now_us) + size * 8e6 / self.capacity_bps
        return round(self._free_us)

    def _loses(self) -> bool:
        lost = self._happens(self.loss)
        if self.burst is not None:
            self._bad = (
                not self._happens(self.burst.to_good) if self._bad else self._happens(self.burst.to_bad)
            )
            lost = self._happens(self.burst.loss_bad if self._bad else self.burst.loss_good) or lost
        return lost

    def _jitter(self, now_us: int) -> int:
        if not self.jitter_us:
            return 0
        step, into = divmod(now_us, _WANDER_US)
        last, begin, end = self._wander
        if step != last:
            begin = end if step == last + 1 else self._rng.random()
            end = self._rng.random()
            self._wander = (step, begin, end)
        return round((begin + (end - begin) * into / _WANDER_US) * self.jitter_us)

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance


class VirtualClock:
    """Time that moves only when told to; callbacks run at their time, those of one time as asked for."""

    def __init__(self, now_us: int = 1_000_000) -> None:
        self.now_us = now_us
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def call_at(self, when_us: int, callback: Callable[[], None]) -> None:
        """What lies in the past is called at once, when time next moves."""
        heapq.heappush(self._events, (max(when_us, self.now_us), next(self._order), callback))

    def call_later(self, delay_us: int, callback: Callable[[], None]) -> None:
        self.call_at(self.now_us + delay_us, callback)

    def every(self, interval_us: int, callback: Callable[[], None]) -> None:
        """Call for as long as time moves, first after one interval."""

        def again() -> None:
            callback()
            self.call_later(interval_us, again)

        self.call_later(interval_us, again)

    def run_until(self, when_us: int) -> None:
        """Run everything that is due by `when_us`, then stand there."""
        while self._events and self._events[0][0] <= when_us:
            self.now_us, _, callback = heapq.heappop(self._events)
            callback()
        self.now_us = max(self.now_us, when_us)

    def run_for(self, duration_us: int) -> None:
        self.run_until(self.now_us + duration_us)


class ConnectedLink:
    """A link whose packets reach a receiver by themselves; call it to send."""

    def __init__(self, clock: VirtualClock, link: Link, receive: Callable[[bytes], None]) -> None:
        self.link = link
        self._clock = clock
        self._receive = receive

    def __call__(self, packet: bytes) -> None:
        arrival_us = self.link.send(self._clock.now_us, packet)
        if arrival_us is not None:
            self._clock.call_at(arrival_us, self._deliver)

    def _deliver(self) -> None:
        for _, packet in self.link.deliver(self._clock.now_us):
            self._receive(packet)


class Network:
    """Links in one virtual time; each gets its own random numbers from the network's seed."""

    def __init__(self, seed: int, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self._seeds = random.Random(seed)

    def link(
        self,
        receive: Callable[[bytes], None],
        *,
        capacity_bps: int | None = None,
        queue_bytes: int = 150_000,
        delay_us: int = 0,
        jitter_us: int = 0,
        loss: float = 0.0,
        burst: GilbertElliott | None = None,
        reorder: float = 0.0,
        reorder_us: int = 20_000,
        duplicate: float = 0.0,
    ) -> ConnectedLink:
        """One direction to `receive`; the conditions are those of `Link`."""
        link = Link(
            seed=self._seeds.getrandbits(32),
            capacity_bps=capacity_bps,
            queue_bytes=queue_bytes,
            delay_us=delay_us,
            jitter_us=jitter_us,
            loss=loss,
            burst=burst,
            reorder=reorder,
            reorder_us=reorder_us,
            duplicate=duplicate,
        )
        return ConnectedLink(self.clock, link, receive)


@pytest.fixture
def network() -> Network:
    """A network with a fixed seed and a clock of its own."""
    return Network(seed=1)
