"""A clock that is wrong for a moment deletes nothing."""

from __future__ import annotations

import pytest
from stored import message

from sfu.store import messages, people, trust
from sfu.store.store import Store
from sfu.store.trust import DAY_MS, LEAP_MS, PROVEN_MS

NOW_MS = 1_800_000_000_000
HOUR_MS = DAY_MS // 24


async def believed(store: Store, *times: int) -> list[bool]:
    return [await store.believe(NOW_MS + each) for each in times]


async def test_a_clock_that_goes_on_is_believed(store: Store) -> None:
    assert await believed(store, 0, HOUR_MS, 2 * HOUR_MS, 2 * HOUR_MS + LEAP_MS) == [True] * 4


@pytest.mark.parametrize("leap", [60 * DAY_MS, 730 * DAY_MS, -7300 * DAY_MS, LEAP_MS + 1])
async def test_a_leap_for_a_moment_is_not_believed(
    store: Store, leap: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await believed(store, 0, leap, leap + HOUR_MS) == [True, False, False]
    assert "nothing old is deleted" in caplog.text
    assert not store.believed
    # Right again: the leap is forgotten, so that the next one begins anew.
    assert await believed(store, 2 * HOUR_MS, leap + PROVEN_MS, leap + PROVEN_MS + HOUR_MS) == [
        True,
        False,
        False,
    ]


async def test_a_leap_that_stays_is_believed(store: Store) -> None:
    """A server that was off for months, a backup that was restored."""
    away = 90 * DAY_MS
    assert await believed(store, 0, away, away + PROVEN_MS - 1) == [True, False, False]
    assert await believed(store, away + PROVEN_MS, away + PROVEN_MS + HOUR_MS) == [True, True]


async def test_another_leap_has_to_stay_as_well(store: Store) -> None:
    assert await believed(store, 0, 90 * DAY_MS, 400 * DAY_MS, 400 * DAY_MS + HOUR_MS) == [True] + [False] * 3


@pytest.mark.parametrize("far", [False, True])
async def test_the_first_clearing_compares_with_the_newest_row(store: Store, *, far: bool) -> None:
    newest = NOW_MS - (60 if far else 1) * DAY_MS
    await store.writes.durable(messages.added(message(1, sent_ms=newest)))
    await store.writes.durable(people.joined("PA_1", "r", "ann", "Ann", newest - DAY_MS))
    assert await store.believe(NOW_MS) is not far


async def test_rows_of_the_wrong_time_do_not_make_it_right(store: Store) -> None:
    assert await believed(store, 0, 60 * DAY_MS) == [True, False]
    await store.writes.durable(people.joined("PA_1", "r", "ann", "Ann", NOW_MS + 60 * DAY_MS))
    assert await believed(store, 60 * DAY_MS + HOUR_MS) == [False]
    assert trust.LEAP_MS < 30 * DAY_MS, "shorter than what is kept by default"
