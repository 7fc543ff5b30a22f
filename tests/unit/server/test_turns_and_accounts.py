"""Whose request comes next, what it costs, and how much of what runs beside the loop one person has."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from sfu import clock
from sfu.config import LimitsConfig
from sfu.errors import RequestError
from sfu.server import fairness
from sfu.server.fairness import TURN_S, Account, Accounts, Lane, Turns

LIMITS = LimitsConfig(work_per_s=0.1, work_burst_s=1.0)


class Clock:
    """A turn of the loop grows old by what is worked in it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def account() -> Account:
    return Account(LIMITS, 0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now_us", lambda: 0)


async def test_a_young_turn_of_the_loop_takes_requests_at_once() -> None:
    turns, ann = Turns(Clock()), account()
    with pytest.raises(StopIteration):  # It ends without waiting for anything.
        turns.take(ann, 100).send(None)
    assert ann.charged_us == 100


async def test_whoever_works_long_gives_others_a_turn() -> None:
    now = Clock()
    turns, ann = Turns(now), account()
    between: list[int] = []
    done = 0

    def others() -> None:
        between.append(done)
        if done < 100:
            asyncio.get_running_loop().call_soon(others)

    asyncio.get_running_loop().call_soon(others)
    for _ in range(100):
        await turns.take(ann, 1000)
        now.now_s += 0.001
        done += 1
    served = [after - before for before, after in itertools.pairwise(between)]
    assert max(served) <= TURN_S / 0.001 + 2


async def test_who_asks_little_goes_before_who_asks_much_by_however_many_sessions() -> None:
    now = Clock()
    turns, much, little = Turns(now), account(), account()
    order: list[str] = []

    async def ask(name: str, of: Account, cost_us: float) -> None:
        await turns.take(of, cost_us)
        now.now_s += cost_us / 1e6
        order.append(name)

    tasks = [asyncio.create_task(ask("much", much, 5000)) for _ in range(50)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(ask("little", little, 50)))
    await asyncio.gather(*tasks)
    assert order.index("little") <= 2 < len(order) - 1


async def test_an_answer_goes_out_before_what_takes_long() -> None:
    """What others ask and are answered in a turn comes first, though it came after."""
    turns, much, little = Turns(Clock()), account(), account()
    order: list[str] = []

    async def ask(name: str, of: Account, cost_us: float) -> None:
        await turns.take(of, cost_us)
        order.append(name)
        asyncio.get_running_loop().call_soon(order.append, f"{name} answered")

    await asyncio.gather(
        ask("much", much, 5000), ask("little", little, 50), ask("more", much, 5000), ask("small", little, 50)
    )
    await asyncio.sleep(0)
    assert order[:5] == ["little", "small", "little answered", "small answered", "much"]
    # Two that take long never come in one turn.
    assert order.index("much answered") < order.index("more")


async def test_who_was_away_has_saved_nothing_up() -> None:
    turns, ann, ben = Turns(Clock()), account(), account()
    for _ in range(10):
        await turns.take(ann, 1000)
    await turns.take(ben, 1000)
    assert ben.tag_us >= ann.tag_us - 1000


async def test_a_request_that_is_given_up_holds_up_nobody() -> None:
    now = Clock()
    turns = Turns(now)

    async def ask() -> None:
        await turns.take(account(), 10)
        now.now_s += 1

    _, gone, stays = (asyncio.create_task(ask()) for _ in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert gone.cancelled()


def test_an_empty_account_refuses_and_says_for_how_long() -> None:
    ann = account()
    ann.check(0)
    ann.charge(1_500_000, 0)
    with pytest.raises(RequestError, match="too much work") as refused:
        ann.check(0)
    assert refused.value.code == "rate_limited"
    # Half a second is owed, which comes back at a tenth of a second a second.
    assert refused.value.details == {"retry_after_ms": 5000}
    ann.check(5_000_000)


def test_a_debt_is_no_larger_than_what_may_be_spent_at_once() -> None:
    ann = account()
    ann.charge(100e6, 0)
    ann.check(10_000_000)


def test_a_person_is_one_account_and_a_host_another(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(LIMITS)
    assert accounts.person("ann") is accounts.person("ann")
    assert accounts.person("ann") is not accounts.host("ann")
    accounts.host("ann").charge(fairness.PEOPLE_AT_A_HOST * 1e6, 0)
    accounts.host("ann").check(0)
    monkeypatch.setattr(fairness, "MAX_ACCOUNTS", 2)
    ann = accounts.person("ann")
    accounts.person("ben")
    assert accounts.person("ann") is ann
    accounts.person("cat")
    assert accounts.person("ann") is ann


async def test_one_person_has_few_places_in_a_lane_and_waits_in_its_own_line() -> None:
    lane, ann, ben = Lane("queries", at_once=3, of_one=2), account(), account()
    running: list[str] = []
    go_on = asyncio.Event()

    async def run(name: str, of: Account) -> None:
        async with lane.place(of):
            running.append(name)
            await go_on.wait()

    tasks = [asyncio.create_task(run("ann", ann)) for _ in range(10)]
    tasks.append(asyncio.create_task(run("ben", ben)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(running) == ["ann", "ann", "ben"]
    go_on.set()
    await asyncio.gather(*tasks)


async def test_too_much_in_line_is_refused() -> None:
    lane, ann = Lane("queries", at_once=1, of_one=1), account()
    with contextlib.ExitStack() as stack:
        for _ in range(fairness.MAX_WAITING):
            stack.enter_context(ann.running("queries"))
        with pytest.raises(RequestError, match="at a time") as refused:
            async with lane.place(ann):
                pass
        assert refused.value.code == "rate_limited"
    async with lane.place(ann):
        pass
