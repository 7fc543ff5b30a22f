from __future__ import annotations

from sfu.server.rates import TokenBucket


def test_a_burst_then_the_sustained_rate() -> None:
    bucket = TokenBucket(10, 3, 0)
    assert [bucket.take(1, 0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 99_999)
    assert bucket.take(1, 100_000)
    assert not bucket.take(1, 100_000)


def test_it_never_holds_more_than_the_burst() -> None:
    bucket = TokenBucket(10, 3, 0)
    assert [bucket.take(1, 60_000_000) for _ in range(4)] == [True, True, True, False]


def test_what_is_refused_costs_nothing() -> None:
    bucket = TokenBucket(1, 5, 0)
    assert not bucket.take(6, 0)
    assert bucket.take(5, 0)


def test_it_says_how_long_to_wait() -> None:
    bucket = TokenBucket(10, 5, 0)
    assert bucket.take(5, 0)
    assert bucket.wait_us(2, 0) == 200_000
    assert bucket.wait_us(2, 150_000) == 50_000
    assert not bucket.take(2, 199_999)
    assert bucket.take(2, 200_000)
    assert bucket.wait_us(0, 200_000) == 0
