"""The last packets, whatever order they come in."""

from __future__ import annotations

import random

import pytest

from sfu.media.packet_cache import PacketCache


@pytest.mark.parametrize("capacity", [1, 2, 100, 128])
def test_the_last_packets_are_there_and_older_ones_are_not(capacity: int) -> None:
    cache: PacketCache[int] = PacketCache(capacity)
    for number in range(1000):
        cache.put(number, -number)
    kept = [number for number in range(1000) if cache.get(number) is not None]
    assert len(kept) >= capacity
    assert kept == list(range(1000 - len(kept), 1000))
    assert all(cache.get(number) == -number for number in kept)
    assert cache.get(1000) is None


def test_a_late_packet_takes_its_place_but_never_that_of_a_newer_one() -> None:
    cache: PacketCache[str] = PacketCache(4)
    for number in (0, 1, 3, 2, 6):
        cache.put(number, f"packet {number}")
    assert [cache.get(number) for number in range(7)] == [
        "packet 0", "packet 1", None, "packet 3", None, None, "packet 6",
    ]  # fmt: skip
    cache.put(2, "too late")
    assert cache.get(2) is None
    assert cache.get(6) == "packet 6"


def test_any_order_ends_with_the_newest_in_every_place() -> None:
    rng = random.Random(2)
    numbers = list(range(300))
    rng.shuffle(numbers)
    cache: PacketCache[int] = PacketCache(64)
    for number in numbers:
        cache.put(number, number)
    assert [cache.get(number) for number in range(300)] == [None] * 236 + list(range(236, 300))


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        PacketCache(0)
