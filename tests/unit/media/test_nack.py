"""What is asked for again, when, and for how long."""

from __future__ import annotations

import random

import pytest

from sfu.media.nack import MOST_TRIES, RETRY_US, NackTracker

MS = 1000


def test_a_gap_is_asked_for_after_the_time_of_a_reordering() -> None:
    tracker = NackTracker()
    tracker.gap(10, 13, 0)
    assert tracker.due(4 * MS) == []
    tracker.arrived(11, 4 * MS)
    assert tracker.due(5 * MS) == [10, 12]
    assert tracker.due(5 * MS + RETRY_US - 1) == []
    assert tracker.due(5 * MS + RETRY_US) == [10, 12]


def test_after_as_many_tries_as_are_worth_it_a_packet_is_given_up() -> None:
    tracker = NackTracker()
    tracker.gap(10, 12, 0)
    asked = [tracker.due(now_us) for now_us in range(0, 3_000_000, 20 * MS)]
    assert sum(numbers == [10, 11] for numbers in asked) == MOST_TRIES
    assert len(tracker) == 0
    assert tracker.take_given_up() == 11
    assert tracker.take_given_up() == -1


@pytest.mark.parametrize("round_trip_us", [20 * MS, 60 * MS, 150 * MS, 300 * MS])
def test_requests_follow_the_round_trip(round_trip_us: int) -> None:
    """After some answers nearly every packet is asked for once, and a lost request is soon made good."""
    tracker = NackTracker()
    now_us, asked = 0, 0
    answers: dict[int, int] = {}
    for number in range(0, 800, 2):
        tracker.gap(number, number + 1, now_us)
        for _ in range(5):
            now_us += 20 * MS
            for wanted in tracker.due(now_us):
                asked += number > 200
                answers.setdefault(wanted, now_us + round_trip_us)
            for wanted in [n for n, due_us in answers.items() if due_us <= now_us]:
                tracker.arrived(wanted, now_us)
                del answers[wanted]
    assert asked / 299 < 1.15
    assert 40 * MS <= tracker.retry_us <= round_trip_us * 2


def test_with_a_long_round_trip_what_is_old_is_given_up_before_its_tries_are_used() -> None:
    tracker = NackTracker()
    tracker.gap(1, 2, 0)
    tracker.due(10 * MS)
    tracker.arrived(1, 900 * MS)
    tracker.gap(5, 6, 1_000_000)
    asked = sum(len(tracker.due(1_000_000 + tick * 20 * MS)) for tick in range(150))
    assert 3 <= asked < MOST_TRIES
    assert tracker.take_given_up() == 5


def test_an_outage_is_not_asked_for() -> None:
    tracker = NackTracker()
    tracker.gap(1, 3, 0)
    tracker.gap(10, 1000, 0)
    assert len(tracker) == 0
    assert tracker.take_given_up() == 999


def test_memory_and_requests_are_bounded_whatever_is_missing() -> None:
    tracker = NackTracker()
    rng = random.Random(1)
    first = now_us = 0
    for _ in range(500):
        end = first + rng.randrange(1, 400)
        tracker.gap(first, end, now_us)
        first = end + 1
        now_us += 20 * MS
        assert len(tracker) <= 512
        assert len(tracker.due(now_us)) <= 128
    tracker.clear()
    assert (len(tracker), tracker.due(now_us + RETRY_US), tracker.take_given_up()) == (0, [], -1)
