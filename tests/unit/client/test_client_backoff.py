"""Delays between attempts."""

from __future__ import annotations

import random

from sfu_client.backoff import Backoff


def test_delays_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=1, longest_s=8, rng=random.Random(1))
    full = [1, 2, 4, 8, 8, 8]
    assert all(limit / 2 <= backoff.delay_s() <= limit for limit in full)


def test_two_clients_do_not_come_back_together() -> None:
    first, second = (Backoff(rng=random.Random(seed)) for seed in (1, 2))
    assert [first.delay_s() for _ in range(5)] != [second.delay_s() for _ in range(5)]


def test_success_starts_over() -> None:
    backoff = Backoff(first_s=1, longest_s=100, rng=random.Random(1))
    for _ in range(5):
        backoff.delay_s()
    backoff.reset()
    assert backoff.delay_s() <= 1
